//! Logout: by whichever of our tokens came along, however old.

use super::{Auth, Client, Failure};
use crate::identity::SessionId;
use crate::revocation::KEPT;
use crate::session::EndReason;
use crate::token::BadToken;

/// What came along with a logout. Unknown tokens are no error (RFC 7009 section 2.2).
#[derive(Debug)]
pub struct Logout<'a> {
    /// A refresh token, from the body or a cookie.
    pub refresh: Option<&'a str>,
    /// An access token, as Bearer or from a cookie.
    pub access: Option<&'a str>,
    /// Who asks.
    pub client: Client,
}

impl Auth {
    /// Ends the session of the tokens; true: there was one and it has ended now.
    ///
    /// When the store does not answer, access tokens of the session are refused all the same.
    pub async fn logout(&self, logout: Logout<'_>) -> Result<bool, Failure> {
        let Some(session) = self.session_of(logout.refresh, logout.access) else {
            return Ok(false);
        };
        let parts = &*self.parts;
        parts.revocations.end(session, self.now().plus(KEPT));
        let ended = parts.store.end(session, EndReason::Logout).await?;
        if ended {
            parts.ended([(session, EndReason::Logout)]);
            let event = logout.client.event("auth.logout");
            parts.audit().write(event.session(session).outcome("success"));
        }
        Ok(ended)
    }

    /// The session that a token of ours names: a good tag or a good signature is enough, since
    /// whoever holds an old token may still say that the session shall end.
    pub fn session_of(&self, refresh: Option<&str>, access: Option<&str>) -> Option<SessionId> {
        let by_refresh = refresh.and_then(|text| self.parts.masters.read(text).ok());
        if let Some(token) = by_refresh {
            return Some(token.session);
        }
        match self.parts.ring.verify(access?, &self.parts.rules, self.now()) {
            Ok(verified) => Some(verified.identity.session),
            Err(BadToken::Expired(verified)) => Some(verified.identity.session),
            Err(BadToken::Invalid) => None,
        }
    }
}
