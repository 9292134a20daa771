//! How much may be known of a user, so that it fits into tokens, headers and pages: found out when
//! it is set, not at a login.

use super::{Parts, UserError};
use crate::identity::{Identity, Role, SessionId, UserId, Username};
use crate::revocation::KEPT;
use crate::token::{AccessClaims, KeyError};

/// Characters of a full name, and of an e-mail address.
pub(super) const LONGEST_TEXT: usize = 200;

/// Whether full name and e-mail can be told in headers and on pages.
pub(super) fn check_texts(full_name: Option<&str>, email: Option<&str>) -> Result<(), UserError> {
    for (what, text) in [("a full name", full_name), ("an e-mail address", email)] {
        let text = text.unwrap_or_default();
        if text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control) {
            return Err(UserError::BadText(what));
        }
    }
    Ok(())
}

impl Parts {
    /// Whether the longest token that could tell these roles can be made.
    pub(super) fn fit_into_a_token(&self, roles: &[Role]) -> bool {
        let length: usize = roles.iter().map(|role| role.as_str().len()).sum();
        let longest_name = Username::new(&"u".repeat(LONGEST_NAME)).ok();
        let Some(username) = longest_name.filter(|_| length > FITS_SURELY) else {
            return true;
        };
        let now = self.clock.now();
        let identity = Identity {
            user: UserId::from_bytes([0; 16]),
            username,
            roles: roles.into(),
            session: SessionId::from_bytes([0; 16]),
        };
        let claims = AccessClaims {
            identity: &identity,
            version: u32::MAX,
            auth_time: now,
            session_end: now.plus(KEPT),
            client: "web",
        };
        let minted = self.ring.mint(&claims, &self.rules, now);
        !matches!(minted, Err(KeyError::TooLong { .. }))
    }
}

/// Characters of a username.
const LONGEST_NAME: usize = 64;

/// Bytes of names of roles that every token has room for.
const FITS_SURELY: usize = 512;
