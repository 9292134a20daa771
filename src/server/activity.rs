//! What goes on on a connection, as seen from its socket and its service.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http_body::Body;
use tokio::time::Instant;

use super::Settings;
use super::stream::Took;

/// Shared by the socket, the service and the watch of one connection. Costs no look at the clock:
/// time is taken at the watch's ticks only.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests whose answers are not handed over whole.
    in_flight: Cell<u32>,
    /// A request was begun since the last tick.
    served: Cell<bool>,
    /// Bytes came that are no request yet.
    head_open: Cell<bool>,
    /// The client takes no more bytes for now.
    blocked: Cell<bool>,
    /// It took some since the last tick.
    took: Cell<bool>,
    /// The client has sent its last byte.
    ended: Cell<bool>,
    /// The request begun last had no body.
    bodiless: Cell<bool>,
}

impl Activity {
    /// Bytes came.
    pub(super) fn read(&self, count: usize) {
        if count == 0 {
            self.ended.set(true);
        } else if self.in_flight.get() == 0 {
            self.head_open.set(true);
        }
    }

    /// The client took bytes, or would take none.
    pub(super) fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        self.blocked.set(outcome.is_pending());
        if outcome.is_ready() {
            self.took.set(true);
        }
    }

    /// What was written before was pushed on towards the client, or waits for it.
    pub(super) fn pushed(&self, outcome: &Poll<io::Result<()>>, took: Took) {
        if outcome.is_pending() {
            self.blocked.set(true);
        } else if took == Took::Some {
            self.blocked.set(false);
        }
        if took == Took::Some {
            self.took.set(true);
        }
    }

    /// A request was read. It is over when the guard is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> InFlight {
        self.served.set(true);
        self.head_open.set(false);
        self.in_flight.set(self.in_flight.get().saturating_add(1));
        InFlight(Rc::clone(self))
    }

    /// What the request begun last is.
    pub(super) fn begun(&self, body: &impl Body) {
        self.bodiless.set(body.is_end_stream());
    }

    /// Whether nothing goes on: no head, no answer, and nothing waits for the client to take it.
    pub(super) fn is_silent(&self) -> bool {
        self.in_flight.get() == 0 && !self.blocked.get() && !self.head_open.get()
    }

    /// Whether hyper, which has just been polled and has not ended, can only be waiting for another
    /// request. After a request with a body it could also be about to close, since it was not read
    /// to its end: what comes then is the rest of that, and no request.
    pub(super) fn awaits_request(&self) -> bool {
        self.bodiless.get() && self.is_silent()
    }

    /// Whether a request was begun since this was asked last.
    pub(super) fn take_served(&self) -> bool {
        self.served.take()
    }

    /// Whether the client took bytes since this was asked last.
    pub(super) fn take_took(&self) -> bool {
        self.took.take()
    }

    /// Whether an answer is under way.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Whether the client takes no more bytes for now.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Whether the client has sent its last byte.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct InFlight(Rc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

/// Looks at a connection's activity now and then.
#[derive(Debug, Default)]
pub(super) struct Watch {
    head_since: Option<Instant>,
    blocked_since: Option<Instant>,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing.
    Goes,
    /// Nothing goes on: park it.
    Quiet,
    /// The head comes too slowly: close it.
    Late,
    /// The client has taken no byte for too long: reset it.
    Stalled,
}

impl Watch {
    /// Judges at a tick.
    pub(super) fn judge(
        &mut self,
        activity: &Activity,
        now: Instant,
        settings: &Settings,
    ) -> Judgement {
        if activity.served.take() {
            self.head_since = None;
        } else if activity.is_silent() {
            return Judgement::Quiet;
        }
        if activity.took.take() {
            self.blocked_since = None;
        }
        if lasts(activity.blocked.get(), &mut self.blocked_since, now) >= settings.idle_timeout {
            return Judgement::Stalled;
        }
        if lasts(activity.head_open.get(), &mut self.head_since, now) >= settings.header_timeout {
            return Judgement::Late;
        }
        Judgement::Goes
    }
}

/// For how long, by the ticks, a thing has been so; zero at the first.
fn lasts(is_so: bool, since: &mut Option<Instant>, now: Instant) -> Duration {
    if !is_so {
        *since = None;
        return Duration::ZERO;
    }
    now.saturating_duration_since(*since.get_or_insert(now))
}
