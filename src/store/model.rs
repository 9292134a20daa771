//! What is kept, what is asked, and what comes of it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::identity::{Role, SessionId, UserId, Username};
use crate::password::PasswordHash;
use crate::session::{EndReason, Presented, Row, Transport, Verdict, Windows};
use crate::token::{Salt, SecretHash};

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// For ever.
    pub id: UserId,
    /// Folded.
    pub username: Username,
    /// Full name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// In the administrator's order.
    pub roles: Vec<Role>,
    /// None: no password was set yet.
    pub hash: Option<PasswordHash>,
    /// Raised by every change of the password.
    pub password_epoch: u32,
    /// Disabled since.
    pub disabled: Option<Timestamp>,
    /// Created.
    pub created: Timestamp,
}

/// A user to be.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Id.
    pub id: UserId,
    /// Folded name.
    pub username: Username,
    /// Full name.
    pub name: Option<String>,
    /// E-mail.
    pub email: Option<String>,
    /// Roles.
    pub roles: Vec<Role>,
    /// Hash.
    pub hash: Option<PasswordHash>,
}

/// Who wants to log in.
#[derive(Clone, Debug, Default)]
pub struct Applicant {
    /// The user of the name, if there is one.
    pub user: Option<User>,
    /// Whether a live session of that user was last refreshed, or began, in the client's network.
    pub is_near: bool,
}

/// A link that sets a password without the old one.
#[derive(Clone, Copy, Debug)]
pub struct NewLink {
    /// SHA-256 of the link's secret.
    pub hash: [u8; 32],
    /// Whose password.
    pub user: UserId,
    /// Good until then, or until the password changes, or until it is used.
    pub expires: Timestamp,
}

/// A password set by its owner, who goes on in one new session.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// What entitles to it.
    pub by: RenewedBy,
    /// The new hash.
    pub hash: PasswordHash,
    /// The only session that lives afterwards; its `password_epoch` is the one before the change.
    pub session: NewSession,
}

/// What entitles to a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewedBy {
    /// The old password was verified, at the session's `password_epoch`.
    OldPassword,
    /// The link of this hash, which is used up.
    Link([u8; 32]),
}

/// The lifetimes that sessions may have now.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of these sessions: remembered ones, or the others.
    pub remember: bool,
    /// Idle life.
    pub idle: Duration,
    /// Absolute life.
    pub absolute: Duration,
}

/// What came of adding a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It is there now.
    Yes,
    /// A user of that name is there, or was.
    NameTaken,
}

/// What came of a change to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// Done; these sessions ended.
    Ended(Vec<SessionId>),
    /// Done; the access tokens of these sessions need this `sv` at least.
    Raised(Vec<(SessionId, u32)>),
    /// It stood so before: nothing was changed.
    Already,
    /// No such user.
    NoSuchUser,
}

/// A change that may take a role from a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    /// To these roles.
    Roles(Vec<Role>),
    /// Disabled: it cannot sign in.
    Disable,
    /// Deleted; the name stays reserved.
    Delete,
}

/// A session to be.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub session: SessionId,
    /// Whose; refused if the user was disabled, deleted, or `password_epoch` moved meanwhile.
    pub user: UserId,
    /// As it was when the password was verified.
    pub password_epoch: u32,
    /// Unpinned or cookie or body.
    pub transport: Transport,
    /// Hash of the first token.
    pub first: SecretHash,
    /// Active master key.
    pub key: u8,
    /// Idle life.
    pub idle: Duration,
    /// Absolute life.
    pub absolute: Duration,
    /// Cookies outlive the browser.
    pub remember: bool,
    /// At most 256 bytes.
    pub user_agent: Option<String>,
    /// SHA-256 of the whole user agent.
    pub agent_hash: Option<[u8; 32]>,
    /// /24 or /48.
    pub network: Option<String>,
    /// Given or guessed. A never refreshed session of the same user, body or unpinned, that has the
    /// same name ends as replaced.
    pub device_name: Option<String>,
    /// The live session of a presented cookie, whoever's, to be ended as replaced.
    pub replaces: Option<SessionId>,
    /// Live sessions a user may have, this one included (0 counts as 1). Beyond it end first the
    /// never refreshed ones by body, then those by body, then those by cookie, the least recently
    /// seen of each first.
    pub max_per_user: usize,
}

/// A session that was ended with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// It had not run out before.
    pub lived: bool,
}

/// What came of beginning a session.
#[derive(Clone, Debug)]
#[must_use]
pub enum Begun {
    /// It lives; these ended for it.
    Yes {
        /// The new row.
        row: Box<Row>,
        /// Replaced and evicted sessions.
        ended: Vec<(SessionId, EndReason)>,
    },
    /// The user may not (any more).
    Refused,
}

/// One try to rotate.
#[derive(Clone, Debug)]
pub struct Rotate {
    /// What was presented.
    pub presented: Presented,
    /// Hash of the successor computed with `salt` and `key`.
    pub next: SecretHash,
    /// A fresh salt.
    pub salt: Salt,
    /// The active master key.
    pub key: u8,
    /// The windows.
    pub windows: Windows,
    /// Whether a verdict that ends the session does end it: true at `/auth/refresh`, false inside a request.
    pub may_end: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rotation {
    /// `Rotate`: it rotated. Everything else: it did not, and this is why; what had to end has ended.
    pub verdict: Verdict,
    /// The row as it is after the operation; None: unknown session.
    pub row: Option<Box<Row>>,
}

/// An ended session, or one whose older access tokens no longer count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub session: SessionId,
    /// None: all of it.
    pub below: Option<u32>,
    /// No access token from before it counts any more then.
    pub expires: Timestamp,
}
