//! Login: limit, one hash whatever the name, one transaction, tokens, an audit line.

use std::net::IpAddr;

use super::{Auth, Client, Failure, Parts, Tokens, lifetimes};
use crate::identity::{SessionId, Username};
use crate::limit::{Bucket, Wait};
use crate::password::{Busy, Password};
use crate::secret::{self, Secret};
use crate::session::Transport;
use crate::store::{Begun, NewSession, User};
use crate::telemetry::{AuditEvent, Counter};

/// One try to log in.
#[derive(Debug)]
pub struct Attempt {
    /// The name as typed.
    pub username: String,
    /// The password as typed.
    pub password: Secret,
    /// How the tokens shall travel; unpinned: the first refresh decides.
    pub transport: Transport,
    /// None: the configuration's default.
    pub remember: Option<bool>,
    /// At most 64 printable characters.
    pub device_name: Option<String>,
    /// The session of a presented cookie, which this login replaces.
    pub replaces: Option<SessionId>,
    /// Who tries.
    pub client: Client,
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub enum Login {
    /// A new session.
    Welcome(Box<Tokens>),
    /// Wrong name, wrong password, disabled: nobody can tell which.
    Refused,
    /// Too many tries.
    Wait(Wait),
    /// Too many logins wait for a hash.
    Busy,
}

impl Auth {
    /// Logs in. The permits of the limits are taken before the hash, so that parallel guesses
    /// cannot outrun them, and those that count failures are given back on success.
    pub async fn login(&self, attempt: Attempt) -> Result<Login, Failure> {
        let parts = &*self.parts;
        let name = Username::new(&attempt.username).ok();
        let permits = Permits::of(parts, &attempt, name.as_ref());
        if let Err(wait) = permits.take(parts) {
            parts.tell_throttled(&attempt.client, wait);
            return Ok(Login::Wait(wait));
        }
        match parts.verify(name.as_ref(), &attempt).await {
            Ok(Verdict::Good(user)) => parts.welcome(*user, attempt, permits).await,
            Ok(Verdict::Bad(user)) => {
                permits.failed(parts);
                parts.tell_failure(&attempt, user.as_deref());
                Ok(Login::Refused)
            }
            Ok(Verdict::Busy) => {
                permits.give_back(parts);
                parts.telemetry.count(Counter::Login, "busy");
                Ok(Login::Busy)
            }
            Err(failure) => {
                permits.give_back(parts);
                parts.telemetry.count(Counter::Login, "unavailable");
                Err(failure)
            }
        }
    }
}

enum Verdict {
    Good(Box<User>),
    Bad(Option<Box<User>>),
    Busy,
}

impl Parts {
    /// One hash is made whatever the name, so that time does not tell whether it exists.
    async fn verify(&self, name: Option<&Username>, attempt: &Attempt) -> Result<Verdict, Failure> {
        let user = match name {
            Some(name) => self.store.user(name).await?,
            None => None,
        };
        let may = user.as_ref().filter(|user| user.disabled.is_none());
        let hash = may.and_then(|user| user.hash.clone());
        let password = Password::new(&attempt.password);
        Ok(match (self.hasher.verify(password, hash).await, user) {
            (Ok(true), Some(user)) => Verdict::Good(Box::new(user)),
            (Ok(_), user) => Verdict::Bad(user.map(Box::new)),
            (Err(Busy), _) => Verdict::Busy,
        })
    }

    async fn welcome(
        &self,
        user: User,
        attempt: Attempt,
        permits: Permits,
    ) -> Result<Login, Failure> {
        let token = self.masters.first(SessionId::from_bytes(secret::random()));
        let session = self.new_session(&user, &attempt, &token);
        let begun = match self.store.begin(session).await {
            Ok(begun) => begun,
            Err(unavailable) => {
                permits.give_back(self);
                return Err(unavailable.into());
            }
        };
        match begun {
            Begun::Yes { row, ended } => {
                permits.succeeded(self);
                self.ended(ended);
                self.tell_success(&attempt, &user, token.session);
                Ok(Login::Welcome(Box::new(self.tokens(&row, &token)?)))
            }
            // Disabled or given another password while the hash was made.
            Begun::Refused => {
                permits.failed(self);
                self.tell_failure(&attempt, Some(&user));
                Ok(Login::Refused)
            }
        }
    }

    fn new_session(
        &self,
        user: &User,
        attempt: &Attempt,
        token: &crate::token::RefreshToken,
    ) -> NewSession {
        let remember = attempt.remember.unwrap_or(self.sessions.remember_default);
        let (idle, absolute) = lifetimes(&self.sessions, remember);
        NewSession {
            session: token.session,
            user: user.id,
            password_epoch: user.password_epoch,
            transport: attempt.transport,
            first: token.hash(),
            key: self.masters.active(),
            idle,
            absolute,
            remember,
            user_agent: attempt.client.agent_kept(),
            agent_hash: attempt.client.agent_hash(),
            network: attempt.client.network(),
            device_name: attempt.device_name.clone(),
            replaces: attempt.replaces,
            max_per_user: self.sessions.max_per_user,
        }
    }

    fn tell_success(&self, attempt: &Attempt, user: &User, session: SessionId) {
        self.telemetry.count(Counter::Login, "success");
        let event = attempt.client.event("auth.login.success").user(user.id);
        self.audit()
            .write(event.username(user.username.clone()).session(session).outcome("success"));
    }

    fn tell_failure(&self, attempt: &Attempt, user: Option<&User>) {
        self.telemetry.count(Counter::Login, "failure");
        let event = attempt.client.event("auth.login.failure").outcome("failure");
        let event = self.with_address(event, attempt.client.address);
        self.audit().write(match user {
            Some(user) => event.user(user.id).username(user.username.clone()),
            // People type passwords into the name's field: only a keyed hash is told.
            None => event.name_hmac(self.name_key(&attempt.username)),
        });
    }

    fn tell_throttled(&self, client: &Client, wait: Wait) {
        self.telemetry.count(Counter::Login, "throttled");
        self.telemetry.count(Counter::Throttled, wait.limit);
        let event = client.event("auth.login.throttled").outcome("throttled").reason(wait.limit);
        self.audit().write(self.with_address(event, client.address));
    }

    fn with_address(&self, event: AuditEvent, address: IpAddr) -> AuditEvent {
        if self.full_address { event.address(address) } else { event }
    }

    fn name_key(&self, name: &str) -> [u8; 16] {
        let mac = self.masters.mac("limit/name", name.as_bytes());
        let mut key = [0; 16];
        key.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        key
    }
}

/// The permits of one try.
struct Permits {
    failures: [Bucket; 3],
    success: Bucket,
}

impl Permits {
    fn of(parts: &Parts, attempt: &Attempt, name: Option<&Username>) -> Self {
        // Names that cannot exist use the same buckets, so that a limit does not tell either.
        let key = parts.name_key(name.map_or(attempt.username.as_str(), Username::as_str));
        let address = attempt.client.address;
        Self {
            failures: [
                Bucket::LoginAddress(address),
                Bucket::LoginNetwork(address),
                Bucket::LoginNameStranger(key),
            ],
            success: Bucket::LoginUser(key),
        }
    }

    fn take(&self, parts: &Parts) -> Result<(), Wait> {
        let [address, network, name] = self.failures;
        parts.limits.take_all(&[address, network, name, self.success])
    }

    fn succeeded(&self, parts: &Parts) {
        self.failures.iter().for_each(|bucket| parts.limits.give_back(*bucket));
    }

    fn failed(&self, parts: &Parts) {
        parts.limits.give_back(self.success);
    }

    fn give_back(&self, parts: &Parts) {
        self.succeeded(parts);
        self.failed(parts);
    }
}
