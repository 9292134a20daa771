//! `docs/threats.md` names tests; each must be there.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_threats_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/threats.md")).expect("it can be read");
    let code = sources(&root.join("tests")) + &sources(&root.join("src"));
    let named = text.split('`').skip(1).step_by(2).filter(|name| is_test(name));
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 50, "{named:?}");
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

/// A sentence: words of small letters and digits, at least four of them.
fn is_test(name: &str) -> bool {
    name.split('_').count() > 3
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("it can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(kind) if kind == "rs" => fs::read_to_string(path).expect("it can be read"),
            _ => String::new(),
        })
        .collect()
}
