//! Hashes and checks passwords in bounded memory, in the same time whether the user exists or not.
//!
//! Not who may try, and how often: the limiter says so before. Invariant: a password, a hash and
//! what is computed between them show nowhere, and no hash costs more than a login may take.

use std::fmt;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::Profile;

use crate::secret::Secret;

mod foreign;
mod hash;
mod hasher;
mod judge;
mod seats;

#[cfg(test)]
mod tests;

pub use hash::{BadHash, PasswordHash};
pub use hasher::{Bounds, Busy, Hasher, Meter};
pub use judge::{Demands, Rejection, judge};
pub use seats::Asker;

/// What one argon2id hash costs (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// The least that OWASP's password storage cheat sheet recommends: 19 MiB, 2 passes, 1 lane.
    pub const DEFAULT: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
}

/// A password as presented: at most 1024 bytes, RFC 8265 OpaqueString.
#[derive(Clone)]
pub struct Password(Secret);

impl Password {
    /// Prepares a typed password; None: too long, empty, or refused by RFC 8265 (such never matches).
    pub fn new(typed: &Secret) -> Option<Self> {
        if typed.expose().len() > LONGEST {
            return None;
        }
        let prepared = OpaqueString::new().enforce(typed.expose_str()?).ok()?;
        // Some letters become one that RFC 8265 refuses: what was prepared must stay as it is.
        let again = OpaqueString::new().enforce(&*prepared);
        let stands = again.is_ok_and(|again| again == prepared);
        stands.then(|| Self(prepared.into_owned().into()))
    }

    fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    fn as_str(&self) -> &str {
        self.0.expose_str().unwrap_or_default()
    }
}

/// A password as typed at a login: prepared for hashes of ours, raw for those of other programs.
#[derive(Clone)]
pub struct Typed {
    /// Empty where it was too long.
    raw: Secret,
    prepared: Option<Password>,
}

impl Typed {
    /// Takes what was typed, whatever it is.
    pub fn new(typed: &Secret) -> Self {
        let bearable = typed.expose().len() <= LONGEST;
        let raw = if bearable { typed.clone() } else { Secret::new([]) };
        Self { raw, prepared: Password::new(typed) }
    }

    /// The password for a hash of ours in the place of a foreign one that it matched. None: it
    /// cannot be one of ours, or it may be the beginning of a longer one, of which bcrypt saw no
    /// more; to keep that beginning would shut the owner out.
    pub fn successor(&self) -> Option<Password> {
        let whole = self.raw.expose().len() != foreign::SEEN;
        self.prepared.clone().filter(|_| whole)
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typed(..)")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Bytes of a typed password: hashing more would be work for nothing.
const LONGEST: usize = 1024;
