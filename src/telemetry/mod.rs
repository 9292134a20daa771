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
mod line;
mod metrics;
mod output;
mod process;
mod request_id;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use access::{Decision, Exchange};
pub use audit::{Audit, AuditEvent};
pub use diagnostics::diagnostics;
pub use metrics::{Counter, Gauge};
pub use request_id::RequestId;

use self::cells::{Cells, WorkerCells};
use self::exposition::Page;
use self::output::{Bounds, Queue, Sink, Sinks, Stream, Writer};
use crate::clock::{Clock, Timestamp};
use crate::config::{Log, LogFormat};

/// Owns the outputs and the registry; one for the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Telemetry(Arc<Core>);

#[derive(Debug)]
struct Core {
    clock: Clock,
    started: Timestamp,
    log: Log,
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    /// What is counted outside of the workers.
    apart: Mutex<Cells>,
    gauges: Mutex<BTreeMap<Gauge, f64>>,
    audit: Queue,
    writer: Writer,
}

impl Telemetry {
    /// Opens the outputs and starts the writing thread. The error names the file that cannot be opened.
    pub fn open(log: &Log, clock: &Clock) -> io::Result<Self> {
        let access = if log.access { Sink::open(&log.output)? } else { Sink::to(io::sink()) };
        let sinks = Sinks::new(access, Sink::open(&log.audit_output)?);
        Self::start(log, clock, sinks, Bounds::default())
    }

    fn start(log: &Log, clock: &Clock, sinks: Sinks, bounds: Bounds) -> io::Result<Self> {
        let writer = Writer::start(sinks, bounds)?;
        Ok(Self(Arc::new(Core {
            clock: clock.clone(),
            started: clock.now(),
            log: log.clone(),
            workers: Mutex::default(),
            apart: Mutex::default(),
            gauges: Mutex::default(),
            audit: writer.queue(Stream::Audit),
            writer,
        })))
    }

    /// The handle of one worker (single-threaded).
    pub fn worker(&self) -> Worker {
        let cells = Arc::<WorkerCells>::default();
        lock(&self.0.workers).push(Arc::clone(&cells));
        Worker(Rc::new(Desk {
            cells,
            access: self.0.log.access.then(|| AccessLog {
                format: self.0.log.format,
                queue: self.0.writer.queue(Stream::Access),
                scratch: RefCell::default(),
            }),
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
        page.gauges(&lock(&self.0.gauges));
        page.lost_lines(&self.0.writer);
        page.process(self.0.started);
        page.into_text()
    }

    /// Sets a process-wide gauge. One that was never set is not shown.
    pub fn set(&self, gauge: Gauge, value: f64) {
        lock(&self.0.gauges).insert(gauge, value);
    }

    /// Adds one to a counter from outside of a worker. A counter without a label ignores it.
    pub fn count(&self, counter: Counter, label: &'static str) {
        lock(&self.0.apart).count(counter, label);
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
    /// None: there is no access log.
    access: Option<AccessLog>,
    core: Arc<Core>,
}

#[derive(Debug)]
struct AccessLog {
    format: LogFormat,
    queue: Queue,
    /// Taken, filled and put back for each line: no allocation, no borrow to get wrong.
    scratch: RefCell<Vec<u8>>,
}

impl Worker {
    /// Opens the record of one request, with a new request id.
    pub fn exchange(&self) -> Exchange {
        Exchange::open(Rc::clone(&self.0))
    }

    /// Adds one to a counter of this worker. A counter without a label ignores it.
    pub fn count(&self, counter: Counter, label: &'static str) {
        lock(&self.0.cells.cells).count(counter, label);
    }
}

/// Counts and lines stay usable after a panic elsewhere: each is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
