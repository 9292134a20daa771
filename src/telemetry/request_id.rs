//! Request ids: ULIDs, rendered without allocation, and those that trusted proxies give.

use std::fmt;

use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::request::TraceId;
use crate::secret;

/// A ULID: 48 bits of milliseconds, 80 of chance, in 26 characters of Crockford's base32, so that
/// ids sort by time. Or what a trusted proxy gave: at most 48 letters, digits, `-`, `.` and `_`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    text: [u8; LONGEST],
    length: u8,
}

impl RequestId {
    /// A new id of this moment.
    pub fn new(now: Timestamp) -> Self {
        Self::with_trace(now).0
    }

    /// The same, with the trace of the same bits that begins here.
    pub(super) fn with_trace(now: Timestamp) -> (Self, TraceId) {
        let value = ulid(now, secret::random());
        (Self::from_ulid(value), TraceId::new(value.to_be_bytes()))
    }

    /// Reads the id that a trusted proxy gave; None: it is none that could stand in every log.
    pub fn read(value: &HeaderValue) -> Option<Self> {
        let given = value.as_bytes();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        if given.is_empty() || !given.iter().all(is_part) {
            return None;
        }
        let mut text = [0; LONGEST];
        text.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self { text, length: u8::try_from(given.len()).ok()? })
    }

    fn from_ulid(mut value: u128) -> Self {
        let mut text = [0; LONGEST];
        for place in text.iter_mut().take(ULID).rev() {
            let digit = usize::try_from(value & 31).unwrap_or(0);
            *place = DIGITS.get(digit).copied().unwrap_or(b'0');
            value >>= 5;
        }
        Self { text, length: 26 }
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The value of [`X_REQUEST_ID`].
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.bytes()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn ulid(now: Timestamp, chance: [u8; 10]) -> u128 {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let chance = chance.into_iter().fold(0, |bits, byte| (bits << 8) | u128::from(byte));
    (u128::from(millis) << 80) | chance
}

/// The header in which a request's id travels.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a ULID.
const ULID: usize = 26;
/// Characters of an id from elsewhere: UUIDs and the usual hexadecimal ones fit.
const LONGEST: usize = 48;
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_the_ulid_of_its_parts() {
        let chance = [0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b];
        let id = RequestId::from_ulid(ulid(Timestamp::from_millis(0x0156_3e3a_b5d3), chance));
        assert_eq!(id.as_str(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        let least = RequestId::from_ulid(ulid(Timestamp::from_millis(-5), [0; 10]));
        assert_eq!(least.as_str(), "0".repeat(26));
    }

    #[test]
    fn ids_of_one_moment_differ_and_later_ids_sort_later() {
        let (one, other) =
            (RequestId::new(Timestamp::from_secs(1)), RequestId::new(Timestamp::from_secs(1)));
        assert_ne!(one, other);
        assert!(RequestId::new(Timestamp::from_secs(2)).as_str() > one.as_str());
        assert_eq!(one.header_value(), one.as_str());
    }

    #[test]
    fn an_id_from_elsewhere_is_taken_over_if_it_can_stand_in_every_log() {
        let read = |text: &str| RequestId::read(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        let longest = "x".repeat(48);
        for text in ["a", "3f1b9b1e-5a0d-4f3e-9d6b-0a4f2f3b7c11", "1.2_3", &longest] {
            assert_eq!(read(text).map(|id| id.as_str().to_owned()).as_deref(), Some(text));
        }
        for text in ["", "a b", "a,b", "a\tb", "\u{e9}", "a\"b", "a=b", &"x".repeat(49)] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_trace_that_begins_here_has_the_bits_of_its_request() {
        let (id, trace) = RequestId::with_trace(Timestamp::from_millis(0x0156_3e3a_b5d3));
        assert!(trace.to_string().starts_with("01563e3ab5d3"), "{trace}");
        assert!(id.as_str().starts_with("01ARZ3NDEK"), "{id}");
    }
}
