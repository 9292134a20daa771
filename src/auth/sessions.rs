//! A person's own sessions: the list, naming and ending one of them, and ending all.

use std::sync::Arc;

use super::{Auth, Client, Failure};
use crate::clock::Timestamp;
use crate::identity::{Identity, SessionId};
use crate::limit::{Bucket, Wait};
use crate::session::{EndReason, Row};
use crate::token::Verified;

/// What came of ending or naming a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Revoke {
    /// It is over, now or since before; it has its name.
    Done,
    /// No session of this user: unknown and somebody else's look the same.
    NotFound,
    /// The login is too long ago to act on another session.
    Reauthenticate,
}

/// What came of ending all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LogoutAll {
    /// So many lived, and have ended.
    Ended(usize),
    /// The login is too long ago.
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
        let parts = Arc::clone(&self.parts);
        self.parts
            .detached
            .though_late(async move {
                if parts.store.end(session, EndReason::Revoked).await? {
                    parts.ended([(session, EndReason::Revoked)]);
                }
                Ok(Revoke::Done)
            })
            .await
    }

    /// Names the device of one of the caller's sessions; another than the caller's own asks for a
    /// recent login.
    pub async fn name_session(
        &self,
        caller: &Verified,
        session: SessionId,
        name: String,
    ) -> Result<Revoke, Failure> {
        let row = self.parts.store.peek(session).await?;
        let own = row.filter(|row| row.identity.user == caller.identity.user);
        if own.is_none_or(|row| row.revoked.is_some()) {
            return Ok(Revoke::NotFound);
        }
        if session != caller.identity.session && !self.is_recent(caller.auth_time) {
            return Ok(Revoke::Reauthenticate);
        }
        let named = self.parts.store.name_device(session, name).await?;
        Ok(if named { Revoke::Done } else { Revoke::NotFound })
    }

    /// Ends every session of the caller, who has logged in recently; `but` lives on.
    pub async fn logout_all(
        &self,
        caller: &Verified,
        but: Option<SessionId>,
        client: &Client,
    ) -> Result<LogoutAll, Failure> {
        if !self.is_recent(caller.auth_time) {
            return Ok(LogoutAll::Reauthenticate);
        }
        let (parts, user) = (Arc::clone(&self.parts), caller.identity.user);
        let event = client.event("auth.logout").user(user).session(caller.identity.session);
        self.parts
            .detached
            .though_late(async move {
                let ended = parts.store.end_all(Some(user), but, EndReason::Logout).await?;
                // What ended by itself ends again here, and is not counted.
                let count = ended.iter().filter(|ended| ended.lived).count();
                parts.ended(ended.into_iter().map(|ended| (ended.session, EndReason::Logout)));
                if count > 0 {
                    parts.audit().write(event.outcome("success").reason("all"));
                }
                Ok(LogoutAll::Ended(count))
            })
            .await
    }

    /// Whether a login is recent enough for what a stolen session shall not do. One ahead of our
    /// clock is of a time when that was wrong: how long ago nobody can tell.
    pub fn is_recent(&self, login: Timestamp) -> bool {
        let now = self.now();
        let leeway = self.parts.rules.leeway;
        login <= now.plus(leeway) && now <= login.plus(self.parts.sessions.reauth_max_age)
    }
}
