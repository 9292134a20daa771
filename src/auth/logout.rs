//! Logout: by every token of ours that came along, however old, whose key is still known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Auth, Client, Failure, Parts};
use crate::identity::SessionId;
use crate::revocation::KEPT;
use crate::session::EndReason;
use crate::store::Unavailable;
use crate::telemetry::AuditEvent;
use crate::token::BadToken;

/// Logouts that the store has not heard of. Each was answered with 503, so none was promised; the
/// set of ended sessions refuses their access tokens meanwhile. One stays here until it is told, by
/// whoever takes it out. What was over before is not told while somebody waits for the store who may
/// have ended it, so that it is told once.
#[derive(Debug, Default)]
pub struct Unfinished {
    logouts: Mutex<BTreeMap<SessionId, Stage>>,
    asked: Mutex<BTreeMap<SessionId, u32>>,
}

/// One who asks the store to end a session, until dropped.
struct Asking<'a>(&'a Unfinished, SessionId);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut asked = self.0.asked();
        let others = asked.remove(&self.1).unwrap_or_default().saturating_sub(1);
        if others > 0 {
            asked.insert(self.1, others);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    InHand,
}

impl Unfinished {
    /// How many.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn add(&self, session: SessionId) {
        let mut sessions = self.lock();
        if sessions.len() < MOST_UNFINISHED {
            sessions.entry(session).or_insert(Stage::Waiting);
        }
    }

    /// Takes those that wait in hand.
    fn begin(&self) -> Vec<SessionId> {
        let mut sessions = self.lock();
        let waiting = sessions.iter_mut().filter(|(_, stage)| **stage == Stage::Waiting);
        let begin = |(session, stage): (&SessionId, &mut Stage)| {
            *stage = Stage::InHand;
            *session
        };
        waiting.map(begin).collect()
    }

    /// Lets it wait again, unless it was told meanwhile.
    fn put_back(&self, session: SessionId) {
        self.lock().entry(session).and_modify(|stage| *stage = Stage::Waiting);
    }

    fn ask(&self, session: SessionId) -> Asking<'_> {
        let mut asked = self.asked();
        let count = asked.entry(session).or_default();
        *count = count.saturating_add(1);
        Asking(self, session)
    }

    /// Whether one in hand is to be told, now that the store has `ended` it or found it over.
    fn finish(&self, session: SessionId, ended: bool) -> bool {
        if !ended && self.asked().contains_key(&session) {
            self.put_back(session);
            return false;
        }
        self.take_out(session)
    }

    /// Whether it was here still.
    fn take_out(&self, session: SessionId) -> bool {
        self.lock().remove(&session).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Stage>> {
        self.logouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<SessionId, u32>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is beyond this many was told that the logout did not end, too.
const MOST_UNFINISHED: usize = 100_000;

impl Auth {
    /// Ends the sessions of all these tokens, each a refresh or an access token. Unknown ones are no
    /// error (RFC 7009 section 2.2).
    pub async fn logout<'t>(
        &self,
        tokens: impl IntoIterator<Item = &'t str>,
        client: Client,
    ) -> Result<(), Failure> {
        self.leave(tokens.into_iter().filter_map(|token| self.session_of(token)), client).await
    }

    /// Ends the sessions of a caller who is known, as a logout does.
    ///
    /// When the store does not answer, access tokens of the sessions are refused all the same.
    pub async fn leave(
        &self,
        sessions: impl IntoIterator<Item = SessionId>,
        client: Client,
    ) -> Result<(), Failure> {
        let parts = Arc::clone(&self.parts);
        let sessions: BTreeSet<SessionId> = sessions.into_iter().collect();
        let drop_at = self.now().plus(KEPT);
        sessions.iter().for_each(|session| parts.revocations.end(*session, drop_at));
        self.parts
            .detached
            .though_late(async move {
                let mut all = Ok(());
                for session in sessions {
                    all = parts.end_for_good(session, &client).await.and(all);
                }
                all.map_err(Failure::from)
            })
            .await
    }

    /// Ends in the store what could not be ended there before; to be called again and again.
    pub async fn finish_logouts(&self) {
        let parts = Arc::clone(&self.parts);
        let work = async move {
            for session in parts.unfinished.begin() {
                match parts.store.end(session, EndReason::Logout).await {
                    Ok(ended) if !parts.unfinished.finish(session, ended) => {}
                    // False: over before. By the logout itself, most likely, whose answer was lost.
                    Ok(_) => {
                        parts.ended([(session, EndReason::Logout)]);
                        let event = AuditEvent::new("auth.logout").session(session);
                        parts.audit().write(event.outcome("success").reason("late"));
                    }
                    Err(_unavailable) => parts.unfinished.put_back(session),
                }
            }
            Ok::<(), Unavailable>(())
        };
        // Or later.
        drop(self.parts.detached.though_late(work).await);
    }

    /// The session that a token of ours names, a refresh or an access token: a good tag or a good
    /// signature is enough, since whoever holds an old token may still say that the session shall
    /// end. None for one whose key is gone: nobody can tell any more that it is ours.
    pub fn session_of(&self, token: &str) -> Option<SessionId> {
        if let Ok(refresh) = self.parts.masters.read(token) {
            return Some(refresh.session);
        }
        match self.parts.ring.verify(token, &self.parts.rules, self.now()) {
            Ok(verified) => Some(verified.identity.session),
            Err(BadToken::Expired(verified) | BadToken::Ahead(verified)) => {
                Some(verified.identity.session)
            }
            Err(BadToken::Invalid) => None,
        }
    }
}

impl Parts {
    async fn end_for_good(&self, session: SessionId, client: &Client) -> Result<(), Unavailable> {
        let _asking = self.unfinished.ask(session);
        let ended = self.store.end(session, EndReason::Logout).await;
        if ended.inspect_err(|_unavailable| self.unfinished.add(session))? {
            self.unfinished.take_out(session);
            self.ended([(session, EndReason::Logout)]);
            let event = client.event("auth.logout");
            self.audit().write(event.session(session).outcome("success"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moment at which a logout of the same session is answered is any.
    #[test]
    fn a_logout_that_somebody_else_may_have_ended_is_told_once() {
        let (unfinished, session) = (Unfinished::default(), SessionId::from_bytes([1; 16]));
        let refused = unfinished.ask(session);
        let other = unfinished.ask(session);
        unfinished.add(session);
        drop(refused);
        assert_eq!(unfinished.begin(), [session]);
        assert!(!unfinished.finish(session, false), "the other one may tell");
        assert!(unfinished.take_out(session), "as it does");
        drop(other);
        unfinished.add(session);
        assert_eq!(unfinished.begin(), [session]);
        assert!(unfinished.finish(session, false), "nobody else does");
        assert_eq!(unfinished.count(), 0);

        let other = unfinished.ask(session);
        unfinished.add(session);
        assert!(unfinished.finish(session, true), "the other one hears that it was over");
        drop(other);
        assert!(unfinished.asked().is_empty());
    }
}
