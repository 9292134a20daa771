//! The target of a request in normal form.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use thiserror::Error;

use super::readings::{check, fold_path, hex_pair, readings};

/// Path and query in normal form, with every other way a server might read the path.
///
/// Normal: percent-encoded unreserved characters (RFC 3986 section 2.3) are decoded, hex is in
/// upper case, everything else is as it was sent; in no reading is there a dot segment, a control
/// character or an overlong form of ASCII.
#[derive(Clone, Debug)]
pub struct Target {
    text: PathAndQuery,
    readings: Vec<Box<[u8]>>,
    ambiguity: Ambiguity,
    utf8: bool,
}

/// How many ways there are to read a path, but for letter case and a final slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ambiguity {
    One,
    Several,
}

impl Target {
    /// Reads an origin-form target: `/path?query`.
    pub fn read(path_and_query: &str) -> Result<Self, BadTarget> {
        if !path_and_query.starts_with('/') || path_and_query.contains('#') {
            return Err(BadTarget::Syntax);
        }
        Self::of(&PathAndQuery::try_from(path_and_query).or(Err(BadTarget::Syntax))?)
    }

    /// Reads the target of a request that hyper has parsed.
    pub(super) fn of(sent: &PathAndQuery) -> Result<Self, BadTarget> {
        if sent.query().is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(BadTarget::RawByte);
        }
        let path = normalise(sent.path())?;
        // Of nothing but a fragment nothing is left, which stands for the root and is written as
        // nothing.
        if sent.as_str() == "/" {
            return Self::with_readings(PathAndQuery::from_static("/"));
        }
        // An absolute-form target may have a query and no path.
        if matches!(path, Cow::Borrowed(_)) && sent.as_str().starts_with('/') {
            return Self::with_readings(sent.clone());
        }
        Self::with_readings(join(&path, sent.query())?)
    }

    /// The normal path: what is matched and what is forwarded.
    pub fn path(&self) -> &str {
        self.text.path()
    }

    /// The query without `?`, untouched.
    pub fn query(&self) -> Option<&str> {
        self.text.query()
    }

    /// Path and query, as they are forwarded where no prefix is stripped.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.text
    }

    /// Every reading of the path, folded, each once; empty where the only one is the literal path.
    pub fn readings(&self) -> &[Box<[u8]>] {
        &self.readings
    }

    /// Whether there are two ways to read the path (letter case and a final slash aside).
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguity == Ambiguity::Several
    }

    /// Whether every reading is UTF-8.
    pub fn is_utf8(&self) -> bool {
        self.utf8
    }

    fn with_readings(text: PathAndQuery) -> Result<Self, BadTarget> {
        let mut target = Self { text, readings: Vec::new(), ambiguity: Ambiguity::One, utf8: true };
        if is_plain(target.path().as_bytes()) {
            return Ok(target);
        }
        let all = readings(target.path().as_bytes())?;
        all.iter().try_for_each(|reading| check(reading))?;
        target.utf8 = all.iter().all(|reading| std::str::from_utf8(reading).is_ok());
        if all.len() > 1 {
            target.ambiguity = Ambiguity::Several;
        }
        for folded in all.into_iter().map(fold_path) {
            if !target.readings.contains(&folded) {
                target.readings.push(folded);
            }
        }
        Ok(target)
    }
}

/// Why a target has no normal form: always 400.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadTarget {
    /// Not `/path?query`.
    #[error("the target is not of the form /path?query")]
    Syntax,
    /// Outside 0x21 to 0x7E.
    #[error("the target holds a raw byte that is not printable ASCII")]
    RawByte,
    /// `%` without two hex digits.
    #[error("the path holds a percent sign without two hex digits")]
    Percent,
    /// In some reading a segment of dots and blanks only.
    #[error("a segment of the path could be read as a dot segment")]
    DotSegment,
    /// In some reading NUL or another control character.
    #[error("the path could be read with a control character")]
    Control,
    /// In some reading ASCII encoded in more than one byte.
    #[error("the path could be read with an overlong form of ASCII")]
    Overlong,
    /// More than 64.
    #[error("the path can be read in too many ways")]
    TooManyReadings,
}

/// Borrowed where the path is normal already.
fn normalise(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    let bytes = path.as_bytes();
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(BadTarget::RawByte);
    }
    if !bytes.contains(&b'%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => {
                let (value, after) = hex_pair(after).ok_or(BadTarget::Percent)?;
                push(&mut normal, value);
                after
            }
            _ => {
                normal.push(char::from(*byte));
                after
            }
        };
    }
    Ok(Cow::Owned(normal))
}

/// Writes a decoded byte: itself where it is unreserved, else percent-encoded.
fn push(normal: &mut String, byte: u8) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        normal.push(char::from(byte));
        return;
    }
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
    normal.extend(['%', digit(byte >> 4), digit(byte & 0xF)]);
}

fn join(path: &str, query: Option<&str>) -> Result<PathAndQuery, BadTarget> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(text).or(Err(BadTarget::Syntax))
}

/// Whether every step and the fold leave the path as it is, seen without taking them.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    for byte in path {
        let changes = match byte {
            b'%' | b'\\' | b';' | b'A'..=b'Z' => true,
            b'/' => matches!(previous, b'/' | b'.'),
            _ => false,
        };
        if changes {
            return false;
        }
        previous = *byte;
    }
    previous != b'.' && (previous != b'/' || path.len() == 1)
}
