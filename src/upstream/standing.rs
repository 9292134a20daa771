//! What is known of a server: by all workers from its health checks, by each from its own requests.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What all workers are told of one server. Written seldom, so that reading it costs no worker
/// anything.
#[derive(Debug)]
pub(super) struct Standing {
    began: Instant,
    state: AtomicU8,
    /// Milliseconds since `began`; 0: it was never known to be down.
    up_since: AtomicU64,
    /// Milliseconds since `began`, the latest of all workers.
    left_out_until: AtomicU64,
}

impl Standing {
    /// Of a server that nothing is known of.
    pub(super) fn unknown() -> Self {
        Self {
            began: Instant::now(),
            state: AtomicU8::new(UNKNOWN),
            up_since: AtomicU64::new(0),
            left_out_until: AtomicU64::new(0),
        }
    }

    /// Whether it may be asked: it is, as long as nothing is known.
    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) != DOWN
    }

    /// Whether a check has been made yet.
    pub(super) fn is_known(&self) -> bool {
        self.state.load(Ordering::Relaxed) != UNKNOWN
    }

    /// It answers.
    pub(super) fn rise(&self) {
        if !self.is_up() {
            self.up_since.store(self.millis(), Ordering::Relaxed);
        }
        self.state.store(UP, Ordering::Relaxed);
    }

    /// It does not answer.
    pub(super) fn fall(&self) {
        self.state.store(DOWN, Ordering::Relaxed);
    }

    /// How much of its share it has at most, from 0 to 1, when it takes `slow_start` to get all.
    pub(super) fn warmth(&self, slow_start: Duration) -> f64 {
        let since = self.up_since.load(Ordering::Relaxed);
        if since == 0 || slow_start.is_zero() {
            return 1.0;
        }
        let up = Duration::from_millis(self.millis().saturating_sub(since));
        (up.as_secs_f64() / slow_start.as_secs_f64()).min(1.0)
    }

    /// Whether no check and no worker has anything against it.
    pub(super) fn is_healthy(&self) -> bool {
        self.is_up() && self.left_out_until.load(Ordering::Relaxed) <= self.millis()
    }

    fn leave_out(&self, lasts: Duration) {
        let until = self.millis().saturating_add(millis(lasts));
        self.left_out_until.fetch_max(until, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(self.began.elapsed()).saturating_add(1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// How a server fares with one worker.
#[derive(Debug, Default)]
pub(super) struct Record {
    failures: Cell<usize>,
    left_out_until: Cell<Option<Instant>>,
}

impl Record {
    /// Whether it is left out now. Without a reason to, no clock is asked.
    pub(super) fn is_left_out(&self) -> bool {
        self.left_out_until.get().is_some_and(|until| Instant::now() < until)
    }

    /// An answer came.
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
        self.left_out_until.set(None);
    }

    /// None came; failures in a row.
    pub(super) fn failed(&self) -> usize {
        self.failures.set(self.failures.get().saturating_add(1));
        self.failures.get()
    }

    /// Leaves it out, and tells so. Its next failure after that will do so again at once.
    pub(super) fn leave_out(&self, lasts: Duration, standing: &Standing) {
        self.left_out_until.set(Some(Instant::now() + lasts));
        standing.leave_out(lasts);
    }

    /// Its time is up, as if it had passed.
    #[cfg(test)]
    pub(super) fn sit_out(&self) {
        self.left_out_until.set(Some(Instant::now()));
    }
}
