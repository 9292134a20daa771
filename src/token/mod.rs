//! Access tokens, refresh tokens and the keys that make them.
//!
//! Not the state of a session: a refresh token that reads well may still be old, and an access
//! token that verifies may be of a session that ended. Invariant: nothing here compares a secret
//! but in constant time, and no key is read from a file that others could read.

mod access;
mod archive;
mod assertion;
mod cache;
mod files;
mod keys;
mod refresh;
mod ring;

#[cfg(test)]
mod tests;

pub use access::{AccessClaims, AccessRules, BadToken, Verified, decode_leniently};
pub use archive::{archive, signing_key_files};
pub use assertion::Assertions;
pub use cache::TokenCache;
pub use keys::{Algorithm, KeyError};
pub use refresh::{BadRefreshToken, MasterKey, MasterKeys, RefreshToken, Salt, SecretHash};
pub use ring::{KeyEntry, KeyRing, KeyState, OldKeys, Rotated, Upkeep};
