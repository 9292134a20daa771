//! How much may be known of a user, so that it fits into tokens, headers and pages: found out when
//! it is set, not at a login.

use super::{Parts, UserError};
use crate::identity::{Identity, Role, SessionId, UserId, Username};
use crate::revocation::KEPT;
use crate::store::User;
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
        !matches!(self.try_mint(username, roles), Err(KeyError::TooLong { .. }))
    }

    /// Whether an access token can be made for a user; tells the operator why not.
    pub(super) fn try_token(&self, user: &User) -> Result<(), KeyError> {
        let tried = self.try_mint(user.username.clone(), &user.roles);
        tried.inspect_err(|cause| no_token(&user.username, cause))
    }

    /// Makes a token that says the most which one of this user can say.
    fn try_mint(&self, username: Username, roles: &[Role]) -> Result<(), KeyError> {
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
            issued: now,
            session_end: now.plus(KEPT),
            client: "web",
        };
        self.ring.mint(&claims, &self.rules, now).map(drop)
    }
}

/// For the operator: nobody else can do anything about it.
pub(super) fn no_token(username: &Username, cause: &KeyError) {
    tracing::error!("{username} cannot be signed in: {cause}");
}

/// Characters of a username.
const LONGEST_NAME: usize = 64;

/// Bytes of names of roles that every token has room for.
const FITS_SURELY: usize = 512;
