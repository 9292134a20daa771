//! The hashing threads: as many hashes at once as there are threads, a bounded queue before them.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use super::hash::{Memory, OURS};
use super::seats::{Asker, Seat, Seats};
use super::{Cost, Password, PasswordHash, Typed};
use crate::clock::Clock;

/// The hashing threads, lower in priority than the workers. Clones share them; dropping the last
/// one ends them.
#[derive(Clone, Debug)]
pub struct Hasher {
    jobs: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    seats: Arc<Seats>,
    decoy: PasswordHash,
}

/// How many hashes may be made and wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At once.
    pub threads: usize,
    /// Waiting.
    pub queue: usize,
    /// Waiting for the strangers of one /24 or /48.
    pub queue_per_network: usize,
}

/// Measures each hash by a clock and tells it, also where whoever asked for it has left meanwhile.
#[derive(Clone)]
pub struct Meter {
    clock: Clock,
    tell: Arc<Tell>,
}

type Tell = dyn Fn(&'static str, Duration) + Send + Sync;

impl Meter {
    /// `tell` gets the algorithm's name, and how long the hash took.
    pub fn new(
        clock: &Clock,
        tell: impl Fn(&'static str, Duration) + Send + Sync + 'static,
    ) -> Self {
        Self { clock: clock.clone(), tell: Arc::new(tell) }
    }

    fn measure<T>(&self, algorithm: &'static str, hash: impl FnOnce() -> T) -> T {
        let begun = self.clock.uptime();
        let outcome = hash();
        (self.tell)(algorithm, self.clock.uptime().saturating_sub(begun));
        outcome
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

/// The queue is full: 503 with Retry-After, never 401.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("too many logins are waiting")]
pub struct Busy;

impl Hasher {
    /// Starts the threads and makes the decoy hash.
    pub fn start(cost: Cost, bounds: Bounds, meter: &Meter) -> io::Result<Self> {
        let refused = |bad| io::Error::new(io::ErrorKind::InvalidInput, bad);
        let decoy = PasswordHash::decoy(cost).map_err(refused)?;
        let kept = cost.blocks().map_err(refused)?;
        let (jobs, queue) = sync_channel(bounds.queue);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..bounds.threads.max(1) {
            let queue = Arc::clone(&queue);
            let bench = Bench { cost, memory: Memory::keeping(kept), meter: meter.clone() };
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || serve(&queue, bench))?;
        }
        let seats = Arc::new(Seats::new(bounds.queue, bounds.queue_per_network));
        Ok(Self { jobs, waiting: Arc::default(), seats, decoy })
    }

    /// Whether the password is that of the hash; without a hash (unknown or disabled user), or for
    /// what cannot be a password of it, this costs what a new hash costs and is false.
    pub async fn verify(
        &self,
        typed: Typed,
        hash: Option<PasswordHash>,
        asker: Asker,
    ) -> Result<bool, Busy> {
        let hash = hash.filter(|hash| hash.takes(&typed));
        let real = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        let matches = self.ask(asker, |reply| Work::Verify { typed, hash, reply }).await?;
        Ok(real && matches)
    }

    /// A new hash, for somebody known.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Busy> {
        self.ask(Asker::Known, |reply| Work::Create { password, reply }).await
    }

    /// Logins waiting or running, for the metric.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn ask<T>(
        &self,
        asker: Asker,
        work: impl FnOnce(oneshot::Sender<T>) -> Work,
    ) -> Result<T, Busy> {
        let (reply, answer) = oneshot::channel();
        let seat = self.seats.take(asker).map_err(|_full| Busy)?;
        let job = Job { work: work(reply), seat, _place: Place::take(&self.waiting) };
        match self.jobs.try_send(job) {
            Ok(()) => answer.await.map_err(|_thread_gone| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}

pub(super) struct Job {
    pub(super) work: Work,
    pub(super) seat: Seat,
    pub(super) _place: Place,
}

pub(super) enum Work {
    Verify { typed: Typed, hash: PasswordHash, reply: oneshot::Sender<bool> },
    Create { password: Password, reply: oneshot::Sender<PasswordHash> },
}

impl Work {
    /// A client that left needs no answer, and an answer that nobody takes is no failure.
    fn run(self, Bench { cost, memory, meter }: &mut Bench) {
        match self {
            Self::Verify { typed, hash, reply } if !reply.is_closed() => {
                let matches = meter.measure(hash.algorithm(), || hash.is_of(&typed, memory));
                let _gone = reply.send(matches);
            }
            Self::Create { password, reply } if !reply.is_closed() => {
                let made = || PasswordHash::create_with(&password, *cost, memory);
                if let Ok(hash) = meter.measure(OURS, made) {
                    let _gone = reply.send(hash);
                }
            }
            Self::Verify { .. } | Self::Create { .. } => {}
        }
    }
}

/// What one thread hashes with.
pub(super) struct Bench {
    pub(super) cost: Cost,
    pub(super) memory: Memory,
    pub(super) meter: Meter,
}

/// Counts a job from its queueing to its end, however it ends.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(super) fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One thread's life: until the last [`Hasher`] is gone and the queue is empty.
pub(super) fn serve(queue: &Mutex<Receiver<Job>>, mut bench: Bench) {
    yield_to_workers();
    while let Some(job) = next(queue) {
        let Job { work, seat, _place } = job;
        drop(seat);
        work.run(&mut bench);
    }
}

/// Idle threads wait for the lock, and the one that has it for a job.
fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// On Linux a thread has a priority of its own; elsewhere this would slow the whole process.
fn yield_to_workers() {
    #[cfg(target_os = "linux")]
    let _as_it_was = rustix::process::setpriority_process(None, 10);
}
