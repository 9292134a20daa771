//! Where "now" comes from.
//!
//! Everything else takes the time as an argument or holds a [`Clock`]; clippy refuses
//! `SystemTime::now` and `Instant::now` elsewhere. A test holds the hand of a [`Clock::manual`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment so many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The moment so many seconds after the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down, as a JWT's NumericDate (RFC 7519 section 2).
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// The moment `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time from this moment until `later`; zero when that has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.millis_since(self)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds as needed: `2026-11-24T13:44:46.5Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}ms", self.0),
        }
    }
}

/// Tells the time. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        started: Instant,
    },
    /// The wall clock and the time since this clock was made, in milliseconds.
    Manual {
        wall: Arc<AtomicI64>,
        uptime: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the home of the clock")]
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that moves only by [`Clock::advance`] and [`Clock::jump`], for tests.
    pub fn manual(start: Timestamp) -> Self {
        let hand = || Arc::new(AtomicI64::new(start.0));
        Self(Source::Manual { wall: hand(), uptime: hand() })
    }

    /// Now, by the wall clock, which may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the home of the clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => Timestamp(
                SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or_else(|before| -millis(before.duration()), millis),
            ),
            Source::Manual { wall, .. } => Timestamp(wall.load(Ordering::SeqCst)),
        }
    }

    /// Time since this clock was made, which never runs backwards: for durations and rates.
    pub fn uptime(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual { uptime, .. } => {
                Duration::from_millis(u64::try_from(uptime.load(Ordering::SeqCst)).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock forward; the machine's clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { wall, uptime } = &self.0 {
            wall.fetch_add(millis(by), Ordering::SeqCst);
            uptime.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock so many milliseconds ahead or back, though no time passes.
    pub fn jump(&self, millis: i64) {
        if let Source::Manual { wall, .. } = &self.0 {
            wall.fetch_add(millis, Ordering::SeqCst);
        }
    }
}

/// Time since the machine was started, as service managers count it (`CLOCK_MONOTONIC`).
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(Timestamp::from_millis(1_500).to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp::from_secs(100));
        let twin = clock.clone();
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(twin.now(), Timestamp::from_millis(101_500));
        let uptime = twin.uptime();
        clock.jump(-1_500);
        assert_eq!((twin.now(), twin.uptime()), (Timestamp::from_secs(100), uptime));
    }
}
