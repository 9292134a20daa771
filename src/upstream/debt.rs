//! Answers that hold connections, or streams of shared ones, since their clients read them slowly, and
//! which of these is cut off when others wait for a place.
//!
//! A client owes the reading of each piece that was handed out. It has as long as a piece takes at
//! [`RATE`], and what it was quick with it may be slow with later, up to a grace, which it has at first
//! and whenever it has taken all that there is. An upstream that sends nothing puts nobody into debt.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::revocation::Cut;
use crate::telemetry::{Counter, Worker};

/// The answers of a pool, as far as their clients are concerned.
#[derive(Debug)]
pub(super) struct Debts {
    open: RefCell<Vec<Rc<Debt>>>,
    grace: Duration,
}

/// What the client of the answer in one place owes.
#[derive(Debug, Default)]
pub(super) struct Debt {
    /// What was handed out, at least a head, has not been taken.
    held: Cell<bool>,
    /// A piece was handed out before.
    begun: Cell<bool>,
    /// When the latest piece should have been taken. None: no clock was asked yet.
    due: Cell<Option<Instant>>,
    reader: RefCell<Option<Reader>>,
    grace: Duration,
}

/// Whose answer it is.
struct Reader {
    cut: Rc<Cut>,
    telemetry: Worker,
}

impl Debts {
    /// None yet; `idle` is how long the upstream itself may be silent.
    pub(super) fn new(idle: Duration) -> Self {
        Self { open: RefCell::default(), grace: idle.min(LONGEST_GRACE) }
    }

    /// Of a new connection, or a stream.
    pub(super) fn open(&self) -> Rc<Debt> {
        let debt = Rc::new(Debt { grace: self.grace, ..Debt::default() });
        self.open.borrow_mut().push(Rc::clone(&debt));
        debt
    }

    /// That is closed.
    pub(super) fn close(&self, debt: &Rc<Debt>) {
        let mut open = self.open.borrow_mut();
        if let Some(at) = open.iter().rposition(|other| Rc::ptr_eq(other, debt)) {
            open.swap_remove(at);
        }
    }

    /// Cuts the answer that is most overdue, if any is.
    pub(super) fn shed(&self, now: Instant) {
        let open = self.open.borrow();
        let overdue = open.iter().filter_map(|debt| Some((debt.overdue(now)?, debt)));
        let most = overdue.min_by_key(|(due, _)| *due);
        // Taken, so that it is cut once, however long its task takes to end it.
        let reader = most.and_then(|(_, debt)| debt.reader.take());
        drop(open);
        if let Some(Reader { cut, telemetry }) = reader {
            cut.make();
            telemetry.count(Counter::StreamsCut, "slow");
        }
    }
}

impl Debt {
    /// An answer begins; until its body is asked for the client owes that, as it may give no window.
    pub(super) fn begin(&self, cut: &Rc<Cut>, telemetry: &Worker) {
        self.held.set(true);
        let reader = Reader { cut: Rc::clone(cut), telemetry: telemetry.clone() };
        self.reader.replace(Some(reader));
    }

    /// The client took all that was handed out, and asks for more.
    pub(super) fn pay(&self) {
        self.held.set(false);
    }

    /// A piece is handed out. Most answers end with their first one: for that no clock is asked.
    pub(super) fn lend(&self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.held.set(true);
        if self.begun.replace(true) {
            let (now, due) = (now(), self.due.get());
            let nanos =
                u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000_000) / RATE;
            let (earned, most) = (Duration::from_nanos(nanos), now + self.grace);
            self.due.set(Some(due.map_or(most, |due| (due.max(now) + earned).min(most))));
        }
    }

    /// The client has taken all that there is, and waits itself: time that it is not asked for uses up
    /// no credit. Not at each piece, or whoever takes one now and then would never be overdue.
    pub(super) fn rest(&self) {
        self.begun.set(false);
        self.due.set(None);
    }

    /// The answer has ended.
    pub(super) fn end(&self) {
        self.pay();
        self.rest();
        drop(self.reader.take());
    }

    /// Since when the client has kept a piece for too long.
    fn overdue(&self, now: Instant) -> Option<Instant> {
        if !self.held.get() || self.reader.borrow().is_none() {
            return None;
        }
        let due = self.due.get().unwrap_or(now + self.grace);
        self.due.set(Some(due));
        (due <= now).then_some(due)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cut.fmt(f)
    }
}

/// Bytes a second. Whoever reads faster is never cut, unless a grace is too short for a single piece:
/// up to 128 KiB are handed out at a time.
const RATE: u64 = 16 * 1024;
const LONGEST_GRACE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
