//! Counts in the making: plain cells that one worker writes, and their sum.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;

use super::access::Decision;
use super::facts::Facts;
use super::metrics::{Counter, Timing};

/// What one worker counts. Only a scrape ever waits for its lock, or makes it wait. Two workers
/// share no line of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WorkerCells {
    pub(super) cells: Mutex<Cells>,
    /// Written by the worker alone, so without a read-modify-write.
    active: AtomicU64,
}

impl WorkerCells {
    pub(super) fn opened(&self) {
        self.active.store(self.active() + 1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.active.store(self.active().saturating_sub(1), Ordering::Relaxed);
    }

    pub(super) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }
}

/// Counts by route, by upstream and by event.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) routes: BTreeMap<Box<str>, RouteCells>,
    pub(super) upstreams: BTreeMap<Box<str>, Histogram>,
    pub(super) counts: BTreeMap<(Counter, &'static str), u64>,
    pub(super) timings: BTreeMap<(Timing, &'static str), Histogram>,
}

/// Counts of one route.
#[derive(Debug, Default)]
pub(super) struct RouteCells {
    /// By method and status; 0: there was no answer.
    pub(super) served: BTreeMap<(&'static str, u16), Histogram>,
    pub(super) decisions: BTreeMap<(Decision, &'static str), u64>,
}

impl Cells {
    /// Counts one to a counter; its label, where it has none, is ignored.
    pub(super) fn count(&mut self, counter: Counter, label: &'static str) {
        let label = if counter.metric().labels.is_empty() { "" } else { label };
        *self.counts.entry((counter, label)).or_default() += 1;
    }

    /// Notes a duration; its label, where it has none, is ignored.
    pub(super) fn time(&mut self, timing: Timing, label: &'static str, took: Duration) {
        let label = if timing.metric().labels.is_empty() { "" } else { label };
        self.timings.entry((timing, label)).or_default().observe(took);
    }

    /// Counts a request that ended.
    pub(super) fn exchange(&mut self, facts: &Facts, took: Duration) {
        let method = facts.method.as_ref().map_or(OTHER, method_label);
        let status = facts.status.map_or(0, |status| status.as_u16());
        with_cell(&mut self.routes, facts.route.as_deref().unwrap_or(NO_ROUTE), |route| {
            route.served.entry((method, status)).or_default().observe(took);
            if let Some(decision) = facts.decision {
                *route.decisions.entry(decision).or_default() += 1;
            }
        });
        if let (Some(upstream), Some(took)) = (&facts.upstream, facts.upstream_took) {
            with_cell(&mut self.upstreams, upstream, |cell| cell.observe(took));
        }
    }

    /// Adds what another counted.
    pub(super) fn absorb(&mut self, other: &Self) {
        for (name, theirs) in &other.routes {
            with_cell(&mut self.routes, name, |ours| ours.absorb(theirs));
        }
        for (name, theirs) in &other.upstreams {
            with_cell(&mut self.upstreams, name, |ours| ours.absorb(theirs));
        }
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        for (timing, theirs) in &other.timings {
            self.timings.entry(*timing).or_default().absorb(theirs);
        }
    }
}

impl RouteCells {
    fn absorb(&mut self, other: &Self) {
        for (key, theirs) in &other.served {
            self.served.entry(*key).or_default().absorb(theirs);
        }
        for (key, count) in &other.decisions {
            *self.decisions.entry(*key).or_default() += count;
        }
    }
}

/// Durations, counted by the least bound that holds them.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Not cumulative; those beyond the last bound are in `count` alone.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    total: Duration,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let micros = took.as_nanos().div_ceil(1000);
        let place = BOUNDS.partition_point(|(bound, _)| u128::from(*bound) < micros);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        self.count += 1;
        self.total = self.total.saturating_add(took);
    }

    fn absorb(&mut self, other: &Self) {
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
    }

    /// Each bound in seconds with the number of durations up to it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket;
            Some(*sum)
        });
        BOUNDS.iter().map(|(_, text)| *text).zip(sums)
    }

    /// All durations.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub(super) fn total(&self) -> Duration {
        self.total
    }
}

/// The route's name where none was found.
pub(super) const NO_ROUTE: &str = "none";

/// OpenTelemetry's bounds for HTTP durations, and two below, in microseconds and as seconds.
const BOUNDS: [(u32, &str); 16] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (75_000, "0.075"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (750_000, "0.75"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (7_500_000, "7.5"),
    (10_000_000, "10"),
];

/// The methods that OpenTelemetry knows; all others share a label, as clients can invent them.
fn method_label(method: &Method) -> &'static str {
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]
        .into_iter()
        .find(|known| method.as_str() == *known)
        .unwrap_or(OTHER)
}

const OTHER: &str = "_OTHER";

/// The cell of a name, made when it is new: a name that is known costs no allocation.
fn with_cell<V: Default>(map: &mut BTreeMap<Box<str>, V>, name: &str, act: impl FnOnce(&mut V)) {
    match map.get_mut(name) {
        Some(cell) => act(cell),
        None => act(map.entry(name.into()).or_default()),
    }
}
