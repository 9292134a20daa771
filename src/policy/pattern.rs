//! Path patterns: literals, `{segment}` and a final `/*`.

use std::fmt;

use thiserror::Error;

use crate::request::{BadTarget, Target, fold_path, readings};

/// A pattern, in normal form.
///
/// `/docs` matches itself, `/users/{id}` one segment that is not empty, `/admin/*` matches `/admin`
/// and all below it on whole segments; `/*` matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
}

impl PathPattern {
    /// Reads a pattern and brings it to normal form (raw UTF-8 and blanks are percent-encoded).
    pub fn read(text: &str) -> Result<Self, BadPattern> {
        let path = text.strip_prefix('/').ok_or(BadPattern::NoSlash)?;
        if text.contains(['?', '#']) {
            return Err(BadPattern::Query);
        }
        let segments: Vec<&str> = path.split('/').collect();
        let mut reader = Reader { last: segments.len().saturating_sub(1), names: Vec::new() };
        let normal: Vec<_> = segments
            .iter()
            .enumerate()
            .map(|(at, s)| reader.segment(at, s))
            .collect::<Result<_, _>>()?;
        let pattern = Self { text: format!("/{}", normal.join("/")) };
        // As a whole too: what segments lead to together can be too much.
        Target::read(&pattern.text.replace(['{', '}', '*'], ""))?;
        Ok(pattern)
    }

    /// The pattern, normal.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether every path that `other` matches is matched by this one.
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.text.split('/');
        for segment in self.text.split('/') {
            let covered = match (segment, others.next()) {
                ("*", _) => return true,
                (_, None | Some("*")) => false,
                (one, Some(other)) if is_any(one) => !other.is_empty(),
                (literal, Some(other)) => literal == other,
            };
            if !covered {
                return false;
            }
        }
        others.next().is_none()
    }

    /// The pattern as bytes for a [`Trie`](super::trie::Trie): a path in which [`ANY`] stands for
    /// `{segment}` and [`REST`] for the end of `/*`, bytes that no path and no reading can hold.
    pub(super) fn shape(&self) -> Vec<u8> {
        let segments = self.text.split('/').map(|segment| match segment {
            "*" => vec![REST],
            any if is_any(any) => vec![ANY],
            literal => literal.as_bytes().to_vec(),
        });
        segments.collect::<Vec<_>>().join(&b'/')
    }

    /// The shapes of the pattern's readings, folded, each once. The marks pass every step unseen.
    pub(super) fn folded_shapes(&self) -> Vec<Box<[u8]>> {
        let mut shapes: Vec<Box<[u8]>> = Vec::new();
        // `read` has counted them; were they too many after all, the pattern itself must stand.
        let all = readings(&self.shape()).unwrap_or_else(|_| vec![self.shape()]);
        for shape in all.into_iter().map(fold_path) {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        shapes
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// In a shape, one segment that is not empty.
pub(super) const ANY: u8 = 1;

/// In a shape, the last segment: nothing more, or anything.
pub(super) const REST: u8 = 2;

/// Why a text is no pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadPattern {
    /// `admin/*`
    #[error("a path pattern begins with `/`")]
    NoSlash,
    /// `/a?b`, `/a#b`
    #[error(
        "a path pattern holds no `?` or `#`: the query never decides; write `%3F` or `%23` for the character"
    )]
    Query,
    /// `/a*`, `/*/b`
    #[error(
        "`*` stands only at the end, as `/*`; write `{{name}}` for one segment, `%2A` for the character"
    )]
    Star,
    /// `/{a}b`, `/{}`, `/{a b}`
    #[error(
        "`{0}` is no segment: write `{{name}}`, letters, digits, `-` and `_`, as a whole segment"
    )]
    Segment(String),
    /// `/{a}/{a}`
    #[error("`{{{0}}}` stands there twice: each segment has its own name")]
    Duplicate(String),
    /// `//a`, `/a//b`
    #[error("a path pattern holds no `//`")]
    EmptySegment,
    /// A dot segment, a bad percent sequence, ...
    #[error("no request could match: {0}")]
    Target(#[from] BadTarget),
}

struct Reader<'a> {
    last: usize,
    names: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn segment(&mut self, at: usize, segment: &'a str) -> Result<String, BadPattern> {
        match segment {
            "" if at < self.last => Err(BadPattern::EmptySegment),
            "*" if at == self.last => Ok(segment.to_owned()),
            star if star.contains('*') => Err(BadPattern::Star),
            any if any.contains(['{', '}']) => self.name(any),
            literal => normal(literal),
        }
    }

    fn name(&mut self, segment: &'a str) -> Result<String, BadPattern> {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let plain = |name: &&str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let name = name.filter(plain).ok_or_else(|| BadPattern::Segment(segment.to_owned()))?;
        if self.names.contains(&name) {
            return Err(BadPattern::Duplicate(name.to_owned()));
        }
        self.names.push(name);
        Ok(segment.to_owned())
    }
}

fn is_any(segment: &str) -> bool {
    segment.starts_with('{')
}

/// A literal segment as a request's normal path would spell it.
fn normal(segment: &str) -> Result<String, BadPattern> {
    let mut sent = String::from("/");
    for byte in segment.bytes() {
        // Browsers and `http` send these encoded or not at all.
        if byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'`' | b'"') {
            sent.push(char::from(byte));
        } else {
            sent.push_str(&format!("%{byte:02X}"));
        }
    }
    let target = Target::read(&sent)?;
    Ok(target.path().trim_start_matches('/').to_owned())
}
