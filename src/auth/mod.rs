//! The use cases, free of HTTP: login, refresh, logout, authenticate, sessions, users.
//!
//! Each takes plain values and gives an outcome; what an outcome looks like on the wire is the
//! business of `gateway`. A failure of the store is [`Unavailable`] and never an outcome, so that
//! an outage cannot look like a logout.

mod authenticate;
mod begin;
mod bounds;
mod change;
mod companion;
mod detached;
mod device;
mod import;
mod keys;
mod login;
mod logout;
mod profile;
mod refresh;
mod renewal;
mod seen;
mod sessions;
mod setup;
mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

pub use authenticate::{Authentication, Credentials, DecidedBy};
pub use change::{Change, Changed};
pub use companion::Companion;
pub use detached::Detached;
pub use device::{DEVICE_LIFE, device_name};
pub use import::{ByLine, Import, Mode};
pub use keys::{Keys, Purpose, RotatedKeys};
pub use login::{Attempt, Login};
pub use logout::Unfinished;
pub use profile::{Changes, Profile, Profiles};
pub use refresh::{Refresh, RefreshAttempt, RefusedRefresh};
pub use renewal::{Peek, Peeks, Renewal};
pub use seen::Seen;
pub use sessions::{LogoutAll, Revoke};
pub use setup::{Invitation, Setup, SetupLink};
pub use users::{Administrator, Name, Newcomer, UserError, Users};

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Level, Passwords, Sessions};
use crate::identity::{Identity, Role, SessionId};
use crate::limit::Limits;
use crate::password::Hasher;
use crate::revocation::{KEPT, Revocations};
use crate::secret::Secret;
use crate::session::{EndReason, Row, Transport};
use crate::store::{Lifetimes, Revocation, Store, Unavailable};
use crate::telemetry::{Audit, AuditEvent, Counter, RequestId, Telemetry};
use crate::token::{
    AccessClaims, AccessRules, Assertions, KeyError, KeyRing, MasterKeys, RefreshToken,
};

/// What the use cases work with. Built once by `app`; each worker holds a clone of its own.
#[derive(Clone, Debug)]
pub struct Auth {
    parts: Arc<Parts>,
}

/// The parts of [`Auth`]. Clones share all that has a state.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Users and sessions.
    pub store: Store,
    /// Signs and verifies access tokens.
    pub ring: Arc<KeyRing>,
    /// Signs what applications are told.
    pub assertions: Arc<Assertions>,
    /// How long a key signs.
    pub rotate_every: Duration,
    /// What access tokens say.
    pub rules: AccessRules,
    /// Makes and reads refresh tokens.
    pub masters: Arc<MasterKeys>,
    /// Checks passwords.
    pub hasher: Hasher,
    /// Slows guesses.
    pub limits: Arc<Limits>,
    /// What has ended.
    pub revocations: Arc<Revocations>,
    /// Where events and counts are told.
    pub telemetry: Telemetry,
    /// The time.
    pub clock: Clock,
    /// Lifetimes.
    pub sessions: Sessions,
    /// What must come to its end.
    pub detached: Detached,
    /// Logouts that wait for the store.
    pub unfinished: Arc<Unfinished>,
    /// What refresh cookies said lately.
    pub peeks: Arc<Peeks>,
    /// Told when a user changes, so that workers forget profiles.
    pub changes: Changes,
    /// Whether failed logins are told with the whole address.
    pub full_address: bool,
    /// What a new password must keep.
    pub passwords: Passwords,
    /// Milliseconds that hide the dearest hash stored, where new ones are cheaper; else 0.
    pub dearest: Arc<AtomicU64>,
    /// The closed list of roles.
    pub roles: Vec<Role>,
    /// Where a link leads that sets a password: the page's URL without its query.
    pub setup_url: String,
}

/// Who sent a request, as far as a use case wants to know.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address.
    pub address: IpAddr,
    /// `User-Agent`, as sent.
    pub agent: Option<String>,
    /// For the audit line.
    pub request_id: RequestId,
}

/// A pair of tokens, and what the answer says of them.
#[derive(Debug)]
pub struct Tokens {
    /// Whose.
    pub identity: Identity,
    /// The access token.
    pub access: String,
    /// Its life from now.
    pub access_life: Duration,
    /// The refresh token.
    pub refresh: Secret,
    /// Until the idle or the absolute end of the session, whichever is nearer.
    pub refresh_life: Duration,
    /// Cookies outlive the browser.
    pub remember: bool,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// The device cookie, after a login whose tokens may travel by cookie.
    pub device: Option<Secret>,
    /// Who signed in on the device before.
    pub before: Predecessor,
}

/// Who signed in on a device before, as far as its cookie tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// The same user, or nobody that is known of.
    SameOrNobody,
    /// Another user, or this one before the password changed: nobody can tell which.
    Another,
}

/// Something is broken here: 503 for the store, 500 for a key.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store does not answer, or a master key is not known here.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// A signing key does not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Auth {
    /// The use cases over these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// What they work with: use cases of another configuration take over what lasts.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What is administered by people: users and their sessions.
    pub fn users(&self) -> Users {
        Users::new(Arc::clone(&self.parts))
    }

    /// The public keys, as a JWKS.
    pub fn jwks(&self) -> String {
        self.parts.assertions.jwks_with(&self.parts.ring)
    }

    /// What an application is told of a caller, signed; `audience` is its upstream's name.
    pub fn assertion(&self, identity: &Identity, audience: &str) -> Result<String, Failure> {
        let Parts { assertions, rules, clock, .. } = &*self.parts;
        Ok(assertions.mint((identity, audience), rules, clock.now())?)
    }

    /// The signing keys, as people administer them.
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(&self.parts)
    }

    /// The buckets of the rate limits.
    pub fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    /// The store, for `/readyz` and the sweep.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The set of ended sessions.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.parts.revocations
    }

    /// Logins waiting for a hash, for the metric.
    pub fn logins_waiting(&self) -> usize {
        self.parts.hasher.waiting()
    }

    /// Loads what has ended before this process began, and keeps it until no access token of
    /// before can be alive by the time that passes: the clock may be ahead, and what has expired by
    /// it may not have.
    pub async fn load_revocations(&self) -> Result<(), Unavailable> {
        let least = self.parts.clock.now().plus(KEPT);
        for revocation in self.parts.store.revocations().await? {
            let Revocation { session, below, expires } = revocation;
            self.parts.revocations.learn(session, below, expires.max(least));
        }
        Ok(())
    }

    /// Shortens the sessions of a configuration that allowed them more, and what they have open.
    pub async fn shorten_sessions(&self) -> Result<(), Unavailable> {
        let shortened = self.shorten_rows().await;
        // Some are shorter, even where the store failed at others.
        if !matches!(shortened, Ok(false)) {
            self.parts.revocations.tell_of_all();
        }
        shortened.map(drop)
    }

    /// Whether there were any.
    async fn shorten_rows(&self) -> Result<bool, Unavailable> {
        let mut any = false;
        for remember in [true, false] {
            let (idle, absolute) = lifetimes(&self.parts.sessions, remember);
            let now = Lifetimes { remember, idle, absolute };
            while self.parts.store.shorten(now).await? {
                any = true;
            }
        }
        Ok(any)
    }

    /// Does something whose runtime ends with it, and what it left to be told, however late.
    pub async fn to_the_last<T>(&self, deed: impl Future<Output = T>) -> T {
        let outcome = deed.await;
        self.parts.detached.all_ended().await;
        outcome
    }

    /// The `sub` of an identity's tokens: the id, or the username where the configuration says so.
    pub fn subject(&self, identity: &Identity) -> String {
        if self.parts.rules.sub_is_username {
            identity.username.to_string()
        } else {
            identity.user.to_string()
        }
    }

    /// When an access token that is minted now ends at the latest.
    pub fn access_end(&self, now: Timestamp) -> Timestamp {
        now.plus(self.parts.rules.ttl)
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

impl Parts {
    /// What the access tokens of a configuration say.
    pub fn rules(config: &Config, issuer: String) -> AccessRules {
        let tokens = &config.tokens;
        AccessRules {
            issuer: tokens.issuer.clone().unwrap_or(issuer),
            audience: tokens.audience.clone(),
            ttl: tokens.access_ttl,
            jitter: tokens.access_jitter,
            leeway: tokens.leeway,
            sub_is_username: tokens.sub_is_username,
        }
    }

    /// Tells of sessions that have ended. Every worker knows of it since the store committed it.
    fn ended(&self, ended: impl IntoIterator<Item = (SessionId, EndReason)>) {
        self.ended_by(&AuditEvent::new(SESSION_ENDED), ended);
    }

    /// The same, with what more is known: whose they were, and who ended them.
    fn ended_by(
        &self,
        known: &AuditEvent,
        ended: impl IntoIterator<Item = (SessionId, EndReason)>,
    ) {
        let drop_at = self.clock.now().plus(KEPT);
        for (session, reason) in ended {
            self.revocations.end(session, drop_at);
            self.telemetry.count(Counter::SessionRevoked, reason.as_str());
            let event = known.clone().level(level(reason)).session(session);
            self.audit().write(event.outcome("revoked").reason(reason.as_str()));
        }
    }

    fn audit(&self) -> Audit {
        self.telemetry.audit()
    }

    /// The pair of a row's current token.
    fn tokens(&self, row: &Row, token: &RefreshToken) -> Result<Tokens, KeyError> {
        let now = self.clock.now();
        let claims = AccessClaims {
            identity: &row.identity,
            version: row.version,
            auth_time: row.auth_time,
            issued: row.issued(now),
            session_end: row.idle_end.min(row.absolute_end),
            client: if row.transport == Transport::Cookie { "web" } else { "api" },
        };
        let minted = self.ring.mint(&claims, &self.rules, now);
        let (access, expires) =
            minted.inspect_err(|cause| bounds::no_token(&row.identity.username, cause))?;
        Ok(Tokens {
            identity: row.identity.clone(),
            access,
            access_life: now.until(expires),
            refresh: self.masters.text(token),
            refresh_life: now.until(row.idle_end.min(row.absolute_end)),
            remember: row.remember,
            transport: row.transport,
            device: None,
            before: Predecessor::SameOrNobody,
        })
    }
}

impl Client {
    /// The client's /24 or /48, as kept in a session's row.
    fn network(&self) -> Option<String> {
        Some(match self.address.to_canonical() {
            IpAddr::V4(address) => Ipv4Net::new(address, 24).ok()?.trunc().to_string(),
            IpAddr::V6(address) => Ipv6Net::new(address, 48).ok()?.trunc().to_string(),
        })
    }

    /// SHA-256 of the whole user agent.
    fn agent_hash(&self) -> Option<[u8; 32]> {
        self.agent.as_ref().map(|agent| Sha256::digest(agent).into())
    }

    /// The user agent cut to what a row keeps: 256 bytes, on a character's boundary.
    fn agent_kept(&self) -> Option<String> {
        const KEPT_BYTES: usize = 256;
        self.agent.as_ref().map(|agent| {
            let kept = agent.char_indices().take_while(|(at, c)| at + c.len_utf8() <= KEPT_BYTES);
            kept.map(|(_, c)| c).collect()
        })
    }

    /// An audit event that says what a client is.
    fn event(&self, name: &'static str) -> AuditEvent {
        let event = AuditEvent::new(name).request_id(self.request_id);
        event.network(self.network()).agent(self.agent_hash())
    }
}

/// The name of the audit line of a session's end.
const SESSION_ENDED: &str = "auth.session.revoked";

/// How grave an ending is: some mean a thief, or a store that lost something.
const fn level(reason: EndReason) -> Level {
    match reason {
        EndReason::Reuse | EndReason::Integrity | EndReason::StoreRollback => Level::Error,
        EndReason::Transport => Level::Warn,
        EndReason::User
        | EndReason::Logout
        | EndReason::Revoked
        | EndReason::Administrator
        | EndReason::Password
        | EndReason::Evicted
        | EndReason::Replaced => Level::Info,
    }
}

/// Lifetimes of a new session: idle, absolute.
fn lifetimes(sessions: &Sessions, remember: bool) -> (Duration, Duration) {
    if remember {
        (sessions.remember_idle, sessions.remember_absolute)
    } else {
        (sessions.idle, sessions.absolute)
    }
}
