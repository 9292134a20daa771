//! A person's own sessions: the list, and ending one of them.

use super::{Auth, Failure};
use crate::clock::Timestamp;
use crate::identity::{Identity, SessionId};
use crate::limit::{Bucket, Wait};
use crate::session::{EndReason, Row};
use crate::token::Verified;

/// What came of ending a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Revoke {
    /// It is over, now or since before.
    Done,
    /// No session of this user: unknown and somebody else's look the same.
    NotFound,
    /// The login is too long ago to end another session.
    Reauthenticate,
}

impl Auth {
    /// The live sessions of a user, newest login first; slowed, since a thief could watch them.
    pub async fn sessions(&self, whose: &Identity) -> Result<Result<Vec<Row>, Wait>, Failure> {
        if let Err(wait) = self.parts.limits.take(Bucket::SessionList(whose.session)) {
            return Ok(Err(wait));
        }
        Ok(Ok(self.parts.store.sessions(Some(whose.user)).await?))
    }

    /// Ends one of the caller's sessions; another than the caller's own asks for a recent login.
    pub async fn revoke(&self, caller: &Verified, session: SessionId) -> Result<Revoke, Failure> {
        let row = self.parts.store.peek(session).await?;
        let Some(row) = row.filter(|row| row.identity.user == caller.identity.user) else {
            return Ok(Revoke::NotFound);
        };
        if row.revoked.is_some() {
            return Ok(Revoke::Done);
        }
        if session != caller.identity.session && !self.is_recent(caller.auth_time) {
            return Ok(Revoke::Reauthenticate);
        }
        if self.parts.store.end(session, EndReason::Revoked).await? {
            self.parts.ended([(session, EndReason::Revoked)]);
        }
        Ok(Revoke::Done)
    }

    fn is_recent(&self, login: Timestamp) -> bool {
        self.now() <= login.plus(self.parts.sessions.reauth_max_age)
    }
}
