//! Refresh: tag, permit, one compare-and-swap, and the verdict of the state machine.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::renewal::MayEnd;
use super::{Auth, Client, Failure, Parts, Tokens};
use crate::config::Level;
use crate::limit::{Bucket, Wait};
use crate::revocation::Standing;
use crate::secret;
use crate::session::{EndReason, Presented, Row, Transport, Verdict};
use crate::store::{CancellationToken, Rotate, Rotation, Unavailable};
use crate::telemetry::{AuditEvent, Counter, Timing};
use crate::token::{BadRefreshToken, RefreshToken};

/// One try to refresh.
#[derive(Debug)]
pub struct RefreshAttempt {
    /// The refresh token as presented.
    pub token: String,
    /// How it came: by cookie or in the body.
    pub transport: Transport,
    /// At least 16 characters; counts for tokens in the body alone.
    pub idempotency_key: Option<String>,
    /// Who tries.
    pub client: Client,
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub enum Refresh {
    /// T1, T2, T3 or T4.
    Fresh(Box<Tokens>),
    /// T6 to T15.
    Refused(RefusedRefresh),
    /// T17.
    Wait(Wait),
}

/// Why a refresh token gives nothing: always 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedRefresh {
    /// T14, T15: not a token of a session here.
    Invalid,
    /// T6, T7: used before, and not by a retry. The session has ended.
    Reused,
    /// T8 to T11, T13: the session has ended.
    Revoked,
    /// T12.
    Expired,
}

impl Auth {
    /// Refreshes. Permits are taken first; that of the session is given back when nothing rotated,
    /// that of the address when the token was good. What asks the store without either is counted
    /// with all that an address asks of the endpoints.
    pub async fn refresh(&self, attempt: RefreshAttempt) -> Result<Refresh, Failure> {
        let parts = &self.parts;
        let address = Bucket::RefreshAddress(attempt.client.address);
        if let Err(wait) = parts.limits.take(address) {
            return Ok(parts.throttled(&attempt.client, wait));
        }
        let outcome = parts.refresh(attempt).await;
        if !matches!(outcome, Ok(Refresh::Refused(_))) {
            parts.limits.give_back(address);
        }
        outcome
    }
}

impl Parts {
    async fn refresh(self: &Arc<Self>, attempt: RefreshAttempt) -> Result<Refresh, Failure> {
        let token = match self.masters.read(&attempt.token) {
            Ok(token) => token,
            Err(BadRefreshToken::Invalid) => {
                self.telemetry.count(Counter::Refresh, "invalid");
                return Ok(Refresh::Refused(RefusedRefresh::Invalid));
            }
            Err(BadRefreshToken::UnknownKey) => return Err(self.key_missing(&attempt, None)),
        };
        let permit = self.permit(&token, &attempt);
        if let Some(Err(wait)) = permit.map(|permit| self.limits.take(permit)) {
            return Ok(self.throttled(&attempt.client, wait));
        }
        let parts = Arc::clone(self);
        let work = |cancellation: CancellationToken| async move {
            let rotation =
                parts.rotate((&token, &attempt), MayEnd::Yes, cancellation.clone()).await;
            if rotation.is_err() && !cancellation.has_left() {
                parts.telemetry.count(Counter::Refresh, "unavailable");
            }
            if !matches!(&rotation, Ok((Rotation { verdict: Verdict::Rotate, .. }, _))) {
                permit.into_iter().for_each(|permit| parts.limits.give_back(permit));
            }
            Ok(parts.conclude(&attempt, &token, rotation?))
        };
        let outcome: Result<_, Unavailable> = self.detached.once_begun(work).await;
        outcome?
    }

    /// None: by cookie a session rotates once in a window at most, however many tabs ask at once, and
    /// the limit allows so much.
    fn permit(&self, token: &RefreshToken, attempt: &RefreshAttempt) -> Option<Bucket> {
        let permit = Bucket::RefreshSession(token.session);
        let by_cookie = attempt.transport == Transport::Cookie;
        let is_seldom = by_cookie && self.limits.allows_every(self.sessions.windows.cookie, permit);
        (!is_seldom).then_some(permit)
    }

    /// The compare-and-swap, with the successor that it would make current.
    pub(super) async fn rotate(
        &self,
        (token, attempt): (&RefreshToken, &RefreshAttempt),
        may_end: MayEnd,
        cancellation: CancellationToken,
    ) -> Result<(Rotation, RefreshToken), Unavailable> {
        let salt = secret::random();
        let key = self.masters.active();
        let next = self
            .masters
            .successor(token, &salt, key)
            .ok_or_else(|| Unavailable("the active master key is missing".to_owned()))?;
        let rotate = Rotate {
            presented: presented(token, attempt),
            next: next.hash(),
            salt,
            key,
            windows: self.sessions.windows,
            may_end: may_end == MayEnd::Yes,
        };
        Ok((self.store.until(cancellation).rotate(rotate).await?, next))
    }

    fn conclude(
        &self,
        attempt: &RefreshAttempt,
        token: &RefreshToken,
        (rotation, next): (Rotation, RefreshToken),
    ) -> Result<Refresh, Failure> {
        let Rotation { verdict, row } = rotation;
        let told = Told { attempt, presented: token.generation, row: row.as_deref() };
        match (verdict, row.as_deref()) {
            (Verdict::Rotate, Some(row)) => self.fresh((row, &told), &next, "rotated"),
            (Verdict::Coalesced, Some(row)) => self.fresh((row, &told), token, "coalesced"),
            (Verdict::Replayed { late, .. }, Some(row)) => match self.replayed(token, row) {
                Some(current) => {
                    self.measure_replay(attempt, row);
                    let outcome = if late { "replayed_late" } else { "replayed" };
                    self.fresh((row, &told), &current, outcome)
                }
                None => Err(self.key_missing(attempt, Some(row))),
            },
            (Verdict::End(reason), _) => {
                self.ended([(token.session, reason)]);
                let refused = if reason == EndReason::Reuse {
                    RefusedRefresh::Reused
                } else {
                    RefusedRefresh::Revoked
                };
                Ok(self.refuse(refused, told.event(reason.as_str())))
            }
            (Verdict::Expired, _) => {
                Ok(self.refuse(RefusedRefresh::Expired, told.event("expired")))
            }
            (Verdict::Revoked, _) => {
                Ok(self.refuse(RefusedRefresh::Revoked, told.event("after_revoke")))
            }
            (
                Verdict::Unknown | Verdict::Rotate | Verdict::Coalesced | Verdict::Replayed { .. },
                _,
            ) => Ok(self.refuse(RefusedRefresh::Invalid, told.event("unknown"))),
        }
    }

    /// T3, T4: the one successor, if it is the row's current token; otherwise T5.
    pub(super) fn replayed(&self, token: &RefreshToken, row: &Row) -> Option<RefreshToken> {
        let next = self.masters.successor(token, &row.salt?, row.key)?;
        secret::same(&next.hash(), &row.current).then_some(next)
    }

    /// Measures a replay that was given its successor: whether windows are wide enough, and whether
    /// it came from where the rotation did.
    pub(super) fn measure_replay(&self, attempt: &RefreshAttempt, row: &Row) {
        self.telemetry.time(Timing::ReplayAge, "", row.rotated.until(self.clock.now()));
        let (network, agent) = (attempt.client.network(), attempt.client.agent_hash());
        let what = match (network == row.network, agent == row.agent_hash) {
            (true, true) => return,
            (false, true) => "network",
            (true, false) => "agent",
            (false, false) => "both",
        };
        self.telemetry.count(Counter::ReplayChanged, what);
    }

    /// A logout that the store has not taken yet counts here already.
    fn fresh(
        &self,
        (row, told): (&Row, &Told<'_>),
        token: &RefreshToken,
        outcome: &'static str,
    ) -> Result<Refresh, Failure> {
        // What a logout took away no answer gives back. A body's token that was rotated and replayed in
        // one commit has ended as well, and one of its users is told that it was theirs.
        if told.attempt.transport == Transport::Cookie && self.has_ended(row) {
            return Ok(self.refuse(RefusedRefresh::Revoked, told.event("after_revoke")));
        }
        self.tell(told.event(outcome));
        Ok(Refresh::Fresh(Box::new(self.tokens(row, token)?)))
    }

    /// Whether the session has ended, though its row may not say so yet.
    pub(super) fn has_ended(&self, row: &Row) -> bool {
        self.revocations.standing(row.identity.session, row.version) == Standing::Ended
    }

    fn refuse(&self, refused: RefusedRefresh, event: Outcome) -> Refresh {
        self.tell(event);
        Refresh::Refused(refused)
    }

    pub(super) fn tell(&self, Outcome(outcome, event): Outcome) {
        self.telemetry.count(Counter::Refresh, outcome);
        self.audit().write(event);
    }

    fn throttled(&self, client: &Client, wait: Wait) -> Refresh {
        self.telemetry.count(Counter::Throttled, wait.limit);
        let event = client.event("auth.refresh.throttled");
        self.tell(Outcome("throttled", event.outcome("throttled").reason(wait.limit)));
        Refresh::Wait(wait)
    }

    fn key_missing(&self, attempt: &RefreshAttempt, row: Option<&Row>) -> Failure {
        let told = Told { attempt, presented: 0, row };
        self.tell(told.event("key_missing"));
        Unavailable("a refresh token was made under a master key that is not known here".to_owned())
            .into()
    }
}

/// The outcome's name, for the metric, and its audit line.
pub(super) struct Outcome(&'static str, AuditEvent);

/// What an audit line of a refresh is made of.
pub(super) struct Told<'a> {
    pub(super) attempt: &'a RefreshAttempt,
    pub(super) presented: u64,
    pub(super) row: Option<&'a Row>,
}

impl Told<'_> {
    pub(super) fn event(&self, outcome: &'static str) -> Outcome {
        let event =
            self.attempt.client.event("auth.refresh").outcome(outcome).level(level(outcome));
        let event = event.transport(self.attempt.transport).presented_generation(self.presented);
        Outcome(
            outcome,
            match self.row {
                Some(row) => event
                    .user(row.identity.user)
                    .username(row.identity.username.clone())
                    .session(row.identity.session)
                    .generation(row.generation),
                None => event,
            },
        )
    }
}

/// How grave an outcome is: those of the last line mean a thief, or a store that lost something.
fn level(outcome: &str) -> Level {
    match outcome {
        "coalesced" => Level::Debug,
        "replayed_late" | "transport" => Level::Warn,
        "reuse" | "integrity" | "store_rollback" | "key_missing" => Level::Error,
        _ => Level::Info,
    }
}

pub(super) fn presented(token: &RefreshToken, attempt: &RefreshAttempt) -> Presented {
    let keyed = attempt.idempotency_key.as_ref().filter(|_| attempt.transport == Transport::Body);
    Presented {
        session: token.session,
        generation: token.generation,
        hash: token.hash(),
        transport: attempt.transport,
        retry_key: keyed.map(|key| Sha256::digest(key).into()),
        agent_hash: attempt.client.agent_hash(),
        network: attempt.client.network(),
    }
}
