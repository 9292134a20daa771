//! What a back end may be asked, each with the way back of its answer. Knows no database.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::identity::{Role, SessionId, UserId, Username};
use crate::password::PasswordHash;
use crate::session::{EndReason, Row};

use super::{
    Added, Applicant, Begun, CancellationToken, Changed, Ended, Lifetimes, NewLink, NewSession,
    NewUser, Renewal, Revocation, Rotate, Rotation, Taking, Unavailable, User,
};

/// Where an answer goes.
#[derive(Debug)]
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<T, Unavailable>>,
    cancellation: Option<CancellationToken>,
}

impl<T> Reply<T> {
    /// The way back to whoever asks, and where the answer arrives.
    pub(super) fn new(
        cancellation: Option<CancellationToken>,
    ) -> (Self, oneshot::Receiver<Result<T, Unavailable>>) {
        let (to, answer) = oneshot::channel();
        (Self { to, cancellation }, answer)
    }

    /// Whether whoever asked has left.
    pub(super) fn is_closed(&self) -> bool {
        let is_cancelled = self.cancellation.as_ref().is_some_and(CancellationToken::is_cancelled);
        self.to.is_closed() || is_cancelled
    }

    /// Answers; whoever asked may have left.
    pub(super) fn send(self, answer: Result<T, Unavailable>) {
        drop(self.to.send(answer));
    }
}

/// Anything.
#[derive(Debug)]
pub(super) enum Op {
    Read(Read),
    Write(Write),
}

/// What changes nothing.
#[derive(Debug)]
pub(super) enum Read {
    User(Username, Reply<Option<User>>),
    UserById(UserId, Reply<Option<User>>),
    Applicant(Username, Option<String>, Reply<Applicant>),
    WasUser(Username, Reply<bool>),
    Taken(Vec<Username>, Reply<Vec<Username>>),
    Link([u8; 32], Reply<Option<User>>),
    Users(Reply<Vec<User>>),
    HasUsers(Reply<bool>),
    Session(SessionId, Reply<Option<Row>>),
    Sessions(Option<UserId>, Reply<Vec<Row>>),
    LiveSessions(Reply<u32>),
    Revocations(Reply<Vec<Revocation>>),
}

/// One transaction each, answered when it is durable.
#[derive(Debug)]
pub(super) enum Write {
    AddUser(Box<NewUser>, Reply<Added>),
    AddUsers(Vec<NewUser>, Reply<Added>),
    Invite(Box<NewUser>, NewLink, Reply<Added>),
    AddLink(NewLink, Reply<bool>),
    Renew(Box<Renewal>, Reply<Begun>),
    SetPassword(UserId, PasswordHash, Reply<Changed>),
    Rehash { user: UserId, old: PasswordHash, new: PasswordHash, reply: Reply<()> },
    SetRoles(UserId, Vec<Role>, Reply<Changed>),
    SetProfile { user: UserId, name: Option<String>, email: Option<String>, reply: Reply<Changed> },
    SetDisabled(UserId, bool, Reply<Changed>),
    DeleteUser { user: UserId, free_name: bool, reply: Reply<Changed> },
    Begin(Box<NewSession>, Reply<Begun>),
    Rotate(Box<Rotate>, Reply<Rotation>),
    Confirm(Vec<(SessionId, Timestamp)>, Duration),
    Touch(Vec<(SessionId, Timestamp)>),
    Shorten(Lifetimes, Reply<bool>),
    End(SessionId, EndReason, Reply<bool>),
    EndAll(Option<UserId>, (Option<SessionId>, EndReason), Reply<Vec<Ended>>),
    NameDevice(SessionId, String, Reply<bool>),
    TakeStanding { user: UserId, change: Taking, keep: Role, reply: Reply<Option<Changed>> },
    Sweep(Reply<bool>),
    Ping(Reply<()>),
    Trial(Reply<()>),
}
