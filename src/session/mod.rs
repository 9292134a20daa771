//! A session's row, what was presented to it, and [`classify`]: the state machine as one pure function.
//!
//! Not where sessions are kept, and not what is answered: the store acts on a [`Verdict`] within
//! the transaction that read the row. Invariant: nothing here reads a clock or a store, so that
//! every row of the state machine is a test.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::identity::{Identity, SessionId};
use crate::secret::same;
use crate::token::{Salt, SecretHash};

#[cfg(test)]
mod tests;

/// How a session's refresh tokens travel, fixed at the first refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Not yet known.
    Unpinned,
    /// Browsers.
    Cookie,
    /// Scripts, phones.
    Body,
}

impl Transport {
    /// The number that the store keeps.
    pub const fn code(self) -> i64 {
        match self {
            Self::Unpinned => 0,
            Self::Cookie => 1,
            Self::Body => 2,
        }
    }

    /// The transport of a stored number.
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Unpinned),
            1 => Some(Self::Cookie),
            2 => Some(Self::Body),
            _ => None,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// An old refresh token was presented (T6, T7).
    Reuse,
    /// A token of this generation with another secret (T8).
    Integrity,
    /// A token newer than the row: the store went back in time (T9).
    StoreRollback,
    /// By the other transport (T10).
    Transport,
    /// The user was disabled, deleted, or changed the password (T11).
    User,
    /// By its owner or an administrator.
    Logout,
    /// From the session list or the command line.
    Revoked,
    /// By an administrator.
    Administrator,
    /// Password changed.
    Password,
    /// Too many sessions.
    Evicted,
    /// A login in the same browser, or the same device name.
    Replaced,
}

impl EndReason {
    /// Its name in the store and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reuse => "reuse",
            Self::Integrity => "integrity",
            Self::StoreRollback => "store_rollback",
            Self::Transport => "transport",
            Self::User => "user",
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Administrator => "administrator",
            Self::Password => "password",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
        }
    }

    /// The reason of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Each of them, in the order of the state machine.
    pub const ALL: [Self; 11] = [
        Self::Reuse,
        Self::Integrity,
        Self::StoreRollback,
        Self::Transport,
        Self::User,
        Self::Logout,
        Self::Revoked,
        Self::Administrator,
        Self::Password,
        Self::Evicted,
        Self::Replaced,
    ];
}

/// A row of the store's `sessions`, with its user's state.
#[derive(Clone, Debug)]
pub struct Row {
    /// Session, user, username and roles as they are now.
    pub identity: Identity,
    /// See [`Transport`].
    pub transport: Transport,
    /// Generation of the current token.
    pub generation: u64,
    /// Hash of the current token's secret.
    pub current: SecretHash,
    /// Hash of the one before.
    pub previous: Option<SecretHash>,
    /// Salt of the last rotation.
    pub salt: Option<Salt>,
    /// Master key of the last rotation.
    pub key: u8,
    /// Whether something minted by the last rotation was seen.
    pub confirmed: bool,
    /// SHA-256 of the Idempotency-Key of the last rotation.
    pub retry_key: Option<[u8; 32]>,
    /// Least `sv` of access tokens that count.
    pub version: u32,
    /// Login.
    pub created: Timestamp,
    /// Last proof of the password.
    pub auth_time: Timestamp,
    /// Last rotation, or login.
    pub rotated: Timestamp,
    /// When the current token was last given again (T3, T4) to its own client, before it was
    /// confirmed; or when its rotation was dated anew (T2).
    pub given: Option<Timestamp>,
    /// Rotations answered late (T4), less those answered in time; never below 0.
    pub late: u32,
    /// Last refresh.
    pub last_seen: Timestamp,
    /// Ends when idle until then.
    pub idle_end: Timestamp,
    /// Ends then whatever happens.
    pub absolute_end: Timestamp,
    /// Cookies outlive the browser.
    pub remember: bool,
    /// When it ended.
    pub revoked: Option<Timestamp>,
    /// Disabled, deleted, or the password changed since the login.
    pub user_barred: bool,
    /// What the client said it is at the login, at most 256 bytes.
    pub user_agent: Option<String>,
    /// SHA-256 of the user agent at the last rotation.
    pub agent_hash: Option<[u8; 32]>,
    /// /24 or /48 of the client at the last rotation.
    pub network: Option<String>,
    /// /24 or /48 of the client at the login: all of it that a list may show.
    pub login_network: Option<String>,
    /// Given or guessed.
    pub device_name: Option<String>,
}

impl Row {
    /// The `iat` of an access token of this row. It confirms the rotation that it came with, and no
    /// later one: what is neither rotated nor given in this second may be rotated in it after this
    /// token, and is therefore dated a second back. Windows are a second at least.
    pub fn issued(&self, now: Timestamp) -> Timestamp {
        let made = self.rotated.max(self.given.unwrap_or(self.rotated));
        now.minus(Duration::from_secs(1)).max(made).min(now)
    }
}

/// A refresh token whose tag is good, with what came along.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Session named by the token.
    pub session: SessionId,
    /// Generation named by the token.
    pub generation: u64,
    /// Hash of its secret.
    pub hash: SecretHash,
    /// How it came: `Cookie` or `Body`, never `Unpinned`.
    pub transport: Transport,
    /// SHA-256 of the Idempotency-Key, if one of at least 16 characters came along (body only).
    pub retry_key: Option<[u8; 32]>,
    /// SHA-256 of the user agent.
    pub agent_hash: Option<[u8; 32]>,
    /// /24 or /48 of the client.
    pub network: Option<String>,
}

/// `retry_window` of the configuration. A window of zero holds no age, not even a negative one.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// W: of cookies.
    pub cookie: Duration,
    /// Of body tokens with an Idempotency-Key.
    pub keyed: Duration,
}

/// What follows. `T…` are the rows of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// T1's condition holds: rotate (again).
    Rotate,
    /// T2: the current token, too young to rotate, or of an unknown age: it is the answer itself.
    /// `pin` the session if unpinned.
    Coalesced,
    /// T3 (`late: false`) or T4: the successor is the answer, if its computed hash is the row's current one, else T5.
    Replayed {
        /// T4.
        late: bool,
        /// Network or user agent differ from the row's.
        changed: bool,
    },
    /// T6 to T11: end the session for this reason. `T7` and `T6` are both Reuse.
    End(EndReason),
    /// T12.
    Expired,
    /// T13.
    Revoked,
    /// T14.
    Unknown,
}

/// The state machine, T2 to T14: first match wins, in the order T14 T13 T12 T11 T10 T9 T8 T7 T2, then T3 T4 T6.
pub fn classify(
    row: Option<&Row>,
    presented: &Presented,
    windows: Windows,
    now: Timestamp,
) -> Verdict {
    let Some(row) = row else {
        return Verdict::Unknown;
    };
    if row.revoked.is_some() {
        return Verdict::Revoked;
    }
    if now >= row.idle_end || now >= row.absolute_end {
        return Verdict::Expired;
    }
    if row.user_barred {
        return Verdict::End(EndReason::User);
    }
    if row.transport != Transport::Unpinned && row.transport != presented.transport {
        return Verdict::End(EndReason::Transport);
    }
    match presented.place_in(row) {
        Place::Future => Verdict::End(EndReason::StoreRollback),
        Place::Forged => Verdict::End(EndReason::Integrity),
        Place::Older => Verdict::End(EndReason::Reuse),
        Place::Current => current(row, presented, windows, now),
        Place::Previous => previous(row, presented, windows, now),
    }
}

/// Where in its session's chain a token stands.
enum Place {
    Future,
    /// This generation, another secret.
    Forged,
    Current,
    Previous,
    Older,
}

impl Presented {
    fn place_in(&self, row: &Row) -> Place {
        if self.generation > row.generation {
            Place::Future
        } else if self.generation == row.generation {
            if same(&self.hash, &row.current) { Place::Current } else { Place::Forged }
        } else if self.generation.saturating_add(1) == row.generation
            && row.previous.is_some_and(|previous| same(&self.hash, &previous))
        {
            Place::Previous
        } else {
            Place::Older
        }
    }

    /// Whether it came with the Idempotency-Key of the rotation that it retries.
    fn retries(&self, row: &Row) -> bool {
        self.retry_key.zip(row.retry_key).is_some_and(|(one, other)| same(&one, &other))
    }

    fn is_where(&self, row: &Row) -> bool {
        self.network == row.network && self.agent_hash == row.agent_hash
    }
}

/// T1 or T2. A rotation of an unknown age may be seconds old: rotated at once, it would leave a
/// slower tab two generations behind.
fn current(row: &Row, presented: &Presented, windows: Windows, now: Timestamp) -> Verdict {
    let by_cookie = presented.transport == Transport::Cookie;
    let window = windows.cookie;
    if by_cookie && (is_fresh(window, row, now) || is_ahead(window, row, now)) {
        Verdict::Coalesced
    } else {
        Verdict::Rotate
    }
}

/// T3, T4 or T6.
fn previous(row: &Row, presented: &Presented, windows: Windows, now: Timestamp) -> Verdict {
    let by_cookie = presented.transport == Transport::Cookie;
    let window = if by_cookie { windows.cookie } else { windows.keyed };
    let changed = !presented.is_where(row);
    let may_be_late = by_cookie && may_be_late(window, row, now) || is_ahead(window, row, now);
    if !by_cookie && !presented.retries(row) {
        Verdict::End(EndReason::Reuse)
    } else if within(window, Some(row.rotated), now) {
        Verdict::Replayed { late: false, changed }
    } else if !changed && may_be_late {
        Verdict::Replayed { late: true, changed }
    } else {
        Verdict::End(EndReason::Reuse)
    }
}

/// A lost reply cannot be told from a thief at home who rotates and lies low. But replies are lost
/// now and then, and such a thief has to do it every time.
fn may_be_late(window: Duration, row: &Row, now: Timestamp) -> bool {
    is_given(window, row, now) || (!row.confirmed && row.late < MOST_LATE)
}

/// Whether the current token is new to its client: just made, or just given again. Rotated at once,
/// it would leave a slower tab of that client two generations behind.
fn is_fresh(window: Duration, row: &Row, now: Timestamp) -> bool {
    within(window, Some(row.rotated), now) || is_given(window, row, now)
}

/// Whether the current token was given again so lately that whoever is slow may come for it still.
fn is_given(window: Duration, row: &Row, now: Timestamp) -> bool {
    within(window, row.given, now)
}

/// Whether a clock that was ahead has written the row: how old its rotation is nobody can tell.
fn is_ahead(window: Duration, row: &Row, now: Timestamp) -> bool {
    let last = row.given.map_or(row.rotated, |given| given.max(row.rotated));
    !window.is_zero() && last >= now.plus(window)
}

/// Whether a replay is to be noted as the row's `given`: to the own client, and before anything
/// confirmed the rotation, for else a replay could hold the window open. Not each file of a page
/// anew: a sixth of the window is near enough.
pub fn is_giving(verdict: Verdict, row: &Row, windows: Windows, now: Timestamp) -> bool {
    let lately = windows.cookie / 6;
    matches!(verdict, Verdict::Replayed { changed: false, .. })
        && row.transport == Transport::Cookie
        && !row.confirmed
        && !within(lately, Some(row.rotated), now)
        && !within(lately, row.given, now)
}

/// Whether a current token that is its own answer dates its rotation anew: one of an unknown age is
/// a window old and given at this moment, so that the window is right from here on.
pub fn is_dating(verdict: Verdict, row: &Row, windows: Windows, now: Timestamp) -> bool {
    verdict == Verdict::Coalesced && is_ahead(windows.cookie, row, now)
}

/// Whether a moment is younger than the window, or ahead of our clock by less: a clock that ran far
/// ahead and was put right would else keep the window open for as long.
fn within(window: Duration, moment: Option<Timestamp>, now: Timestamp) -> bool {
    moment.is_some_and(|moment| now < moment.plus(window) && moment < now.plus(window))
}

/// Rotations that may be answered late beyond those that were answered in time.
const MOST_LATE: u32 = 8;
