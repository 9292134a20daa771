//! A path that a browser may be sent on to.

use std::fmt;

use super::Target;

/// Path, query and fragment of the origin that gives it out, whoever wrote it: no browser reads a
/// host, a scheme or a line's end in it, not even one that decodes it once more or takes `\` for `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath(String);

impl LocalPath {
    /// Reads one of at most 2 KiB; none: it could lead elsewhere, or is no path in normal form. A
    /// fragment may follow: it is where many applications keep their own place.
    pub fn read(text: &str) -> Option<Self> {
        let (path, fragment) = text.split_once('#').unwrap_or((text, ""));
        let alone = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
        if !alone || text.len() > MOST_BYTES || !fragment.bytes().all(may_be_in_a_fragment) {
            return None;
        }
        let target = Target::read(path).ok()?;
        let leads_away = |path: &[u8]| matches!(path, [b'/', b'/' | b'\\', ..]);
        let hidden = hides_a_slash(target.path());
        if hidden || target.readings().iter().any(|reading| leads_away(reading)) {
            return None;
        }
        let mark = if fragment.is_empty() { "" } else { "#" };
        Some(Self(format!("{}{mark}{fragment}", target.path_and_query())))
    }

    /// As it stands in a `Location`: printable ASCII alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What browsers leave as it is in one (WHATWG URL, fragment percent-encode set), but a backslash.
const fn may_be_in_a_fragment(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`' | b'\\')
}

/// Whether the first character is an encoded `/` or `\`, however often it was encoded.
fn hides_a_slash(path: &str) -> bool {
    let encoded = path.strip_prefix("/%").map(|rest| rest.trim_start_matches("25"));
    let slash = |rest: &str| ["2F", "2f", "5C", "5c"].iter().any(|code| rest.starts_with(code));
    encoded.is_some_and(slash)
}

impl Default for LocalPath {
    /// The root.
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Longer ones are no page that somebody came for.
const MOST_BYTES: usize = 2048;
