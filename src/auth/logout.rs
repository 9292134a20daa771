//! Logout: by whichever of our tokens came along, however old.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Auth, Client, Failure};
use crate::identity::SessionId;
use crate::revocation::KEPT;
use crate::session::EndReason;
use crate::telemetry::AuditEvent;
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

/// Logouts that the store has not heard of. Each was answered with 503, so none was promised; the
/// set of ended sessions refuses their access tokens meanwhile.
#[derive(Debug, Default)]
pub struct Unfinished(Mutex<BTreeSet<SessionId>>);

impl Unfinished {
    fn add(&self, session: SessionId) {
        let mut sessions = self.lock();
        if sessions.len() < MOST_UNFINISHED {
            sessions.insert(session);
        }
    }

    fn take(&self) -> BTreeSet<SessionId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is beyond this many was told that the logout did not end, too.
const MOST_UNFINISHED: usize = 100_000;

impl Auth {
    /// Ends the session of the tokens; true: there was one and it has ended now.
    ///
    /// When the store does not answer, access tokens of the session are refused all the same.
    pub async fn logout(&self, logout: Logout<'_>) -> Result<bool, Failure> {
        match self.session_of(logout.refresh, logout.access) {
            Some(session) => self.leave(session, logout.client).await,
            None => Ok(false),
        }
    }

    /// Ends the session of a caller who is known, as a logout does.
    pub async fn leave(&self, session: SessionId, client: Client) -> Result<bool, Failure> {
        let parts = Arc::clone(&self.parts);
        parts.revocations.end(session, self.now().plus(KEPT));
        self.parts
            .detached
            .to_its_end(async move {
                let ended = parts.store.end(session, EndReason::Logout).await;
                let ended = ended.inspect_err(|_unavailable| parts.unfinished.add(session))?;
                if ended {
                    parts.ended([(session, EndReason::Logout)]);
                    let event = client.event("auth.logout");
                    parts.audit().write(event.session(session).outcome("success"));
                }
                Ok(ended)
            })
            .await
    }

    /// Ends in the store what could not be ended there before; to be called again and again.
    pub async fn finish_logouts(&self) {
        for session in self.parts.unfinished.take() {
            match self.parts.store.end(session, EndReason::Logout).await {
                // False: over before. By the logout itself, most likely, whose answer was lost.
                Ok(_) => {
                    self.parts.ended([(session, EndReason::Logout)]);
                    let event = AuditEvent::new("auth.logout").session(session);
                    self.parts.audit().write(event.outcome("success").reason("late"));
                }
                Err(_unavailable) => self.parts.unfinished.add(session),
            }
        }
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
