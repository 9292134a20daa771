//! Values that must not be seen: wiped on drop, blank in `Debug`, compared in constant time.
//!
//! Also the one source of randomness. Nothing here implements `Display` or `Serialize`.

use std::fmt;

use rand::RngExt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes: a key, a password, a token.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes; the caller's copy, if any, stays the caller's to wipe.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves: only for the code that hashes, signs, sends or compares them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether the bytes are these, told in a time that depends on the lengths alone.
    pub fn is(&self, other: &[u8]) -> bool {
        same(&self.0, other)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// Whether two byte strings are equal, told in a time that depends on their lengths alone.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// `N` bytes from a generator that the operating system seeds.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// A fraction drawn evenly from 0 (included) to 1 (excluded).
pub fn random_fraction() -> f64 {
    rand::rng().random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
    }

    #[test]
    fn equality_is_of_every_byte_and_the_length() {
        let secret = Secret::new("abc");
        assert!(secret.is(b"abc"));
        assert!(!secret.is(b"abd") && !secret.is(b"ab") && !secret.is(b"abcd"));
    }

    #[test]
    fn two_random_values_differ() {
        assert_ne!(random::<32>(), random::<32>());
    }
}
