//! The layer guard. The blank-line groups of modules in `src/lib.rs` are the layers, lowest first,
//! and a module may name only itself and modules of the groups above its own. This reads the
//! groups from that file and follows every path of every source that starts at the crate's root,
//! written as `crate::` or as a chain of `super::` that climbs out of its module.
//!
//! What would hide a path from it (another name for the root, a glob of the root, a module taken
//! from elsewhere) is a violation too. `main.rs` stands outside: it is no part of the library.

use std::fs;
use std::path::Path;

use crate::lexer::{Token, rust_files, tokens};

#[test]
fn no_module_names_its_own_layer_or_a_later_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let layers = Layers::read(&fs::read_to_string(root.join("src/lib.rs")).unwrap());
    assert!(layers.0.len() > 5, "too few layers to be true: {layers:?}");
    let mut seen = 0;
    let mut violations = Vec::new();
    for file in rust_files(&root.join("src")) {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        seen += 1;
        violations.extend(layers.violations(&name, &fs::read_to_string(&file).unwrap()));
    }
    assert!(seen > 10, "too few sources to be true: {seen}");
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Names of modules by layer, lowest first.
#[derive(Debug)]
struct Layers(Vec<Vec<String>>);

impl Layers {
    fn read(lib: &str) -> Self {
        let mut layers = vec![Vec::new()];
        for line in lib.lines().map(str::trim) {
            if line.is_empty() {
                layers.push(Vec::new());
            } else if let Some(name) = declared_module(line) {
                layers.last_mut().unwrap().push(name.to_owned());
            }
        }
        layers.retain(|layer| !layer.is_empty());
        Self(layers)
    }

    fn of(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|layer| layer.iter().any(|name| name == module))
    }

    /// What a source of that path (`src/store/mod.rs`) may not say, a line each.
    fn violations(&self, file: &str, source: &str) -> Vec<String> {
        let Some(module) = module_path(file) else {
            return Vec::new();
        };
        let found = tokens(source);
        let mut guard = Guard { layers: self, file, tokens: &found, module, found: Vec::new() };
        guard.scan();
        guard.found
    }
}

/// `pub mod clock;` declares `clock`.
fn declared_module(line: &str) -> Option<&str> {
    let words = line.strip_prefix("pub ").unwrap_or(line);
    words.strip_prefix("mod ")?.strip_suffix(';')
}

/// `src/store/sqlite.rs` is `store::sqlite`, `src/lib.rs` is the root; none for `src/main.rs`.
fn module_path(file: &str) -> Option<Vec<String>> {
    let path = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    let mut names: Vec<String> = path.split('/').map(str::to_owned).collect();
    match (path, names.last().map(String::as_str)) {
        ("main", _) => return None,
        ("lib", _) | (_, Some("mod")) => drop(names.pop()),
        _ => {}
    }
    Some(names)
}

/// One source being looked at. `module` is where the current token stands, inline modules included.
struct Guard<'a> {
    layers: &'a Layers,
    file: &'a str,
    tokens: &'a [Token<'a>],
    module: Vec<String>,
    found: Vec<String>,
}

impl Guard<'_> {
    fn scan(&mut self) {
        let mut braces = 0;
        let mut inline = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            match self.text(at) {
                "mod" if self.text(at + 2) == "{" => {
                    self.module.push(self.text(at + 1).to_owned());
                    inline.push(braces);
                }
                "{" => braces += 1,
                "}" => {
                    braces -= 1;
                    if inline.last() == Some(&braces) {
                        inline.pop();
                        self.module.pop();
                    }
                }
                "crate" | "super" | "self" if self.text(at.wrapping_sub(1)) != "::" => {
                    at = self.rooted(at);
                    continue;
                }
                "path" if self.text(at.wrapping_sub(1)) == "[" && self.text(at + 1) == "=" => {
                    self.report(at, "takes a module's source from elsewhere by #[path]");
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// A path that begins here with `crate`, `super` or `self`; gives where to go on.
    fn rooted(&mut self, at: usize) -> usize {
        match self.text(at) {
            "crate" if self.text(at + 1) == "::" => self.follow(at + 2, 0),
            "crate" if self.text(at + 1) == "as" => self.report(at, "gives the root another name"),
            "self" if self.text(at.wrapping_sub(1)) == "crate" => {
                self.report(at, "gives the root another name")
            }
            "super" => self.follow(at, self.module.len()),
            "self" if self.text(at + 1) == "::" => self.follow(at + 2, self.module.len()),
            _ => at + 1,
        }
    }

    /// The rest of a path, or of a tree of paths, from `depth` modules below the root.
    fn follow(&mut self, at: usize, depth: usize) -> usize {
        match self.text(at) {
            "super" | "self" => {
                let depth = if self.text(at) == "super" { depth.saturating_sub(1) } else { depth };
                match self.text(at + 1) {
                    "::" => self.follow(at + 2, depth),
                    "as" if depth == 0 => self.report(at, "gives the root another name"),
                    _ => at + 1,
                }
            }
            "{" => self.follow_group(at + 1, depth),
            "*" if depth == 0 => self.report(at, "takes in the whole root by a glob"),
            name if depth == 0 && self.tokens[at].is_word() => self.check(at, name.to_owned()),
            _ => at + 1,
        }
    }

    /// The branches of `{a::b, c}` up to the closing brace; gives where to go on behind it.
    fn follow_group(&mut self, mut at: usize, depth: usize) -> usize {
        loop {
            match self.text(at) {
                "" => return at,
                "}" => return at + 1,
                "," => at += 1,
                _ => {
                    let next = self.follow(at, depth);
                    at = self.end_of_branch(next);
                }
            }
        }
    }

    /// The comma or brace that ends the branch.
    fn end_of_branch(&self, mut at: usize) -> usize {
        let mut open = 0;
        loop {
            match self.text(at) {
                "" => return at,
                "," | "}" if open == 0 => return at,
                "{" => open += 1,
                "}" => open -= 1,
                _ => {}
            }
            at += 1;
        }
    }

    /// The token at `at` names something in the root.
    fn check(&mut self, at: usize, name: String) -> usize {
        let Some(own) = self.module.first().cloned() else {
            return at + 1;
        };
        let name = name.trim_start_matches("r#");
        match (self.layers.of(&own), self.layers.of(name)) {
            _ if own == name => at + 1,
            (Some(mine), Some(theirs)) if theirs < mine => at + 1,
            (Some(mine), Some(theirs)) => {
                let what = if theirs == mine { "its own layer" } else { "a later layer" };
                self.report(at, &format!("`{own}` names `{name}` of {what}"))
            }
            (None, _) => self.report(at, &format!("`{own}` is no module of src/lib.rs")),
            (_, None) => {
                self.report(at, &format!("`{own}` names `{name}`, no module of src/lib.rs"))
            }
        }
    }

    fn report(&mut self, at: usize, what: &str) -> usize {
        self.found.push(format!("{}:{}: {what}", self.file, self.tokens[at].line));
        at + 1
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text)
    }
}

const LIB: &str = "\
//! What it is.

/// Lowest.
pub mod clock;
pub mod identity;

/// Middle.
pub mod policy;
pub mod session;

pub mod store;

pub mod gateway;
";

fn planted(file: &str, source: &str) -> Vec<String> {
    Layers::read(LIB).violations(file, source)
}

#[track_caller]
fn refused(file: &str, source: &str, expected: &[&str]) {
    assert_eq!(planted(file, source), expected, "in\n{source}");
}

#[track_caller]
fn passes(file: &str, source: &str) {
    assert_eq!(planted(file, source), [""; 0], "in\n{source}");
}

#[test]
fn layers_are_read_from_the_groups() {
    let layers = Layers::read(LIB);
    let expected: [&[&str]; 4] =
        [&["clock", "identity"], &["policy", "session"], &["store"], &["gateway"]];
    assert_eq!(layers.0, expected);
}

#[test]
fn earlier_layers_and_the_own_module_pass() {
    passes("src/store/mod.rs", "use crate::clock::Clock;\nuse crate::policy::Route;\n");
    passes("src/store/sqlite.rs", "use crate::store::User; fn f() { crate::identity::x() }");
    passes("src/store/sqlite.rs", "use super::User; use self::rows::{self, Row};");
    passes("src/store/sqlite/tests.rs", "use super::super::User; use super::*;");
    passes("src/store/mod.rs", "pub(crate) fn a() {} pub(in crate::store) fn b() {}");
    passes("src/store/mod.rs", "pub(super) fn a(&self) -> Self { self.b(self, super::super) }");
}

#[test]
fn a_plain_path_to_a_later_layer_is_found() {
    let later = &["src/policy/mod.rs:2: `policy` names `gateway` of a later layer"];
    refused("src/policy/mod.rs", "\nuse crate::gateway::Answer;", later);
    refused("src/policy/mod.rs", "\nfn f(x: &crate::gateway::Answer) {}", later);
    refused("src/policy/mod.rs", "fn f() {}\npub(in crate::gateway) fn g() {}", later);
    refused("src/policy/mod.rs", "\nuse crate /* so */ :: r#gateway;", later);
}

#[test]
fn a_path_to_the_own_layer_is_found() {
    let own = &["src/policy/route.rs:1: `policy` names `session` of its own layer"];
    refused("src/policy/route.rs", "use crate::session::Row;", own);
}

#[test]
fn a_grouped_path_is_found() {
    let source = "use crate::{clock::Clock, gateway::{Answer, other}, store};";
    refused(
        "src/session/mod.rs",
        source,
        &[
            "src/session/mod.rs:1: `session` names `gateway` of a later layer",
            "src/session/mod.rs:1: `session` names `store` of a later layer",
        ],
    );
    passes("src/gateway/mod.rs", source);
}

#[test]
fn a_path_in_a_group_over_many_lines_is_found_on_its_line() {
    let source = "use crate::{\n    clock::{self, gateway, store::{x}},\n    // crate::policy\n    \
                  store as shop,\n};\nfn f() {}\nuse crate::gateway;";
    refused(
        "src/identity.rs",
        source,
        &[
            "src/identity.rs:2: `identity` names `clock` of its own layer",
            "src/identity.rs:4: `identity` names `store` of a later layer",
            "src/identity.rs:7: `identity` names `gateway` of a later layer",
        ],
    );
}

#[test]
fn a_super_chain_that_leaves_its_module_is_found() {
    refused(
        "src/policy/route.rs",
        "use super::super::store::User;",
        &["src/policy/route.rs:1: `policy` names `store` of a later layer"],
    );
    refused(
        "src/clock.rs",
        "use super::{identity, clock};\nuse self::super::store;",
        &[
            "src/clock.rs:1: `clock` names `identity` of its own layer",
            "src/clock.rs:2: `clock` names `store` of a later layer",
        ],
    );
    refused(
        "src/policy/route.rs",
        "fn f() { super::super::gateway::serve() }",
        &["src/policy/route.rs:1: `policy` names `gateway` of a later layer"],
    );
}

#[test]
fn inline_modules_count_as_steps() {
    passes("src/clock.rs", "mod tests { use super::*; mod deep { use super::super::Clock; } }");
    let source = "mod tests {\n fn f() { if true { super::super::store::x() } }\n}\n\
                  use super::store;";
    refused(
        "src/clock.rs",
        source,
        &[
            "src/clock.rs:2: `clock` names `store` of a later layer",
            "src/clock.rs:4: `clock` names `store` of a later layer",
        ],
    );
    refused(
        "src/lib.rs",
        "pub mod clock {\n use crate::store::x; }",
        &["src/lib.rs:2: `clock` names `store` of a later layer"],
    );
}

#[test]
fn another_name_or_a_glob_for_the_root_is_found() {
    let renamed = &["src/clock.rs:1: gives the root another name"];
    refused("src/clock.rs", "use crate as c;", renamed);
    refused("src/clock.rs", "use crate::{self as c};", renamed);
    refused("src/clock.rs", "use super as c;", renamed);
    refused("src/clock.rs", "extern crate self as portcullis;", renamed);
    let glob = &["src/clock.rs:1: takes in the whole root by a glob"];
    refused("src/clock.rs", "use crate::*;", glob);
    refused("src/clock.rs", "use super::*;", glob);
    refused("src/clock.rs", "use crate::{clock::Clock, *};", glob);
}

#[test]
fn a_module_taken_from_elsewhere_is_found() {
    refused(
        "src/clock.rs",
        "#[path = \"../gateway/mod.rs\"] mod x;",
        &["src/clock.rs:1: takes a module's source from elsewhere by #[path]"],
    );
}

#[test]
fn what_is_not_in_the_plan_is_found() {
    refused(
        "src/helpers.rs",
        "use crate::clock::Clock;",
        &["src/helpers.rs:1: `helpers` is no module of src/lib.rs"],
    );
    refused(
        "src/store/mod.rs",
        "fn f() { crate::exported!() }",
        &["src/store/mod.rs:1: `store` names `exported`, no module of src/lib.rs"],
    );
}

#[test]
fn paths_inside_macros_are_found() {
    refused(
        "src/clock.rs",
        "macro_rules! m { () => { $crate::store::User }; }\nfn f() { vec![crate::gateway::x()]; }",
        &[
            "src/clock.rs:1: `clock` names `store` of a later layer",
            "src/clock.rs:2: `clock` names `gateway` of a later layer",
        ],
    );
}

#[test]
fn comments_and_literals_are_not_paths() {
    passes(
        "src/clock.rs",
        r##"//! See [`crate::gateway`].
        /// `use crate::store;`
        /* crate::store /* super::store */ super::gateway */
        fn f<'crate_>(x: &'crate_ str) -> [char; 2] {
            g("crate::store", r#"use "crate::gateway"#, b"super::store", "\"crate::store");
            ['"', '\'']
        } // crate::store
        "##,
    );
}

#[test]
fn the_binary_stands_outside() {
    passes("src/main.rs", "fn main() { portcullis::cli::main(); crate::anything::x() }");
}
