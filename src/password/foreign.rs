//! bcrypt, as other programs made it: verified, never made here.
//!
//! Raw bytes, of which the first 72 count. A NUL would end the password for some programs and not
//! for others, so one that holds it matches nothing.

use std::str::FromStr;

use bcrypt::HashParts;

use super::hash::BadHash;

/// Whether a text claims to be such a hash.
pub(super) fn claims(text: &str) -> bool {
    text.starts_with("$2")
}

/// Takes `$2a$`, `$2b$` and `$2y$` of a cost that a login may take. `$2x$` marks hashes of a broken
/// program, which several passwords match.
pub(super) fn check(text: &str) -> Result<(), BadHash> {
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|version| text.starts_with(version));
    let digits = text.bytes().skip(4).take(2).all(|byte| byte.is_ascii_digit());
    if !known || !digits {
        return Err(BadHash::Form);
    }
    let parts = HashParts::from_str(text).map_err(|_malformed| BadHash::Form)?;
    if (LEAST_COST..=MOST_COST).contains(&parts.get_cost()) { Ok(()) } else { Err(BadHash::Cost) }
}

/// How many times the floor of failed logins it takes to hide what the hash costs.
pub(super) fn floors(text: &str) -> u32 {
    let cost = HashParts::from_str(text).map_or(MOST_COST, |parts| parts.get_cost());
    1 << cost.clamp(FLOOR_COST, MOST_COST).saturating_sub(FLOOR_COST)
}

/// Whether these bytes can be a password of such a hash.
pub(super) fn takes(password: &[u8]) -> bool {
    !password.is_empty() && !password.contains(&0)
}

/// Whether the bytes are the password of the hash. Costs what the hash says.
pub(super) fn is_of(text: &str, password: &[u8]) -> bool {
    bcrypt::verify(password, text).unwrap_or(false)
}

/// The name of the algorithm.
pub(super) const ALGORITHM: &str = "bcrypt";

/// Bytes of a password that bcrypt sees.
pub(super) const SEEN: usize = 72;

const LEAST_COST: u32 = 4;
/// About a second.
const MOST_COST: u32 = 14;
/// About a quarter of a second.
const FLOOR_COST: u32 = 12;
