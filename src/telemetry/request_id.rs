//! Request ids: ULIDs, rendered without allocation.

use std::fmt;

use http::HeaderValue;

use crate::clock::Timestamp;
use crate::secret;

/// A ULID: 48 bits of milliseconds, 80 of chance, in 26 characters of Crockford's base32, so that
/// ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 26]);

impl RequestId {
    /// A new id of this moment.
    pub fn new(now: Timestamp) -> Self {
        Self::from_parts(now, secret::random())
    }

    fn from_parts(now: Timestamp, chance: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let mut value = u128::from(millis) << 80;
        for (byte, shift) in chance.into_iter().rev().zip((0..).step_by(8)) {
            value |= u128::from(byte) << shift;
        }
        let mut text = [0; 26];
        for place in text.iter_mut().rev() {
            let digit = usize::try_from(value & 31).unwrap_or(0);
            *place = DIGITS.get(digit).copied().unwrap_or(b'0');
            value >>= 5;
        }
        Self(text)
    }

    /// The 26 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The value of `X-Request-Id`.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static(""))
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

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_the_ulid_of_its_parts() {
        let chance = [0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b];
        let id = RequestId::from_parts(Timestamp::from_millis(0x0156_3e3a_b5d3), chance);
        assert_eq!(id.as_str(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        let least = RequestId::from_parts(Timestamp::from_millis(-5), [0; 10]);
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
}
