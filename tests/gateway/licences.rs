//! Every crate that is linked or built here has a licence that `deny.toml` allows, comes from the
//! public registry, and is not banned. The lists are read from that file, so that they stand once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

#[test]
fn every_dependency_keeps_to_deny_toml() {
    let law = Law::read(&table("deny.toml"));
    let packages = packages();
    assert!(packages.len() > 50, "too few packages to be true: {}", packages.len());
    let offences: Vec<_> =
        packages.iter().flat_map(|(name, licence)| law.offences(name, licence)).collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let lock = table("Cargo.lock");
    let packages = lock["package"].as_array().unwrap();
    let foreign: Vec<_> = packages.iter().filter(|package| !is_from_registry(package)).collect();
    let names: Vec<_> = foreign.iter().filter_map(|package| package["name"].as_str()).collect();
    assert_eq!(names, [env!("CARGO_PKG_NAME")]);
}

fn is_from_registry(package: &Value) -> bool {
    let source = package.get("source").and_then(Value::as_str);
    source.is_some_and(|source| source.starts_with("registry+"))
}

struct Law {
    licences: Vec<String>,
    banned: Vec<String>,
}

impl Law {
    fn read(deny: &Table) -> Self {
        let texts = |list: &Value, key: Option<&str>| -> Vec<String> {
            let items = list.as_array().unwrap().iter();
            items.map(|item| key.map_or(item, |key| &item[key]).as_str().unwrap().into()).collect()
        };
        Self {
            licences: texts(&deny["licenses"]["allow"], None),
            banned: texts(&deny["bans"]["deny"], Some("crate")),
        }
    }

    fn offences(&self, name: &str, licence: &str) -> Vec<String> {
        let mut offences = Vec::new();
        if self.banned.iter().any(|banned| banned == name) {
            offences.push(format!("{name}: banned"));
        }
        if !self.permits(licence) {
            offences.push(format!("{name}: its licence `{licence}` is not allowed"));
        }
        offences
    }

    /// Whether some choice that an SPDX expression leaves is allowed. `AND` binds closer than `OR`;
    /// a `/` is the old spelling of `OR`; an exception (`WITH`) only adds rights.
    fn permits(&self, expression: &str) -> bool {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<_> = spaced.split_whitespace().collect();
        let mut rest = words.as_slice();
        self.any(&mut rest) && rest.is_empty()
    }

    fn any(&self, words: &mut &[&str]) -> bool {
        let mut allowed = self.all(words);
        while skip(words, "OR") {
            allowed |= self.all(words);
        }
        allowed
    }

    fn all(&self, words: &mut &[&str]) -> bool {
        let mut allowed = self.one(words);
        while skip(words, "AND") {
            allowed &= self.one(words);
        }
        allowed
    }

    fn one(&self, words: &mut &[&str]) -> bool {
        if skip(words, "(") {
            return self.any(words) & skip(words, ")");
        }
        let Some((name, rest)) = words.split_first() else {
            return false;
        };
        *words = rest;
        if skip(words, "WITH") {
            *words = words.get(1..).unwrap_or_default();
        }
        self.licences.iter().any(|licence| licence == name)
    }
}

fn skip(words: &mut &[&str], word: &str) -> bool {
    let found = words.first() == Some(&word);
    if found {
        *words = &words[1..];
    }
    found
}

/// Name and licence of each crate that is built on this platform, without asking the network.
fn packages() -> BTreeSet<(String, String)> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--locked", "--offline", "--prefix=none", "--format={p}|{l}|"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packages = BTreeSet::new();
    for line in text.lines() {
        let mut fields = line.split('|');
        let name = fields.next().and_then(|package| package.split(' ').next()).unwrap();
        packages.insert((name.to_owned(), fields.next().unwrap().to_owned()));
    }
    packages
}

fn table(file: &str) -> Table {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(file).unwrap().parse().unwrap()
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let law = Law { licences: vec!["MIT".into(), "ISC".into()], banned: Vec::new() };
    for allowed in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "MIT AND ISC",
        "GPL-3.0 OR MIT AND ISC",
        "ISC AND (GPL-3.0 OR MIT)",
        "MIT WITH LLVM-exception",
    ] {
        assert!(law.permits(allowed), "{allowed}");
    }
    for refused in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND GPL-3.0", "(MIT", "MIT ISC"]
    {
        assert!(!law.permits(refused), "{refused}");
    }
}

#[test]
fn what_is_banned_or_not_allowed_is_named() {
    let law = Law { licences: vec!["MIT".into()], banned: vec!["native-tls".into()] };
    let expected = ["native-tls: banned", "native-tls: its licence `GPL-3.0` is not allowed"];
    assert_eq!(law.offences("native-tls", "GPL-3.0"), expected);
    assert!(law.offences("http", "MIT").is_empty());
    let git: Table = "[x]\nsource = \"git+https://example.com/x\"".parse().unwrap();
    assert!(!is_from_registry(&git["x"]));
}
