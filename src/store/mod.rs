//! Keeps users, sessions and revocations. Each operation is one use-case-sized transaction;
//! failure is `Err`, "not there" is `Ok(None)`, so an outage never looks like a logout.
//!
//! A [`Store`] is only a sender of operations; the back end is whoever drains them. An answer means
//! that the change is durable, so what one caller was told the next one reads. Everything is
//! bounded: a full queue or 3 s without an answer is [`Unavailable`], and then the operation may or
//! may not have happened. Endings, and what can be cancelled, are waited for until that is known.

mod cancellation;
mod failure;
mod model;
mod operation;
mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock::{Clock, Timestamp};
use crate::identity::{Role, SessionId, UserId, Username};
use crate::password::PasswordHash;
use crate::revocation::Revocations;
use crate::session::{EndReason, Row};
use crate::telemetry::Hourly;

use operation::{Op, Read, Reply, Write};

pub use cancellation::{CancellationToken, Interest};
pub use failure::{OpenError, Unavailable};
pub use model::{
    Added, Applicant, Begun, Changed, Ended, Lifetimes, NewLink, NewSession, NewUser, Renewal,
    RenewedBy, Revocation, Rotate, Rotation, Taking, User,
};

/// A handle on the store. Clones share it; dropping the last one ends its threads and waits for them. Its futures need
/// a tokio runtime with time enabled.
#[derive(Clone, Debug)]
pub struct Store {
    operations: mpsc::Sender<Op>,
    /// None: reads go the way of the writes.
    reads: Option<mpsc::Sender<Read>>,
    /// Fed with every commit, before it is answered: whoever asked may have left.
    ended: Arc<Revocations>,
    troubles: Arc<Troubles>,
    /// None: it is in memory.
    file: Option<Arc<sqlite::Whereabouts>>,
    /// None: whoever waits for the answer may leave.
    cancellation: Option<CancellationToken>,
    /// The last field: what the writer and the readers listen to is dropped before it.
    _writer: Arc<sqlite::Ending>,
}

/// How the store fares.
#[derive(Debug)]
struct Troubles {
    /// Whether a change failed since the store was last seen to be well.
    failed: AtomicBool,
    told: Hourly,
    clock: Clock,
}

/// Where the store is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A SQLite file.
    File(&'a Path),
    /// In memory.
    Memory,
}

impl Troubles {
    fn new(clock: &Clock) -> Self {
        Self { failed: AtomicBool::new(false), told: Hourly::default(), clock: clock.clone() }
    }
}

impl Store {
    /// Opens (or makes) the store, upgrades its schema, checks the master keys' check values
    /// (id, HMAC under the key; written when the store has no rows yet).
    pub fn open(
        place: Place<'_>,
        checks: &[(u8, [u8; 32])],
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        sqlite::open(place, checks, clock)
    }

    /// The store as asked for somebody who may leave while others wait for the answer: what has
    /// not begun when the token is cancelled is not done, except for endings. A change is waited for
    /// until its outcome is known, however long that takes: whoever holds the interest is patient.
    #[must_use]
    pub fn until(&self, cancellation: CancellationToken) -> Self {
        Self { cancellation: Some(cancellation), ..self.clone() }
    }

    /// The set of what ended since the store was opened. An ending is in it as soon as it is
    /// durable, whether or not anybody waits for the answer.
    pub fn ended(&self) -> &Arc<Revocations> {
        &self.ended
    }

    /// Whether nothing is kept there yet, so that a master key may be made for it. A missing file
    /// is empty, unless none could be made there; asking does not make it.
    pub fn is_empty_at(place: Place<'_>) -> Result<bool, OpenError> {
        sqlite::is_empty_at(place)
    }

    /// The user of a name, deleted ones not.
    pub async fn user(&self, name: &Username) -> Result<Option<User>, Unavailable> {
        self.read(|reply| Read::User(name.clone(), reply)).await
    }

    /// The user of an id, deleted ones not.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>, Unavailable> {
        self.read(|reply| Read::UserById(id, reply)).await
    }

    /// The user of a name, and whether the client's network is one of that user's. Both questions
    /// are asked whether there is such a user or not.
    pub async fn applicant(
        &self,
        name: &Username,
        network: Option<String>,
    ) -> Result<Applicant, Unavailable> {
        self.read(|reply| Read::Applicant(name.clone(), network, reply)).await
    }

    /// Whether anybody ever had the name, also where it was freed since.
    pub async fn was_user(&self, name: &Username) -> Result<bool, Unavailable> {
        self.read(|reply| Read::WasUser(name.clone(), reply)).await
    }

    /// Which of these names are taken, by users or by deleted ones.
    pub async fn taken(&self, names: Vec<Username>) -> Result<Vec<Username>, Unavailable> {
        self.read(|reply| Read::Taken(names, reply)).await
    }

    /// The user whom a link of this hash would give a new password, if it is good.
    pub async fn link(&self, hash: [u8; 32]) -> Result<Option<User>, Unavailable> {
        self.read(|reply| Read::Link(hash, reply)).await
    }

    /// All users but deleted ones, by name.
    pub async fn users(&self) -> Result<Vec<User>, Unavailable> {
        self.read(Read::Users).await
    }

    /// Whether there is any user but deleted ones.
    pub async fn has_users(&self) -> Result<bool, Unavailable> {
        self.read(Read::HasUsers).await
    }

    /// Adds a user.
    pub async fn add_user(&self, user: NewUser) -> Result<Added, Unavailable> {
        self.write(|reply| Write::AddUser(Box::new(user), reply)).await
    }

    /// Adds a user and keeps a link for it.
    pub async fn invite(&self, user: NewUser, link: NewLink) -> Result<Added, Unavailable> {
        self.write(|reply| Write::Invite(Box::new(user), link, reply)).await
    }

    /// Adds users, all of them or none.
    pub async fn add_users(&self, users: Vec<NewUser>) -> Result<Added, Unavailable> {
        self.write(|reply| Write::AddUsers(users, reply)).await
    }

    /// Keeps a link; false: there is no such user, or a disabled one.
    pub async fn add_link(&self, link: NewLink) -> Result<bool, Unavailable> {
        self.write(|reply| Write::AddLink(link, reply)).await
    }

    /// Sets a hash, raises the password epoch, ends all sessions (Password) and begins one.
    pub async fn renew(&self, renewal: Renewal) -> Result<Begun, Unavailable> {
        self.write(|reply| Write::Renew(Box::new(renewal), reply)).await
    }

    /// Sets a hash, raises the password epoch, ends all sessions (Password).
    pub async fn set_password(
        &self,
        user: UserId,
        hash: PasswordHash,
    ) -> Result<Changed, Unavailable> {
        self.write(|reply| Write::SetPassword(user, hash, reply)).await
    }

    /// Replaces a hash by a better one of the same password, if it is still `old`: no epoch moves.
    pub async fn rehash(
        &self,
        user: UserId,
        old: PasswordHash,
        new: PasswordHash,
    ) -> Result<(), Unavailable> {
        self.write(|reply| Write::Rehash { user, old, new, reply }).await
    }

    /// Sets the roles and raises `sv` of the user's sessions.
    pub async fn set_roles(&self, user: UserId, roles: Vec<Role>) -> Result<Changed, Unavailable> {
        self.write(|reply| Write::SetRoles(user, roles, reply)).await
    }

    /// Sets full name and e-mail (None: none) and raises `sv` of the user's sessions.
    pub async fn set_profile(
        &self,
        user: UserId,
        name: Option<String>,
        email: Option<String>,
    ) -> Result<Changed, Unavailable> {
        self.write(|reply| Write::SetProfile { user, name, email, reply }).await
    }

    /// Disables a user and ends its sessions (User), or enables it.
    pub async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<Changed, Unavailable> {
        self.write(|reply| Write::SetDisabled(user, disabled, reply)).await
    }

    /// Deletes a user and ends its sessions (User); the name stays reserved unless `free_name`.
    pub async fn delete_user(&self, user: UserId, free_name: bool) -> Result<Changed, Unavailable> {
        self.write(|reply| Write::DeleteUser { user, free_name, reply }).await
    }

    /// Makes a change, unless it would leave nobody who can sign in with the role `keep`: then None.
    pub async fn take_standing(
        &self,
        user: UserId,
        change: Taking,
        keep: Role,
    ) -> Result<Option<Changed>, Unavailable> {
        self.write(|reply| Write::TakeStanding { user, change, keep, reply }).await
    }

    /// Begins a session.
    pub async fn begin(&self, session: NewSession) -> Result<Begun, Unavailable> {
        self.write(|reply| Write::Begin(Box::new(session), reply)).await
    }

    /// A session's row, without writing.
    pub async fn peek(&self, session: SessionId) -> Result<Option<Row>, Unavailable> {
        self.read(|reply| Read::Session(session, reply)).await
    }

    /// Compare-and-swap, else `classify`, and what the verdict asks for, in one transaction. Not
    /// done if the caller has left before its turn came.
    pub async fn rotate(&self, rotate: Rotate) -> Result<Rotation, Unavailable> {
        self.write(|reply| Write::Rotate(Box::new(rotate), reply)).await
    }

    /// Marks the last rotation of sessions as confirmed by an access token of this `iat`, if that
    /// is not from before it. One from before the successor was given again in time shows that the
    /// rotation's own reply had arrived: then the window of cookies does not count anew. Never waits;
    /// lost calls are harmless.
    pub fn confirm(&self, sessions: Vec<(SessionId, Timestamp)>, window: Duration) {
        drop(self.operations.try_send(Op::Write(Write::Confirm(sessions, window))));
    }

    /// Notes when sessions were last seen. Never waits; lost calls are harmless.
    pub fn touch(&self, sessions: Vec<(SessionId, Timestamp)>) {
        drop(self.operations.try_send(Op::Write(Write::Touch(sessions))));
    }

    /// Shortens sessions that live longer than sessions may now, 1,000 at most; false: there were
    /// none any more. None is made longer.
    pub async fn shorten(&self, lifetimes: Lifetimes) -> Result<bool, Unavailable> {
        self.write(|reply| Write::Shorten(lifetimes, reply)).await
    }

    /// Ends a session, even if the caller leaves meanwhile; false: it was ended before or never was.
    /// Waits for as long as it takes, since it may be done late, and then somebody has to tell of it.
    pub async fn end(&self, session: SessionId, reason: EndReason) -> Result<bool, Unavailable> {
        self.write_with(Wait::UntilKnown, |reply| Write::End(session, reason, reply)).await
    }

    /// Ends all sessions of a user, or of everybody, but one, even if the caller leaves meanwhile.
    /// Waits like [`Store::end`].
    pub async fn end_all(
        &self,
        user: Option<UserId>,
        but: Option<SessionId>,
        reason: EndReason,
    ) -> Result<Vec<Ended>, Unavailable> {
        let ends = |reply| Write::EndAll(user, (but, reason), reply);
        self.write_with(Wait::UntilKnown, ends).await
    }

    /// Names the device of a session; false: it has ended or never was.
    pub async fn name_device(&self, session: SessionId, name: String) -> Result<bool, Unavailable> {
        self.write(|reply| Write::NameDevice(session, name, reply)).await
    }

    /// Live sessions of one user, or of all, newest login first.
    pub async fn sessions(&self, user: Option<UserId>) -> Result<Vec<Row>, Unavailable> {
        self.read(|reply| Read::Sessions(user, reply)).await
    }

    /// How many sessions live, for the metric.
    pub async fn live_sessions(&self) -> Result<u32, Unavailable> {
        self.read(Read::LiveSessions).await
    }

    /// What ended in the last 7 days, and what a clock that ran ahead says will end.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, Unavailable> {
        self.read(Read::Revocations).await
    }

    /// Removes sessions and revocations of 7 days ago, 1,000 rows at most; true: more may be left.
    pub async fn sweep(&self) -> Result<bool, Unavailable> {
        self.write(Write::Sweep).await
    }

    /// Whether the store takes transactions now, into the file that was opened: for `/readyz`. Where a
    /// change has failed, as on a full disk, it writes; else it does not, so that who asks often wears
    /// no disk.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())?;
        if !self.troubles.failed.load(Relaxed) {
            return self.write(Write::Ping).await;
        }
        self.write(Write::Trial).await?;
        self.troubles.failed.store(false, Relaxed);
        Ok(())
    }

    async fn read<T>(&self, ask: impl FnOnce(Reply<T>) -> Read) -> Result<T, Unavailable> {
        let (reply, answer) = Reply::new(self.cancellation.clone());
        let read = ask(reply);
        let sent = match &self.reads {
            Some(reads) => reads.try_send(read).map_err(|error| refused(&error)),
            None => self.operations.try_send(Op::Read(read)).map_err(|error| refused(&error)),
        };
        let outcome = match sent {
            Ok(()) => within(PATIENCE, answer).await,
            Err(unavailable) => Err(unavailable),
        };
        outcome.inspect_err(|unavailable| self.tell(unavailable))
    }

    async fn write<T>(&self, ask: impl FnOnce(Reply<T>) -> Write) -> Result<T, Unavailable> {
        let wait = if self.cancellation.is_some() { Wait::UntilKnown } else { Wait::InTime };
        self.write_with(wait, ask).await
    }

    async fn write_with<T>(
        &self,
        wait: Wait,
        ask: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, Unavailable> {
        let (reply, mut answer) = Reply::new(self.cancellation.clone());
        let sent = self.operations.try_send(Op::Write(ask(reply)));
        sent.map_err(|error| self.fails(refused(&error)))?;
        let outcome = match timeout(PATIENCE, &mut answer).await {
            Ok(outcome) => known(outcome),
            Err(_) => {
                let late = self.fails(late(PATIENCE));
                if wait == Wait::InTime { Err(late) } else { known(answer.await) }
            }
        };
        let cancelled = self.cancellation.as_ref().is_some_and(CancellationToken::is_cancelled);
        // What nobody wants any more is not begun.
        outcome.map_err(|cause| if cancelled { cause } else { self.fails(cause) })
    }

    /// A change failed.
    fn fails(&self, cause: Unavailable) -> Unavailable {
        self.troubles.failed.store(true, Relaxed);
        self.tell(&cause);
        cause
    }

    /// Whoever asked is told no cause.
    fn tell(&self, Unavailable(cause): &Unavailable) {
        if self.troubles.told.is_due(self.troubles.clock.uptime()) {
            tracing::error!(
                "the store fails: {cause}; nobody can sign in or refresh as long as it does: see that \
                 the disk of server.data_dir has room and is sound, and that no other program keeps \
                 the database locked (told about once an hour)"
            );
        }
    }
}

async fn within<T>(
    patience: Duration,
    answer: oneshot::Receiver<Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    timeout(patience, answer).await.map_or_else(|_| Err(late(patience)), known)
}

fn known<T>(outcome: Result<Result<T, Unavailable>, RecvError>) -> Result<T, Unavailable> {
    outcome.unwrap_or_else(|_| Err(Unavailable("it ended before it answered".to_owned())))
}

fn late(patience: Duration) -> Unavailable {
    Unavailable(format!("no answer within {} s", patience.as_secs_f32()))
}

fn refused<T>(error: &TrySendError<T>) -> Unavailable {
    Unavailable(match error {
        TrySendError::Full(_) => format!("{QUEUE} operations wait already"),
        TrySendError::Closed(_) => "it has ended".to_owned(),
    })
}

/// How long whoever asks for a change stays with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// For [`PATIENCE`]; what comes of it then, nobody hears.
    InTime,
    /// Until its outcome is known, since somebody has to tell of it.
    UntilKnown,
}

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Operations that may wait for one back end: a tenth of a second of work at the writer's full speed.
const QUEUE: usize = 4096;

#[cfg(test)]
mod tests;
