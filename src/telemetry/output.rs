//! Where lines go: one thread writes what the workers queue, many lines at once.
//!
//! Each producer has a queue of its own, so that workers never wait for each other. A full queue
//! drops access lines and counts them; audit lines are never dropped for want of room.

mod sink;
mod syslog;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::lock;
pub(super) use sink::{Sink, Sinks};

/// The two kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Access,
    Audit,
}

impl Stream {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Audit => "audit",
        }
    }
}

/// What a queue holds and how long a line is waited with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of one queue.
    pub(super) bytes: usize,
    /// An audit line waits so long for room.
    pub(super) patience: Duration,
    /// Further lines are awaited so long before a write.
    pub(super) linger: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 512 * 1024,
            patience: Duration::from_millis(100),
            linger: Duration::from_millis(20),
        }
    }
}

/// The writing thread, seen from outside. Dropping it writes out what is queued.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

/// The way of one producer to the writing thread.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lines: Arc<Lines>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Lines {
    stream: Stream,
    bytes: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    queues: Mutex<Vec<Arc<Lines>>>,
    state: Mutex<State>,
    /// Told of every change of `state`, and of room in a queue.
    changed: Condvar,
    lost: Lost,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    reopen: bool,
    /// To be written to from the next round on.
    sinks: Option<Sinks>,
    closed: bool,
    /// Rounds of writing, as begun and as ended.
    begun: u64,
    ended: u64,
}

/// What becomes of the files before a round.
enum Change {
    None,
    Reopen,
    Replace(Sinks),
}

/// When the next round is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    #[default]
    Never,
    /// After `Bounds::linger`.
    Soon,
    Now,
}

/// Lines that could not be written.
#[derive(Debug, Default)]
struct Lost {
    access: AtomicU64,
    audit: AtomicU64,
}

impl Lost {
    const fn of(&self, stream: Stream) -> &AtomicU64 {
        match stream {
            Stream::Access => &self.access,
            Stream::Audit => &self.audit,
        }
    }

    fn add(&self, stream: Stream, lines: u64) {
        self.of(stream).fetch_add(lines, Ordering::Relaxed);
    }
}

impl Writer {
    /// Starts the writing thread.
    pub(super) fn start(sinks: Sinks, bounds: Bounds) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            bounds,
            queues: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            lost: Lost::default(),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || theirs.run(sinks))?;
        Ok(Self { shared })
    }

    /// A queue for one more producer.
    pub(super) fn queue(&self, stream: Stream) -> Queue {
        let lines = Arc::new(Lines { stream, bytes: Mutex::default() });
        lock(&self.shared.queues).push(Arc::clone(&lines));
        Queue { lines, shared: Arc::clone(&self.shared) }
    }

    /// Returns once everything queued before is written, or after two seconds.
    pub(super) fn flush(&self) {
        let mut state = lock(&self.shared.state);
        state.wanted = Wanted::Now;
        let awaited = state.begun + 1;
        self.shared.changed.notify_all();
        let outcome = self
            .shared
            .changed
            .wait_timeout_while(state, FLUSH_PATIENCE, |state| state.ended < awaited);
        drop(outcome);
    }

    /// Has the files opened again by the next round, which begins now.
    pub(super) fn reopen(&self) {
        let mut state = lock(&self.shared.state);
        state.reopen = true;
        state.wanted = Wanted::Now;
        self.shared.changed.notify_all();
    }

    /// Writes to these from the next round on, which begins now; what is queued goes there too.
    pub(super) fn replace(&self, sinks: Sinks) {
        let mut state = lock(&self.shared.state);
        state.sinks = Some(sinks);
        state.wanted = Wanted::Now;
        self.shared.changed.notify_all();
    }

    /// Lines that could not be written.
    pub(super) fn lost(&self, stream: Stream) -> u64 {
        self.shared.lost.of(stream).load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
    }
}

impl Queue {
    /// Queues a line if there is room, and else drops it and counts that.
    pub(super) fn offer(&self, line: &[u8]) {
        let mut bytes = lock(&self.lines.bytes);
        if self.is_full(&bytes) {
            return self.shared.lost.add(self.lines.stream, 1);
        }
        let before = bytes.len();
        bytes.extend_from_slice(line);
        let after = bytes.len();
        drop(bytes);
        let half = self.shared.bounds.bytes / 2;
        if before < half && after >= half {
            self.shared.want(Wanted::Now);
        } else if before == 0 {
            self.shared.want(Wanted::Soon);
        }
    }

    /// Queues a line, having waited a moment for room if there is none.
    pub(super) fn insist(&self, line: &[u8]) {
        if self.is_full(&lock(&self.lines.bytes)) {
            self.shared.want(Wanted::Now);
            let outcome = self.shared.changed.wait_timeout_while(
                lock(&self.shared.state),
                self.shared.bounds.patience,
                |_| self.is_full(&lock(&self.lines.bytes)),
            );
            drop(outcome);
        }
        lock(&self.lines.bytes).extend_from_slice(line);
        self.shared.want(Wanted::Now);
    }

    fn is_full(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.shared.bounds.bytes
    }
}

impl Shared {
    fn want(&self, wanted: Wanted) {
        let mut state = lock(&self.state);
        if state.wanted < wanted {
            state.wanted = wanted;
            self.changed.notify_all();
        }
    }

    /// The life of the writing thread: round after round until it is closed.
    fn run(&self, mut sinks: Sinks) {
        let mut batch = Vec::new();
        while let Some(change) = self.next_round() {
            match change {
                Change::None => {}
                Change::Reopen => sinks.reopen(),
                Change::Replace(others) => sinks = others,
            }
            let queues = lock(&self.queues).clone();
            for lines in queues {
                std::mem::swap(&mut *lock(&lines.bytes), &mut batch);
                self.tell();
                let lost = sinks.write(lines.stream, &batch);
                self.lost.add(lines.stream, lost);
                batch.clear();
            }
            self.end_round();
        }
    }

    /// Tells whoever waits for room. The lock keeps this from falling between a look and a sleep.
    fn tell(&self) {
        let _state = lock(&self.state);
        self.changed.notify_all();
    }

    fn end_round(&self) {
        let mut state = lock(&self.state);
        state.ended = state.begun;
        self.changed.notify_all();
    }

    /// Waits until a round is wanted, and with what files it begins. None: closed.
    fn next_round(&self) -> Option<Change> {
        let idle = |state: &mut State| state.wanted == Wanted::Never && !state.closed;
        let soon = |state: &mut State| state.wanted == Wanted::Soon && !state.closed;
        let state = lock(&self.state);
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, self.bounds.linger, soon)
            .unwrap_or_else(PoisonError::into_inner);
        if state.wanted == Wanted::Never {
            return None;
        }
        state.wanted = Wanted::Never;
        state.begun += 1;
        let reopen = std::mem::take(&mut state.reopen);
        Some(match state.sinks.take() {
            Some(sinks) => Change::Replace(sinks),
            None if reopen => Change::Reopen,
            None => Change::None,
        })
    }
}

/// What a process that ends waits for an output that got stuck.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_secs(2);
