//! Access lines, audit lines, metrics and the operator's diagnostics, with their names defined once.
//!
//! The layers below do not log: they return values and problems. Nothing secret comes here, no
//! query string and no header, so that nothing secret can leave by a log. A worker counts in cells
//! of its own, which are summed when somebody asks; its lines are written by one thread beside it.

mod access;
mod audit;
mod cells;
mod diagnostics;
mod exposition;
mod facts;
mod hourly;
mod line;
mod metrics;
mod output;
mod process;
mod request_id;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use access::{Decision, Exchange};
pub use audit::{Audit, AuditEvent};
pub use diagnostics::{Diagnostics, diagnostics};
pub use hourly::Hourly;
pub use line::is_hostile;
pub use metrics::{Counter, Gauge, Timing};
pub use process::descriptor_limit;
pub use request_id::{RequestId, X_REQUEST_ID};

use self::cells::{Cells, WorkerCells};
use self::exposition::Page;
use self::hourly::Failing;
use self::output::{Bounds, Queue, Sink, Sinks, Stream, Writer};
use crate::clock::{Clock, Timestamp};
use crate::config::{Level, Log, LogFormat};

/// Owns the outputs and the registry; one for the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Telemetry(Arc<Core>);

#[derive(Debug)]
struct Core {
    clock: Clock,
    started: Timestamp,
    /// How workers begin.
    log: Log,
    /// Whether audit lines of level debug are written.
    debug: AtomicBool,
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    /// What is counted outside of the workers.
    apart: Mutex<Cells>,
    gauges: Mutex<BTreeMap<Gauge, f64>>,
    /// Upstream, server, and whether it is healthy.
    servers: Mutex<Vec<(Arc<str>, String, bool)>>,
    /// What the operator was warned of once.
    warned: Mutex<BTreeSet<String>>,
    audit: Queue,
    writer: Writer,
    stranger_told: Hourly,
    misdirected_told: Hourly,
    doubling_told: Hourly,
    accepting_told: Hourly,
    failing: Failing,
}

impl Telemetry {
    /// Opens the outputs and starts the writing thread. The error names the file that cannot be opened.
    pub fn open(log: &Log, clock: &Clock) -> io::Result<Self> {
        Self::start(log, clock, sinks(log, clock)?, Bounds::default())
    }

    /// Opens the outputs of another configuration, and writes nothing to them yet.
    pub fn prepare(&self, log: &Log) -> io::Result<Outputs> {
        Ok(Outputs { sinks: sinks(log, &self.0.clock)?, level: log.level })
    }

    /// Writes to these outputs from now on.
    pub fn adopt(&self, outputs: Outputs) {
        self.0.debug.store(outputs.level == Level::Debug, Ordering::Relaxed);
        self.0.writer.replace(outputs.sinks);
    }

    fn start(log: &Log, clock: &Clock, sinks: Sinks, bounds: Bounds) -> io::Result<Self> {
        let writer = Writer::start(sinks, bounds)?;
        Ok(Self(Arc::new(Core {
            clock: clock.clone(),
            started: clock.now(),
            log: log.clone(),
            debug: AtomicBool::new(log.level == Level::Debug),
            workers: Mutex::default(),
            apart: Mutex::default(),
            gauges: Mutex::default(),
            servers: Mutex::default(),
            warned: Mutex::default(),
            audit: writer.queue(Stream::Audit),
            writer,
            stranger_told: Hourly::default(),
            misdirected_told: Hourly::default(),
            doubling_told: Hourly::default(),
            accepting_told: Hourly::default(),
            failing: Failing::default(),
        })))
    }

    /// The handle of one worker (single-threaded).
    pub fn worker(&self) -> Worker {
        let cells = Arc::<WorkerCells>::default();
        lock(&self.0.workers).push(Arc::clone(&cells));
        Worker(Rc::new(Desk {
            cells,
            access: AccessLog {
                format: self.0.log.access.then_some(self.0.log.format),
                queue: self.0.writer.queue(Stream::Access),
                scratch: RefCell::default(),
            },
            generation: 1,
            core: Arc::clone(&self.0),
        }))
    }

    /// The audit stream.
    pub fn audit(&self) -> Audit {
        Audit::new(Arc::clone(&self.0))
    }

    /// The text of `/metrics` (Prometheus text format 0.0.4), all workers summed.
    pub fn render(&self) -> String {
        let mut sum = Cells::default();
        let mut active = 0;
        for worker in lock(&self.0.workers).iter() {
            sum.absorb(&lock(&worker.cells));
            active += worker.active();
        }
        sum.absorb(&lock(&self.0.apart));
        let mut page = Page::default();
        page.exchanges(&sum, active);
        page.counters(&sum);
        page.timings(&sum);
        page.gauges(&lock(&self.0.gauges));
        page.servers(&lock(&self.0.servers));
        page.lost_lines(&self.0.writer);
        page.process(self.0.started);
        page.into_text()
    }

    /// Sets a process-wide gauge. One that was never set is not shown.
    pub fn set(&self, gauge: Gauge, value: f64) {
        lock(&self.0.gauges).insert(gauge, value);
    }

    /// Tells of every server of every upstream whether it is healthy.
    pub fn set_servers(&self, servers: impl Iterator<Item = (Arc<str>, String, bool)>) {
        *lock(&self.0.servers) = servers.collect();
    }

    /// Adds one to a counter from outside of a worker. A counter without a label ignores it.
    pub fn count(&self, counter: Counter, label: &'static str) {
        lock(&self.0.apart).count(counter, label);
    }

    /// Notes a duration that is no request's. A timing without a label ignores it.
    pub fn time(&self, timing: Timing, label: &'static str, took: Duration) {
        lock(&self.0.apart).time(timing, label, took);
    }

    /// Tells the operator that connections cannot be accepted, about once an hour, with the remedy.
    pub fn cannot_accept(&self, cause: &io::Error) {
        self.0.cannot_accept(cause);
    }

    /// Writes out all that is queued, then returns: before the process ends. Gives up after two
    /// seconds, should an output have got stuck.
    pub fn flush(&self) {
        self.0.writer.flush();
    }

    /// Opens the files again under their names, after something has rotated them away. Where that
    /// fails, the open file stays in use and the operator is told.
    pub fn reopen(&self) {
        self.0.writer.reopen();
    }
}

/// A worker's own cells and line buffer; cheap to clone (`Rc`).
#[derive(Clone, Debug)]
pub struct Worker(Rc<Desk>);

#[derive(Debug)]
struct Desk {
    cells: Arc<WorkerCells>,
    access: AccessLog,
    /// Of the configuration that its requests are served by.
    generation: u64,
    core: Arc<Core>,
}

#[derive(Debug)]
struct AccessLog {
    /// None: there is no access log.
    format: Option<LogFormat>,
    queue: Queue,
    /// Taken, filled and put back for each line: no allocation, no borrow to get wrong.
    scratch: RefCell<Vec<u8>>,
}

impl Worker {
    /// Opens the record of one request, with a new request id.
    pub fn exchange(&self) -> Box<Exchange> {
        Box::new(Exchange::open(Rc::clone(&self.0)))
    }

    /// The same worker under another configuration, which is the `generation`th since the start.
    #[must_use]
    pub fn renewed(&self, log: &Log, generation: u64) -> Self {
        let desk = &self.0;
        let access = AccessLog {
            format: log.access.then_some(log.format),
            queue: desk.access.queue.clone(),
            scratch: RefCell::default(),
        };
        let (cells, core) = (Arc::clone(&desk.cells), Arc::clone(&desk.core));
        Self(Rc::new(Desk { cells, access, generation, core }))
    }

    /// Whether no worker of this process has asked so about a subject before: to warn of it once.
    pub fn is_news(&self, subject: &str) -> bool {
        let mut warned = lock(&self.0.core.warned);
        !warned.contains(subject) && warned.insert(subject.to_owned())
    }

    /// Adds one to a counter of this worker. A counter without a label ignores it.
    pub fn count(&self, counter: Counter, label: &'static str) {
        lock(&self.0.cells.cells).count(counter, label);
    }
}

/// The outputs of a configuration, open and not yet in use.
#[derive(Debug)]
pub struct Outputs {
    sinks: Sinks,
    level: Level,
}

impl Core {
    fn tells_debug(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }
}

fn sinks(log: &Log, clock: &Clock) -> io::Result<Sinks> {
    let access = if log.access { Sink::open(&log.output, clock)? } else { Sink::to(io::sink()) };
    Ok(Sinks::new(access, Sink::open(&log.audit_output, clock)?))
}

/// Counts and lines stay usable after a panic elsewhere: each is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
