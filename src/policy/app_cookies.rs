//! Which cookies are an application's own session, as the operator names them.

use thiserror::Error;

/// The name of a cookie, or how names begin: `session`, `session_*`. Letter case makes no
/// difference, nor what PHP reads as `_`: some readers fold it, and what is withheld too often is
/// only set anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePattern {
    written: Box<str>,
    start: Box<[u8]>,
    open: bool,
}

/// Why a text is no pattern of cookie names.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadCookiePattern {
    /// RFC 6265 section 4.1.1: the name is a token.
    #[error("not the name of a cookie")]
    NotAName,
    /// `*` stands for the rest of a name.
    #[error("`*` stands at the end alone")]
    InnerStar,
}

impl CookiePattern {
    /// Reads a name, or the beginning of names and `*`.
    pub fn read(text: &str) -> Result<Self, BadCookiePattern> {
        let (start, open) =
            text.strip_suffix('*').map_or((text, false), |beginning| (beginning, true));
        if start.contains('*') {
            return Err(BadCookiePattern::InnerStar);
        }
        if text.is_empty() || !start.bytes().all(is_token) {
            return Err(BadCookiePattern::NotAName);
        }
        Ok(Self { written: text.into(), start: start.bytes().map(folded).collect(), open })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether a cookie's name is meant.
    pub fn matches(&self, name: &[u8]) -> bool {
        let begins = |(beginning, rest): (&[u8], &[u8])| {
            (self.open || rest.is_empty())
                && beginning.iter().copied().map(folded).eq(self.start.iter().copied())
        };
        name.split_at_checked(self.start.len()).is_some_and(begins)
    }
}

impl std::fmt::Display for CookiePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.written)
    }
}

fn folded(byte: u8) -> u8 {
    if matches!(byte, b'.' | b' ' | b'+' | b'[') { b'_' } else { byte.to_ascii_lowercase() }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_whole_name_or_the_beginning_of_one() {
        let matches = |pattern: &str, name: &str| {
            CookiePattern::read(pattern).unwrap().matches(name.as_bytes())
        };
        for (pattern, name) in [
            ("session", "session"),
            ("session", "SESSION"),
            ("session*", "session"),
            ("session*", "Session_P5000"),
            ("*", "anything"),
            ("ci_session", "ci.session"),
            ("ci_session", "CI session"),
            ("ci_sess*", "ci[session"),
            ("connect.sid", "connect.sid"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("session", "session_P5000"), ("session", "sessio"), ("session_*", "session")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_name_is_no_pattern() {
        for text in ["", "a b", "a=b", "a;b", "a,b", "\"a\"", "ä", "a\n"] {
            assert_eq!(CookiePattern::read(text), Err(BadCookiePattern::NotAName), "{text:?}");
        }
        for text in ["a*b", "**", "*a"] {
            assert_eq!(CookiePattern::read(text), Err(BadCookiePattern::InnerStar), "{text:?}");
        }
    }
}
