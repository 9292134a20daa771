//! Just enough of Rust's lexical grammar to look at the sources without being fooled by comments,
//! strings, character literals and lifetimes. It knows no syntax above that.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands in a source, with the line (1-based) on which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

impl Token<'_> {
    /// An identifier, a keyword or a number.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(is_word)
    }
}

/// Every Rust file below `folder`, sorted.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The words and punctuation of a source; `::` is one token, any other punctuation a character.
/// Comments and literals in quotes are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { rest: source, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next_token(&mut self) -> Option<Token<'a>> {
        loop {
            let first = self.rest.chars().next()?;
            if first.is_whitespace() {
                self.take(first.len_utf8());
            } else if self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.take(block_comment(self.rest));
            } else if let Some(length) = quoted(self.rest) {
                self.take(length);
            } else {
                return Some(self.take(plain(self.rest, first)));
            }
        }
    }

    fn take(&mut self, length: usize) -> Token<'a> {
        let (text, rest) = self.rest.split_at(length);
        let token = Token { text, line: self.line };
        self.line += text.matches('\n').count();
        self.rest = rest;
        token
    }
}

/// Length of a word, of `::`, or of one character.
fn plain(rest: &str, first: char) -> usize {
    if is_word(first) {
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        raw + word(&rest[raw..])
    } else if rest.starts_with("::") {
        2
    } else {
        first.len_utf8()
    }
}

/// Length of a comment that may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += char_length(&rest[at..]);
        }
    }
    rest.len()
}

/// Length of the string, character or lifetime that begins here, prefix included.
fn quoted(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"]
        .into_iter()
        .find(|prefix| {
            rest.starts_with(prefix) && rest[prefix.len()..].starts_with(['"', '\'', '#'])
        })
        .unwrap_or("");
    let after = &rest[prefix.len()..];
    let length = match after.chars().next()? {
        '"' if prefix.ends_with('r') => raw_string(after)?,
        '"' => escaped(after, '"'),
        '\'' if prefix.is_empty() || prefix == "b" => character_or_lifetime(after),
        '#' if prefix.ends_with('r') => raw_string(after)?,
        _ => return None,
    };
    Some(prefix.len() + length)
}

/// Length of `##"..."##`; none for a raw identifier.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.find(|c| c != '#')?;
    rest[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", &rest[..hashes]);
    let body = hashes + 1;
    Some(rest[body..].find(&closing).map_or(rest.len(), |end| body + end + closing.len()))
}

/// Length of a literal that begins and ends with `quote`.
fn escaped(rest: &str, quote: char) -> usize {
    let mut skip = false;
    for (at, c) in rest.char_indices().skip(1) {
        if skip {
            skip = false;
        } else if c == '\\' {
            skip = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters; `'a` is a lifetime.
fn character_or_lifetime(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    let (first, second) = (inside.next(), inside.next());
    if first == Some('\\') || second == Some('\'') {
        escaped(rest, '\'')
    } else {
        1 + word(&rest[1..])
    }
}

fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
}

fn char_length(rest: &str) -> usize {
    rest.chars().next().map_or(0, char::len_utf8)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn comments_literals_and_lifetimes_are_no_tokens() {
    let source = r##"a /* b /* c */ d */ "e \" f" r#"g " h"# b'i' 'j' '\'' &'k l::r#m // n
        br"o\" c"p" "q
        "r"##;
    let texts: Vec<_> = tokens(source).iter().map(|t| (t.text, t.line)).collect();
    assert_eq!(texts, [("a", 1), ("&", 1), ("l", 1), ("::", 1), ("r#m", 1), ("r", 3)]);
}
