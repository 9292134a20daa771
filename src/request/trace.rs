//! The trace that a request belongs to (W3C Trace Context, level 1).
//!
//! A caller's `traceparent` goes on as it came; where it sent none, or one that says nothing, the
//! gateway begins a trace. Nothing here is exported: the access line names the trace.

use std::fmt;

use http::header::{HeaderMap, HeaderName};

use super::readings::hex_pair;

/// The id of a trace: 16 bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// An id of a trace that begins here. The bytes are random, at least the last eight.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The trace that a caller names. None: it names none, or not in the one way there is, and then
    /// what else it says of traces means nothing.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => read(line.as_bytes()),
            _ => None,
        }
    }

    /// The value of [`TRACEPARENT`] that begins it: version 0, with the end of the id for that of
    /// its first span, and sampled, since the access line records it.
    pub fn traceparent(self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        let [_, _, _, trace @ .., _, _, _] = &mut text;
        write_hex(trace, &self.0);
        let (_, span) = trace.split_at_mut(33);
        let [.., b0, b1, b2, b3, b4, b5, b6, b7] = self.0;
        write_hex(span, &[b0, b1, b2, b3, b4, b5, b6, b7]);
        text
    }
}

fn write_hex(places: &mut [u8], bytes: &[u8]) {
    let (pairs, _) = places.as_chunks_mut();
    for ([high, low], byte) in pairs.iter_mut().zip(bytes) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 15));
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `version-trace-span-flags`; a version to come may say more behind a further dash.
fn read(text: &[u8]) -> Option<TraceId> {
    let mut parts = text.split(|byte| *byte == b'-');
    let version = hex::<1>(parts.next()?)?;
    let trace = hex::<16>(parts.next()?)?;
    let span = hex::<8>(parts.next()?)?;
    hex::<1>(parts.next()?)?;
    let ends = match version {
        [0xff] => false,
        [0] => parts.next().is_none(),
        _ => true,
    };
    (ends && trace != [0; 16] && span != [0; 8]).then_some(TraceId(trace))
}

/// Exactly so many bytes in lower-case digits.
fn hex<const N: usize>(mut text: &[u8]) -> Option<[u8; N]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    for byte in &mut bytes {
        (*byte, text) = hex_pair(text)?;
    }
    text.is_empty().then_some(bytes)
}

fn digit(value: u8) -> u8 {
    if value < 10 { value.wrapping_add(b'0') } else { value.wrapping_sub(10).wrapping_add(b'a') }
}

/// Names a trace.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What else is said of it, which means nothing in another trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(TRACEPARENT, HeaderValue::from_str(line).unwrap());
        }
        TraceId::of(&headers).map(|trace| trace.to_string())
    }

    #[test]
    fn a_trace_is_read_in_its_one_spelling() {
        for line in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-ff"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes"),
        ] {
            assert_eq!(of(&[&line]).as_deref(), Some(TRACE), "{line}");
        }
        for line in [
            String::new(),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-00f067aa0ba902b-01"),
            format!("00-{TRACE}0-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!(" 00-{TRACE}-00f067aa0ba902b7-01"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01.more"),
        ] {
            assert_eq!(of(&[&line]), None, "{line}");
        }
        let line = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(of(&[&line, &line]), None, "twice");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_trace_that_begins_here_reads_back() {
        let trace = TraceId::new([0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        let written = trace.traceparent();
        assert_eq!(&written, b"00-0a0102030405060708090a0b0c0d0eff-08090a0b0c0d0eff-01");
        assert_eq!(read(&written), Some(trace));
    }
}
