//! One log line in the making: the only place where a value becomes bytes of a log.
//!
//! Whatever a value holds, it stays inside its field and its line, and moves no terminal's cursor.

use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::Timestamp;

/// How fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One JSON object (RFC 8259).
    Json,
    /// `key=value`, values quoted where they need it.
    Text,
}

/// A line that fields are added to, each at most once.
#[derive(Debug)]
pub(super) struct Line<'b> {
    out: &'b mut Vec<u8>,
    shape: Shape,
    first: bool,
}

impl<'b> Line<'b> {
    /// Begins a line at the end of `out`.
    pub(super) fn begin(out: &'b mut Vec<u8>, shape: Shape) -> Self {
        if shape == Shape::Json {
            out.push(b'{');
        }
        Self { out, shape, first: true }
    }

    /// Adds text that may hold anything.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        if self.shape == Shape::Json || !stands_bare(value) {
            self.out.push(b'"');
            escape(self.out, value);
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    /// Adds an id or an address: text whose type has no character to escape.
    pub(super) fn id(&mut self, key: &str, value: impl Display) {
        self.key(key);
        match self.shape {
            Shape::Json => put(self.out, format_args!("\"{value}\"")),
            Shape::Text => put(self.out, format_args!("{value}")),
        }
    }

    /// Adds a number or a truth value.
    pub(super) fn number(&mut self, key: &str, value: impl Display) {
        self.key(key);
        put(self.out, format_args!("{value}"));
    }

    /// Adds a time span in milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, key: &str, span: Duration) {
        self.key(key);
        let micros = span.as_micros();
        put(self.out, format_args!("{}.{:03}", micros / 1000, micros % 1000));
    }

    /// Adds a moment as RFC 3339 in UTC, always with milliseconds, so that lines sort as text.
    pub(super) fn moment(&mut self, key: &str, moment: Timestamp) {
        self.id(key, Rfc3339(moment));
    }

    /// Ends the line.
    pub(super) fn end(self) {
        self.out.extend_from_slice(match self.shape {
            Shape::Json => b"}\n",
            Shape::Text => b"\n",
        });
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(if self.shape == Shape::Json { b',' } else { b' ' });
        }
        self.first = false;
        match self.shape {
            Shape::Json => {
                self.out.push(b'"');
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Shape::Text => {
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
    }
}

/// Adds text to a JSON string or to anything else between `"`: backslash, quote, controls and what
/// turns the direction of writing are escaped as JSON does.
pub(super) fn escape(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        return out.extend_from_slice(text.as_bytes());
    }
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            put(out, format_args!("\\{c}"));
        } else if is_hostile(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                put(out, format_args!("\\u{unit:04x}"));
            }
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Adds formatted text; writing to memory cannot fail.
pub(super) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _: Result<(), _> = out.write_fmt(text);
}

/// The calendar's view of a moment; the epoch for one beyond year 9999.
pub(super) fn calendar(moment: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.as_millis()) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

struct Rfc3339(Timestamp);

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = calendar(self.0);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second, milli) = at.to_hms_milli();
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

fn stands_bare(value: &str) -> bool {
    let bare = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !value.is_empty() && value.bytes().all(bare)
}

/// Whether a character can move or hide the text around it: controls (C0, DEL, C1), zero-width and
/// direction marks, line and paragraph separators.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
