//! Sizes of functions and files: a reader's budget, kept by a test. Lines that hold code count;
//! blank lines, comments and tests do not.

use std::fs;
use std::path::Path;

use crate::lexer::{Token, rust_files, tokens};

const FUNCTION: Budget = Budget { median: 8, p90: 25, most: 60 };
const FILE: Budget = Budget { median: 180, p90: 350, most: 500 };

#[test]
fn functions_and_files_stay_within_a_readers_budget() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut functions = Vec::new();
    let mut files = Vec::new();
    for file in rust_files(&root.join("src")) {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        if is_test(&name) {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let product = without_tests(&tokens(&source));
        files.push((lines(&product), name.clone()));
        functions
            .extend(functions_of(&product).map(|(lines, what)| (lines, format!("{name}: {what}"))));
    }
    let mut over = FUNCTION.exceeded("functions", functions);
    over.extend(FILE.exceeded("files", files));
    assert!(over.is_empty(), "\n{}\n", over.join("\n"));
}

/// Lines of code: half may have so many, nine tenths so many, none more than `most`.
struct Budget {
    median: usize,
    p90: usize,
    most: usize,
}

impl Budget {
    fn exceeded(&self, what: &str, mut sizes: Vec<(usize, String)>) -> Vec<String> {
        assert!(!sizes.is_empty(), "no {what} were found");
        sizes.sort_unstable();
        let at = |share: f64| sizes[((sizes.len() - 1) as f64 * share) as usize].0;
        let (median, p90) = (at(0.5), at(0.9));
        println!("{} {what}: median {median}, p90 {p90}, largest {:?}", sizes.len(), sizes.last());
        let mut over = Vec::new();
        if median > self.median || p90 > self.p90 {
            over.push(format!(
                "{what}: median {median} of {}, p90 {p90} of {}",
                self.median, self.p90
            ));
        }
        let large = sizes.iter().filter(|(lines, _)| *lines > self.most);
        over.extend(large.map(|(lines, name)| format!("{name}: {lines} lines of {}", self.most)));
        over
    }
}

fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

/// Leaves out what stands under `#[cfg(test)]`.
fn without_tests<'a>(source: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut product = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let attribute = source[at..].iter().take(7).map(|t| t.text);
        if attribute.eq(["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(source, at + 7);
        } else {
            product.push(source[at]);
            at += 1;
        }
    }
    product
}

/// Lines that hold a token.
fn lines(source: &[Token<'_>]) -> usize {
    let mut lines: Vec<_> = source.iter().map(|token| token.line).collect();
    lines.dedup();
    lines.len()
}

/// Lines of each function with a body, with its name and place; functions within others too.
fn functions_of<'a>(source: &'a [Token<'a>]) -> impl Iterator<Item = (usize, String)> + 'a {
    (0..source.len()).filter_map(|at| {
        let name = source.get(at + 1).filter(|name| source[at].text == "fn" && name.is_word())?;
        let end = end_of_item(source, at);
        let has_body = source.get(end - 1)?.text == "}";
        let line = source[at].line;
        has_body.then(|| (lines(&source[at..end]), format!("fn {} (line {line})", name.text)))
    })
}

/// Behind the `;` or the closing brace that ends the item which begins here. A `;` in brackets,
/// as of an array's type, ends nothing.
fn end_of_item(source: &[Token<'_>], start: usize) -> usize {
    let mut open = 0_usize;
    for (at, token) in source.iter().enumerate().skip(start) {
        match token.text {
            "{" | "(" | "[" => open += 1,
            ")" | "]" => open = open.saturating_sub(1),
            "}" => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return at + 1;
                }
            }
            ";" if open == 0 => return at + 1,
            _ => {}
        }
    }
    source.len()
}

#[test]
fn a_function_is_measured_by_its_lines_of_code() {
    let source = "fn short() {}\n\nfn long(x: [u8; 2])\n-> u8 {\n    // why\n\n    if y {\n        1\n    \
                  }\n}\ntrait T { fn none(); }\n#[cfg(test)]\nmod tests {\n fn skipped() {}\n}\n";
    let product = tokens(source);
    let product = without_tests(&product);
    let found: Vec<_> = functions_of(&product).collect();
    assert_eq!(found, [(1, "fn short (line 1)".to_owned()), (6, "fn long (line 3)".to_owned())]);
    assert_eq!(lines(&product), 8);
}

#[test]
fn what_is_too_large_is_named() {
    let budget = Budget { median: 1, p90: 2, most: 3 };
    let sizes = [(1, "a"), (1, "b"), (4, "c")].map(|(n, name)| (n, name.to_owned()));
    assert_eq!(budget.exceeded("files", sizes.to_vec()), ["c: 4 lines of 3"]);
    let sizes = [(2, "a"), (2, "b")].map(|(n, name)| (n, name.to_owned()));
    let expected = ["files: median 2 of 1, p90 2 of 2"];
    assert_eq!(budget.exceeded("files", sizes.to_vec()), expected);
}
