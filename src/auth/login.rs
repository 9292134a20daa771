//! Login: limit, one hash whatever the name, one transaction, tokens, an audit line.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::begin::Wish;
use super::detached::unless_left;
use super::{Auth, Client, Failure, Parts, Tokens, device};
use crate::config::Level;
use crate::identity::{SessionId, Username};
use crate::limit::{self, Bucket, Wait};
use crate::password::{Asker, Busy, PasswordHash, Typed};
use crate::secret::{self, Secret};
use crate::session::Transport;
use crate::store::{Applicant, Begun, CancellationToken, Unavailable, User};
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
    /// The device cookie.
    pub device: Option<String>,
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
    /// cannot outrun them, and those that count failures are given back on success. Who leaves
    /// before the hash is made has failed, as far as they count.
    ///
    /// A refusal is told no sooner than [`failure_floor`](Self::failure_floor) after the call,
    /// whatever the hash cost that it is about.
    pub async fn login(&self, attempt: Attempt) -> Result<Login, Failure> {
        let floor = Floor::from_now(self.failure_floor());
        let login = self.parts.login(attempt).await;
        if matches!(login, Ok(Login::Refused)) {
            floor.reached().await;
        }
        login
    }

    /// How long after it came a failed login is told at the earliest: as long as hides the dearest
    /// hash that anybody has.
    pub fn failure_floor(&self) -> Duration {
        let dearest = self.parts.dearest.load(Ordering::Relaxed);
        Duration::from_millis(dearest).max(self.parts.passwords.failure_floor)
    }

    /// Has failed logins hide the hashes of these users too, which may be from a time when
    /// `passwords.argon2` was dearer.
    pub fn hide_hashes(&self, users: &[User]) {
        let now = self.parts.passwords.cost.floor();
        let floors = users.iter().filter_map(|user| user.hash.as_ref()).map(PasswordHash::floor);
        if let Some(dearest) = floors.filter(|floor| *floor > now).max() {
            let millis = u64::try_from(dearest.as_millis()).unwrap_or(u64::MAX);
            self.parts.dearest.fetch_max(millis, Ordering::Relaxed);
        }
    }
}

/// A moment before which no failure is told, up to an eighth later than the floor asks: timers tick
/// in milliseconds and hide microseconds of difference only where the moments are not all alike.
pub(super) struct Floor(Option<tokio::time::Sleep>);

impl Floor {
    pub(super) fn from_now(after: Duration) -> Self {
        let later = after.mul_f64(secret::random_fraction() / 8.0);
        Self((!after.is_zero()).then(|| tokio::time::sleep(after + later)))
    }

    pub(super) async fn reached(self) {
        if let Some(sleep) = self.0 {
            sleep.await;
        }
    }
}

impl Parts {
    async fn login(self: &Arc<Self>, attempt: Attempt) -> Result<Login, Failure> {
        let name = Username::new(&attempt.username).ok();
        let applicant = self.applicant(name.as_ref(), &attempt.client).await;
        let applicant = applicant.inspect_err(|_unavailable| self.count_unavailable())?;
        let standing = self.acquaintance(&applicant, attempt.device.as_deref());
        let permits = Permits::of(self, (&attempt, name.as_ref()), standing);
        if let Err(wait) = permits.take(self) {
            self.tell_throttled(&attempt.client, wait);
            return Ok(Login::Wait(wait));
        }
        let asker = standing.asker(&attempt.client);
        let user = applicant.user.map(Box::new);
        let left = || {
            permits.failed(self);
            self.tell_left(&attempt, user.as_deref());
        };
        let is_right = self.verify(user.as_deref(), &attempt.password, asker);
        match (unless_left(is_right, left).await, user) {
            (Ok(true), Some(user)) => {
                let parts = Arc::clone(self);
                let welcome = |cancellation| async move {
                    let arrival = Arrival { user: *user, attempt, permits };
                    parts.welcome(arrival, cancellation).await
                };
                self.detached.once_begun(welcome).await
            }
            (Ok(_), user) => {
                permits.failed(self);
                self.tell_failure(&attempt, user.as_deref());
                Ok(Login::Refused)
            }
            (Err(Busy), _) => {
                permits.give_back(self);
                self.telemetry.count(Counter::Login, "busy");
                Ok(Login::Busy)
            }
        }
    }

    /// The same is read whether somebody has the name or not.
    async fn applicant(
        &self,
        name: Option<&Username>,
        client: &Client,
    ) -> Result<Applicant, Unavailable> {
        match name {
            Some(name) => self.store.applicant(name, client.network()).await,
            // What cannot be a name, anybody can tell.
            None => Ok(Applicant::default()),
        }
    }

    fn acquaintance(&self, applicant: &Applicant, device: Option<&str>) -> Acquaintance {
        let user = applicant.user.as_ref();
        let now = self.clock.now();
        let by_device =
            device.is_some_and(|cookie| device::is_of(&self.masters, cookie, user, now));
        match (by_device, applicant.is_near) {
            (true, _) => Acquaintance::Device,
            (false, true) => Acquaintance::Network,
            (false, false) => Acquaintance::Stranger,
        }
    }

    /// One hash is made whatever the name, so that time does not tell whether it exists.
    async fn verify(
        &self,
        user: Option<&User>,
        password: &Secret,
        asker: Asker,
    ) -> Result<bool, Busy> {
        let may = user.filter(|user| user.disabled.is_none());
        let hash = may.and_then(|user| user.hash.clone());
        self.hasher.verify(Typed::new(password), hash, asker).await
    }

    async fn welcome(
        &self,
        arrival: Arrival,
        cancellation: CancellationToken,
    ) -> Result<Login, Failure> {
        let Arrival { user, attempt, permits } = arrival;
        let wish = Wish {
            transport: attempt.transport,
            remember: attempt.remember.unwrap_or(self.sessions.remember_default),
            device_name: attempt.device_name.clone(),
            replaces: attempt.replaces,
            client: &attempt.client,
        };
        let begun = match self.new_session(&user, wish) {
            Ok((session, token)) => {
                let store = self.store.until(cancellation.clone());
                store.begin(session).await.map(|begun| (begun, token))
            }
            Err(no_token) => {
                permits.give_back(self);
                self.tell_no_token(&attempt.client, &user);
                return Err(no_token.into());
            }
        };
        let (begun, token) = begun.inspect_err(|_unavailable| {
            permits.give_back(self);
            if !cancellation.has_left() {
                self.count_unavailable();
            }
        })?;
        match begun {
            Begun::Yes { row, ended } => {
                permits.succeeded(self);
                self.tell_success(&attempt.client, &user, token.session);
                let mut tokens = self.began((&row, ended), &token, user.password_epoch)?;
                tokens.before = self.predecessor(attempt.device.as_deref(), &user);
                self.improve(user, &attempt.password);
                Ok(Login::Welcome(tokens))
            }
            // Disabled or given another password while the hash was made.
            Begun::Refused => {
                permits.failed(self);
                self.tell_failure(&attempt, Some(&user));
                Ok(Login::Refused)
            }
        }
    }

    /// Puts a hash of ours in the place of another program's, now that the password is known. The
    /// login does not wait for it: what gets lost is done at the next one.
    fn improve(&self, user: User, password: &Secret) {
        let foreign = user.hash.filter(PasswordHash::is_foreign);
        let (Some(old), Some(password)) = (foreign, Typed::new(password).successor()) else {
            return;
        };
        let from = old.algorithm();
        let (store, hasher) = (self.store.clone(), self.hasher.clone());
        let telemetry = self.telemetry.clone();
        tokio::spawn(async move {
            if let Ok(new) = hasher.hash(password).await
                && store.rehash(user.id, old, new).await.is_ok()
            {
                telemetry.count(Counter::Rehash, from);
            }
        });
    }

    pub(super) fn tell_success(&self, client: &Client, user: &User, session: SessionId) {
        self.telemetry.count(Counter::Login, "success");
        let event = client.event("auth.login.success").user(user.id);
        self.audit()
            .write(event.username(user.username.clone()).session(session).outcome("success"));
    }

    fn tell_failure(&self, attempt: &Attempt, user: Option<&User>) {
        self.telemetry.count(Counter::Login, "failure");
        let event = attempt.client.event("auth.login.failure").outcome("failure");
        self.audit().write(self.of_attempt(event, attempt, user));
    }

    /// The store tells the operator why.
    fn count_unavailable(&self) {
        self.telemetry.count(Counter::Login, "unavailable");
    }

    /// Nobody waited to hear whether the password was right.
    fn tell_left(&self, attempt: &Attempt, user: Option<&User>) {
        self.telemetry.count(Counter::Login, "left");
        let event = attempt.client.event("auth.login.left").outcome("left");
        self.audit().write(self.of_attempt(event, attempt, user));
    }

    fn of_attempt(&self, event: AuditEvent, attempt: &Attempt, user: Option<&User>) -> AuditEvent {
        let event = self.with_address(event, attempt.client.address);
        match user {
            Some(user) => event.user(user.id).username(user.username.clone()),
            // People type passwords into the name's field: only a keyed hash is told.
            None => event.name_hmac(self.name_key(&attempt.username)),
        }
    }

    /// The password was right; what stands in the way is the gateway's.
    pub(super) fn tell_no_token(&self, client: &Client, user: &User) {
        self.telemetry.count(Counter::Login, "no_token");
        let event = client.event("auth.login.failure").level(Level::Error).user(user.id);
        let event = event.username(user.username.clone()).outcome("failure").reason("no_token");
        self.audit().write(self.with_address(event, client.address));
    }

    pub(super) fn tell_throttled(&self, client: &Client, wait: Wait) {
        self.telemetry.count(Counter::Login, "throttled");
        self.telemetry.count(Counter::Throttled, wait.limit);
        let event = client.event("auth.login.throttled").outcome("throttled").reason(wait.limit);
        self.audit().write(self.with_address(event, client.address));
    }

    pub(super) fn with_address(&self, event: AuditEvent, address: IpAddr) -> AuditEvent {
        if self.full_address { event.address(address) } else { event }
    }

    pub(super) fn name_key(&self, name: &str) -> [u8; 16] {
        self.key("limit/name", name)
    }

    pub(super) fn key(&self, purpose: &str, name: &str) -> [u8; 16] {
        let mac = self.masters.mac(purpose, name.as_bytes());
        let mut key = [0; 16];
        key.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        key
    }
}

/// How well a client is known to the user whose name it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acquaintance {
    /// It holds a device cookie of the user.
    Device,
    /// Its network is that of one of the user's live sessions.
    Network,
    /// Neither, or there is no such user.
    Stranger,
}

impl Acquaintance {
    fn asker(self, client: &Client) -> Asker {
        match self {
            Self::Device | Self::Network => Asker::Known,
            Self::Stranger => Asker::Stranger(limit::network(client.address)),
        }
    }
}

/// A user whose password was right.
struct Arrival {
    user: User,
    attempt: Attempt,
    permits: Permits,
}

/// The permits of one try.
struct Permits {
    failures: Vec<Bucket>,
    success: Bucket,
}

impl Permits {
    /// A device cookie has a bucket of its own and none of the shared ones: neither strangers nor
    /// neighbours can empty it, and its holder has no more tries for it.
    fn of(
        parts: &Parts,
        (attempt, name): (&Attempt, Option<&Username>),
        standing: Acquaintance,
    ) -> Self {
        // Names that cannot exist use the same buckets, so that a limit does not tell either.
        let name = name.map_or(attempt.username.as_str(), Username::as_str);
        let key = parts.name_key(name);
        let address = attempt.client.address;
        let shared =
            |name| vec![Bucket::LoginAddress(address), Bucket::LoginNetwork(address), name];
        let failures = match standing {
            Acquaintance::Device => vec![Bucket::LoginNameKnown(parts.key("limit/device", name))],
            Acquaintance::Network => shared(Bucket::LoginNameKnown(key)),
            Acquaintance::Stranger => shared(Bucket::LoginNameStranger(key)),
        };
        Self { failures, success: Bucket::LoginUser(key) }
    }

    fn take(&self, parts: &Parts) -> Result<(), Wait> {
        parts.limits.take_all(&self.failures)?;
        parts.limits.take(self.success).inspect_err(|_| self.succeeded(parts))
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
