//! Says whether another attempt may be made now and, if not, when. GCRA over a bounded table.
//!
//! A permit is taken *before* the work it pays for and given back when the work turns out not to
//! count, so parallel guesses cannot outrun a limit. Not authoritative for safety: under a flood of
//! keys the least strained buckets are forgotten first.
//!
//! Invariant: memory is bounded by its table whatever the number of keys, and no call holds
//! more than one lock of a few entries.

mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::config::{Rate, RateLimits};
use crate::identity::{SessionId, UserId};

use table::{Key, Kind, Since, Table};

/// Every bucket. Shared by all workers.
#[derive(Debug)]
pub struct Limits {
    table: Table,
    login_address: Limit,
    login_network: Limit,
    login_name: Limit,
    login_name_slow: Limit,
    login_user: Limit,
    refresh_session: Limit,
    refresh_address: Limit,
    session_list: Limit,
    administrator: Limit,
    auth_address: Limit,
}

/// Whose attempts are counted, and for what. Addresses are taken as they come: a v4-mapped one is
/// unwrapped and every one is cut to its prefix here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Failed logins of an IPv4 /32 or IPv6 /64.
    LoginAddress(IpAddr),
    /// Failed logins of a /24 or /48.
    LoginNetwork(IpAddr),
    /// Failed logins for a name (its HMAC) by strangers. Two buckets in one: the configured rate,
    /// and five times its burst at a tenth of its speed (10 at 1/min, and 50 at 1 in 10 min), so
    /// that a lasting attack is slowed further but the name is never shut.
    LoginNameStranger([u8; 16]),
    /// Failed logins for a name by known clients.
    LoginNameKnown([u8; 16]),
    /// Logins of a user (HMAC of the name).
    LoginUser([u8; 16]),
    /// Explicit refreshes that rotate.
    RefreshSession(SessionId),
    /// Failed refreshes of an address.
    RefreshAddress(IpAddr),
    /// GET /auth/sessions.
    SessionList(SessionId),
    /// Everything under /auth/admin.
    Administrator(UserId),
    /// Everything under /auth but ping.
    AuthAddress(IpAddr),
}

/// Not now; try again after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Time until one attempt is allowed.
    pub after: Duration,
    /// Which limit, by its name in `[rate_limits]`: the metric's label.
    pub limit: &'static str,
}

impl Limits {
    /// Empty buckets of these sizes, by this clock's uptime.
    pub fn new(rates: &RateLimits, clock: &Clock) -> Self {
        Self::over(Table::default(), rates, clock)
    }

    /// The same buckets under other rates. Those whose rate is another begin full, once
    /// [`Limits::forget_changed`] says so; the others go on where they are.
    #[must_use]
    pub fn renewed(&self, rates: &RateLimits, clock: &Clock) -> Self {
        Self::over(self.table.clone(), rates, clock)
    }

    /// Empties the table of what was counted at other rates than those in force.
    pub fn forget_changed(&self, before: &Self) {
        for kind in Kind::ALL {
            if self.limit(kind).rate != before.limit(kind).rate {
                self.table.forget(kind);
            }
        }
    }

    fn over(table: Table, rates: &RateLimits, clock: &Clock) -> Self {
        let limit = |label, rate| Limit::new(label, rate, &table, clock);
        let name = rates.login_per_username;
        Self {
            login_address: limit("login_per_ip", rates.login_per_ip),
            login_network: limit("login_per_network", rates.login_per_network),
            login_name: limit("login_per_username", name),
            login_name_slow: limit("login_per_username", slower(name)),
            login_user: limit("login_per_user", rates.login_per_user),
            refresh_session: limit("refresh_per_session", rates.refresh_per_session),
            refresh_address: limit("refresh_per_ip", rates.refresh_per_ip),
            session_list: limit("sessions_per_session", rates.sessions_per_session),
            administrator: limit("admin_per_user", rates.admin_per_user),
            auth_address: limit("auth_per_ip", rates.auth_per_ip),
            table,
        }
    }

    /// Takes one permit.
    pub fn take(&self, bucket: Bucket) -> Result<(), Wait> {
        let (key, slow) = keys(bucket);
        self.take_key(key)?;
        let Some(slow) = slow else { return Ok(()) };
        self.take_key(slow).inspect_err(|_| self.give_back_key(key))
    }

    /// Whether what happens no oftener than this never meets the limit.
    pub fn allows_every(&self, span: Duration, bucket: Bucket) -> bool {
        self.limit(keys(bucket).0.kind).every <= span
    }

    /// Takes one permit of each or none at all; the first bucket without one is told.
    pub fn take_all(&self, buckets: &[Bucket]) -> Result<(), Wait> {
        for (taken, &bucket) in buckets.iter().enumerate() {
            if let Err(wait) = self.take(bucket) {
                buckets.iter().take(taken).for_each(|&bucket| self.give_back(bucket));
                return Err(wait);
            }
        }
        Ok(())
    }

    /// Gives one permit back. A bucket never holds more than its burst, however often it is called.
    pub fn give_back(&self, bucket: Bucket) {
        let (key, slow) = keys(bucket);
        self.give_back_key(key);
        if let Some(slow) = slow {
            self.give_back_key(slow);
        }
    }

    fn take_key(&self, key: Key) -> Result<(), Wait> {
        self.limit(key.kind).take(&key)
    }

    fn give_back_key(&self, key: Key) {
        self.table.lower(&key, self.limit(key.kind).every);
    }

    fn limit(&self, kind: Kind) -> &Limit {
        match kind {
            Kind::LoginAddress => &self.login_address,
            Kind::LoginNetwork => &self.login_network,
            Kind::LoginNameStranger | Kind::LoginNameKnown => &self.login_name,
            Kind::LoginNameStrangerSlow => &self.login_name_slow,
            Kind::LoginUser => &self.login_user,
            Kind::RefreshSession => &self.refresh_session,
            Kind::RefreshAddress => &self.refresh_address,
            Kind::SessionList => &self.session_list,
            Kind::Administrator => &self.administrator,
            Kind::AuthAddress => &self.auth_address,
        }
    }
}

/// One rate, over the common table.
#[derive(Debug)]
struct Limit {
    label: &'static str,
    rate: Rate,
    every: Duration,
    limiter: RateLimiter<Key, Since, Uptime, NoOpMiddleware<Duration>>,
}

impl Limit {
    fn new(label: &'static str, rate: Rate, table: &Table, clock: &Clock) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        // The whole bucket stays far below the 584 years that governor's arithmetic can hold.
        let every = rate.every.clamp(Duration::from_nanos(1), LONGEST / burst.get());
        let quota = Quota::with_period(every)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let store = Since::new(table.clone(), clock.uptime());
        let limiter = RateLimiter::new(quota, store, Uptime(clock.clone()));
        Self { label, rate, every, limiter }
    }

    fn take(&self, key: &Key) -> Result<(), Wait> {
        self.limiter.check_key(key).map_err(|until| Wait {
            after: until.wait_time_from(self.limiter.clock().now()),
            limit: self.label,
        })
    }
}

/// Our clock's uptime, for governor.
#[derive(Clone, Debug)]
struct Uptime(Clock);

impl GovernorClock for Uptime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.uptime()
    }
}

fn slower(rate: Rate) -> Rate {
    Rate { burst: rate.burst.saturating_mul(5), every: rate.every.saturating_mul(10) }
}

/// The keys of a bucket: its own, and that of the slower bucket behind it.
fn keys(bucket: Bucket) -> (Key, Option<Key>) {
    let (kind, id) = match bucket {
        Bucket::LoginAddress(address) => (Kind::LoginAddress, host(address)),
        Bucket::LoginNetwork(address) => (Kind::LoginNetwork, network(address)),
        Bucket::LoginNameStranger(name) => {
            let slow = Key { kind: Kind::LoginNameStrangerSlow, id: name };
            return (Key { kind: Kind::LoginNameStranger, id: name }, Some(slow));
        }
        Bucket::LoginNameKnown(name) => (Kind::LoginNameKnown, name),
        Bucket::LoginUser(name) => (Kind::LoginUser, name),
        Bucket::RefreshSession(session) => (Kind::RefreshSession, *session.as_bytes()),
        Bucket::RefreshAddress(address) => (Kind::RefreshAddress, host(address)),
        Bucket::SessionList(session) => (Kind::SessionList, *session.as_bytes()),
        Bucket::Administrator(user) => (Kind::Administrator, *user.as_bytes()),
        Bucket::AuthAddress(address) => (Kind::AuthAddress, host(address)),
    };
    (Key { kind, id }, None)
}

/// What one subscriber holds: a /32, or a /64.
fn host(address: IpAddr) -> [u8; 16] {
    prefix(address, 32, 64)
}

/// What one site holds, its /24 or /48, as a key.
pub fn network(address: IpAddr) -> [u8; 16] {
    prefix(address, 24, 48)
}

/// An IPv4 prefix stands in its v4-mapped form, where no cut IPv6 prefix can be.
fn prefix(address: IpAddr, bits_v4: u32, bits_v6: u32) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let cut = u32::MAX.checked_shl(32 - bits_v4).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & cut).to_ipv6_mapped().octets()
        }
        IpAddr::V6(v6) => {
            let cut = u128::MAX.checked_shl(128 - bits_v6).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & cut).octets()
        }
    }
}

const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
