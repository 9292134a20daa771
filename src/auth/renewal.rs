//! Renewal inside any request, in two steps: at arrival the refresh token makes the caller known,
//! and when the answer's head is in hand it is rotated.
//!
//! Rotating at arrival would lose the successor of every request whose answer comes late or never.
//! The second step never ends a session and never fails an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::refresh::{Outcome, Told, presented};
use super::{Auth, Client, Failure, Parts, RefreshAttempt, Tokens};
use crate::clock::Timestamp;
use crate::identity::{Identity, SessionId, Why};
use crate::revocation::Standing;
use crate::session::{EndReason, Row, Transport, Verdict, classify};
use crate::store::{CancellationToken, Rotation, Unavailable};
use crate::telemetry::Counter;
use crate::token::{BadRefreshToken, RefreshToken, SecretHash};

/// A refresh token that made a caller known, to be rotated when the answer's head is in hand.
#[derive(Debug)]
pub struct Renewal {
    token: String,
    client: Client,
}

/// What a refresh cookie says of a caller, without anything written but an ending.
#[derive(Debug)]
#[must_use]
pub enum Peek {
    /// Known for this request.
    Known {
        /// Who.
        identity: Identity,
        /// `sv` of the session.
        version: u32,
        /// The login.
        auth_time: Timestamp,
        /// For the second step.
        renewal: Renewal,
    },
    /// Not known by this cookie.
    Anonymous(Why),
    /// A cookie of a session that does not live by cookies: as if it were not there.
    NotOurs,
}

/// What was found out of a presented token, process-wide: many requests at once are one read.
#[derive(Debug, Default)]
pub struct Peeks(Mutex<HashMap<Key, Arc<OnceCell<Found>>>>);

/// T4 asks where the token comes from, so an answer holds for no other client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    token: SecretHash,
    agent: Option<[u8; 32]>,
    network: Option<String>,
}

#[derive(Clone, Debug)]
struct Found {
    what: What,
    /// Uptime of the clock until which it counts.
    until: Duration,
}

#[derive(Clone, Debug)]
enum What {
    Known {
        identity: Identity,
        version: u32,
        auth_time: Timestamp,
        /// The nearer end of the session, as it was read.
        ends: Timestamp,
    },
    Anonymous(Why),
    NotOurs,
    /// Remembered for a moment, so that many who wait do not each wait for the store in turn.
    Unavailable(Unavailable),
}

impl Auth {
    /// The first step. An outage is an error and never "anonymous".
    pub async fn peek(&self, token: &str, client: Client) -> Result<Peek, Failure> {
        let parts = &self.parts;
        let read = match parts.masters.read(token) {
            Ok(read) => read,
            Err(BadRefreshToken::Invalid) => return Ok(Peek::Anonymous(Why::Invalid)),
            Err(BadRefreshToken::UnknownKey) => return Err(key_missing().into()),
        };
        let attempt = attempt(token.to_owned(), client.clone());
        let what = match parts.found(&read, &attempt).await {
            // From before a change of roles or a jump of the clock: the row knows better by now.
            Found { what: What::Known { version, ends, .. }, .. }
                if parts.revocations.standing(read.session, version) == Standing::Stale
                    || ends <= parts.clock.now() =>
            {
                parts.peeks.forget(&key(&read, &attempt));
                parts.found(&read, &attempt).await.what
            }
            found => found.what,
        };
        Ok(match what {
            What::Known { identity, version, auth_time, .. } => {
                match parts.revocations.standing(read.session, version) {
                    Standing::Ended => Peek::Anonymous(Why::Revoked),
                    Standing::Good | Standing::Stale => {
                        let renewal = Renewal { token: token.to_owned(), client };
                        Peek::Known { identity, version, auth_time, renewal }
                    }
                }
            }
            What::Anonymous(why) => Peek::Anonymous(why),
            What::NotOurs => Peek::NotOurs,
            What::Unavailable(unavailable) => return Err(unavailable.into()),
        })
    }

    /// The second step: the pair to be set, or nothing. A store that is slow costs an answer one
    /// second at most, and the client keeps its token.
    pub async fn renew(&self, renewal: Renewal) -> Option<Tokens> {
        let parts = Arc::clone(&self.parts);
        let work = |cancellation| async move {
            Ok::<_, Failure>(parts.renew(renewal, cancellation).await)
        };
        let renewing = self.parts.detached.once_begun(work);
        timeout(LONGEST_WAIT, renewing).await.ok()?.ok().flatten()
    }
}

impl Parts {
    async fn found(self: &Arc<Self>, token: &RefreshToken, attempt: &RefreshAttempt) -> Found {
        let cell = self.peeks.cell(key(token, attempt), self.clock.uptime());
        let look = || async {
            let found = self.look(token, attempt).await;
            found.unwrap_or_else(|gone| self.until(What::Unavailable(gone), MOMENT))
        };
        cell.get_or_init(look).await.clone()
    }

    /// One read, the verdict of the state machine, and the ending that it may ask for.
    async fn look(
        self: &Arc<Self>,
        token: &RefreshToken,
        attempt: &RefreshAttempt,
    ) -> Result<Found, Unavailable> {
        let row = self.store.peek(token.session).await?;
        if row.as_ref().is_some_and(|row| row.transport != Transport::Cookie) {
            return Ok(self.until(What::NotOurs, SHORT));
        }
        let presented = presented(token, attempt);
        let verdict = classify(row.as_ref(), &presented, self.sessions.windows, self.clock.now());
        let told = Told { attempt, presented: token.generation, row: row.as_ref() };
        Ok(match (verdict, &row) {
            (Verdict::Rotate | Verdict::Coalesced, Some(row)) => self.until(known(row), SHORT),
            (Verdict::Replayed { .. }, Some(row)) if self.replayed(token, row).is_some() => {
                self.until(known(row), SHORT)
            }
            (Verdict::Replayed { .. }, _) => return Err(key_missing()),
            (Verdict::End(reason), _) => {
                let event = told.event(reason.as_str());
                self.end_for(token.session, reason, event).await?;
                self.until(What::Anonymous(Why::Revoked), LONG)
            }
            // By a clock that may be put right.
            (Verdict::Expired, _) => self.until(What::Anonymous(Why::Expired), SHORT),
            (Verdict::Revoked, _) => self.until(What::Anonymous(Why::Revoked), LONG),
            (Verdict::Unknown | Verdict::Rotate | Verdict::Coalesced, _) => {
                self.until(What::Anonymous(Why::Invalid), LONG)
            }
        })
    }

    /// Ends a session for what was presented of it, and tells it.
    async fn end_for(
        self: &Arc<Self>,
        session: SessionId,
        reason: EndReason,
        event: Outcome,
    ) -> Result<(), Unavailable> {
        let parts = Arc::clone(self);
        self.detached
            .though_late(async move {
                if parts.store.end(session, reason).await? {
                    parts.ended([(session, reason)]);
                }
                parts.tell(event);
                Ok(())
            })
            .await
    }

    fn until(&self, what: What, life: Duration) -> Found {
        Found { what, until: self.clock.uptime().saturating_add(life) }
    }

    async fn renew(&self, renewal: Renewal, cancellation: CancellationToken) -> Option<Tokens> {
        let token = self.masters.read(&renewal.token).ok()?;
        let attempt = attempt(renewal.token, renewal.client);
        let rotated = self.rotate((&token, &attempt), MayEnd::No, cancellation.clone()).await;
        if rotated.is_err() && !cancellation.is_cancelled() {
            self.telemetry.count(Counter::Refresh, "unavailable");
        }
        let (Rotation { verdict, row }, next) = rotated.ok()?;
        let row = row.filter(|row| !self.has_ended(row))?;
        let (outcome, current) = match verdict {
            Verdict::Rotate => ("rotated", next),
            Verdict::Coalesced => ("coalesced", token.clone()),
            Verdict::Replayed { late: true, .. } => ("replayed_late", self.replayed(&token, &row)?),
            Verdict::Replayed { .. } => ("replayed", self.replayed(&token, &row)?),
            Verdict::End(_) | Verdict::Expired | Verdict::Revoked | Verdict::Unknown => {
                return None;
            }
        };
        if matches!(verdict, Verdict::Replayed { .. }) {
            self.measure_replay(&attempt, &row);
        }
        let told = Told { attempt: &attempt, presented: token.generation, row: Some(&row) };
        self.tell(told.event(outcome));
        self.tokens(&row, &current).ok()
    }
}

/// Whether a verdict that ends the session does end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayEnd {
    Yes,
    No,
}

impl Peeks {
    fn cell(&self, key: Key, now: Duration) -> Arc<OnceCell<Found>> {
        let mut known = self.lock();
        let over = |cell: &OnceCell<Found>| cell.get().is_some_and(|found| found.until <= now);
        if known.len() >= MOST {
            known.retain(|_, cell| !over(cell));
        }
        if known.len() >= MOST {
            known.clear();
        }
        let cell = known.entry(key).or_default();
        if over(cell) {
            *cell = Arc::default();
        }
        Arc::clone(cell)
    }

    fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<OnceCell<Found>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attempt(token: String, client: Client) -> RefreshAttempt {
    RefreshAttempt { token, transport: Transport::Cookie, idempotency_key: None, client }
}

fn key(token: &RefreshToken, attempt: &RefreshAttempt) -> Key {
    Key {
        token: token.hash(),
        agent: attempt.client.agent_hash(),
        network: attempt.client.network(),
    }
}

fn known(row: &Row) -> What {
    What::Known {
        identity: row.identity.clone(),
        version: row.version,
        auth_time: row.auth_time,
        ends: row.idle_end.min(row.absolute_end),
    }
}

fn key_missing() -> Unavailable {
    Unavailable("a refresh token was made under a master key that is not known here".to_owned())
}

/// How long a caller stays known by one read, or run out; an ending is asked after at every use.
const SHORT: Duration = Duration::from_secs(5);

/// How long it is remembered that the store did not answer.
const MOMENT: Duration = Duration::from_secs(1);

/// How long it is remembered that a token is worth nothing, so that stale cookies cost nothing.
const LONG: Duration = Duration::from_secs(60);

/// How long an answer waits for its cookies.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Tokens remembered at once.
const MOST: usize = 20_000;
