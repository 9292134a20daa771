//! Connections to one server that many requests share (HTTP/2, RFC 9113), few of them per worker.
//!
//! Not for what a request is on them: see [`stream`](super::stream). One task drives each
//! connection; who holds a [`Ticket`] may open one stream on it.

mod silence;
mod turns;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::PingPong;
use h2::client::{Builder, Connection, SendRequest};
use http::uri::Scheme;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Failure;
use super::debt::Debts;
use super::link::Link;
use super::pool::{Lease, MOST_HEAD_BYTES, Pool};
use super::queue::Queue;
use super::socket::Socket;
use super::tls::Offer;

pub(super) use turns::place;

/// What is known of a server's protocol, and its shared connections.
pub(super) struct Streams {
    speaks: Cell<Speaks>,
    open: RefCell<Vec<Rc<Shared>>>,
    /// One connection is made at a time; those who wait for it learn of its failure too, unless it
    /// only took longer than the request that made it could wait.
    connecting: Cell<bool>,
    attempts: Cell<usize>,
    failed: RefCell<Option<(usize, Failure)>>,
    /// Requests that wait for a place on one.
    queue: Queue,
    active: Cell<usize>,
    debts: Debts,
}

/// The version of HTTP that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// One request at a time.
    Http1,
    /// Many at a time.
    Http2,
    /// The next handshake tells (RFC 7301).
    Either,
}

/// With whom a request shares its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// With others.
    Allowed,
    /// With nobody, ever.
    Never,
}

struct Shared {
    /// None once no more requests may begin.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    active: Cell<usize>,
    /// Streams that its server takes at a time, as it was last heard to say.
    most: Cell<usize>,
    /// How often it has come into use after none.
    turns: Cell<usize>,
    /// Requests begun on it.
    begun: Cell<usize>,
    /// How often something came of its server.
    heard: Cell<usize>,
    idle_since: Cell<Instant>,
    /// Tells the driver that a stream has ended.
    ended: Notify,
    lease: Lease,
}

impl Streams {
    /// Nothing is connected yet.
    pub(super) fn new(speaks: Speaks, idle: Duration) -> Self {
        Self {
            speaks: Cell::new(speaks),
            open: RefCell::default(),
            connecting: Cell::new(false),
            attempts: Cell::new(0),
            failed: RefCell::default(),
            queue: Queue::default(),
            active: Cell::new(0),
            debts: Debts::new(idle),
        }
    }

    /// What those owe who read its answers.
    pub(super) fn debts(&self) -> &Debts {
        &self.debts
    }

    /// Requests that each connection carries at a time, as far as is known.
    pub(super) fn each(&self) -> usize {
        let said = self.open.borrow().iter().map(|shared| shared.most.get()).min();
        said.unwrap_or(1).clamp(1, MOST_STREAMS)
    }

    /// What the server is known to speak.
    pub(super) fn speaks(&self) -> Speaks {
        self.speaks.get()
    }

    /// Whether a connection is being made.
    pub(super) fn is_connecting(&self) -> bool {
        self.connecting.get()
    }

    /// Connections.
    pub(super) fn connections(&self) -> usize {
        self.open.borrow().len()
    }

    /// Requests under way on them.
    pub(super) fn active(&self) -> usize {
        self.active.get()
    }

    /// Requests that wait for one.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Something may have become free: wakes as many as there is room for, who has waited longest
    /// first. To be told wherever room may appear: whoever is asleep relies on it.
    pub(super) fn tell_next(&self, pool: &Pool) {
        if !self.queue.is_empty() {
            let woken = self.queue.woken();
            (woken..self.room(pool).min(self.queue.len())).for_each(|_| self.queue.wake_next());
        }
    }

    /// Wakes all who wait: there is something to tell them.
    fn tell_all(&self) {
        (self.queue.woken()..self.queue.len()).for_each(|_| self.queue.wake_next());
    }

    /// Requests that may begin now, one of them by making a connection.
    fn room(&self, pool: &Pool) -> usize {
        let open = self.open.borrow();
        let room = open.iter().map(|shared| shared.room(pool.max_idle()));
        room.sum::<usize>().saturating_add(usize::from(self.may_connect(pool)))
    }

    /// Whether another connection may be made for requests that share it.
    fn may_connect(&self, pool: &Pool) -> bool {
        !self.connecting.get() && !pool.has_queue() && pool.has_place()
    }

    /// Begins no more requests at addresses that are no longer meant.
    pub(super) fn leave(&self, is_left: impl Fn(&Lease) -> bool) {
        let left: Vec<_> =
            self.open.borrow().iter().filter(|shared| is_left(&shared.lease)).cloned().collect();
        for shared in left {
            self.retire(&shared);
        }
    }

    /// Whether a request may begin on one, or on the one that is being made.
    pub(super) fn has_room(&self, max_idle: Duration) -> bool {
        self.connecting.get() || self.open.borrow().iter().any(|shared| shared.has_room(max_idle))
    }

    fn take(&self, max_idle: Duration) -> Option<Ticket> {
        let open = self.open.borrow();
        let shared = open.iter().find(|shared| shared.has_room(max_idle))?;
        Some(Ticket::new(shared, (Age::Used, Sharing::Allowed)))
    }

    fn retire(&self, shared: &Rc<Shared>) {
        self.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, shared));
        // The connection says farewell when nothing is left that could begin a request.
        shared.sender.take();
        shared.ended.notify_one();
    }

    fn failure(&self, attempt: usize) -> Option<Failure> {
        self.failed.borrow().as_ref().filter(|(at, _)| *at >= attempt).map(|(_, why)| why.clone())
    }
}

impl Shared {
    fn has_room(&self, max_idle: Duration) -> bool {
        self.room(max_idle) > 0
    }

    /// Requests that may begin on it.
    fn room(&self, max_idle: Duration) -> usize {
        let sender = self.sender.borrow();
        let active = self.active.get();
        let grown_old = active == 0 && self.idle_since.get().elapsed() >= max_idle;
        match &*sender {
            Some(sender) if !grown_old => {
                sender.current_max_send_streams().min(MOST_STREAMS).saturating_sub(active)
            }
            Some(_) | None => 0,
        }
    }

    /// Who waits is told where the server takes more streams than before.
    fn look_at_limit(&self) {
        let now = self.sender.borrow().as_ref().map_or(0, SendRequest::current_max_send_streams);
        if self.most.replace(now) < now {
            let pool = self.lease.pool();
            pool.streams().tell_next(pool);
        }
    }

    /// Waits until nothing has used it for so long, or nothing will any more.
    async fn wear_out(&self, max_idle: Duration) {
        loop {
            let ended = self.ended.notified();
            if self.active.get() > 0 {
                ended.await;
                continue;
            }
            let end = self.idle_since.get() + max_idle;
            if self.sender.borrow().is_none() || Instant::now() >= end {
                return;
            }
            tokio::select! { () = ended => {}, () = sleep_until(end) => {} }
        }
    }
}

/// A new connection, driven by a task of its own.
async fn connect(lease: Lease, end: Instant) -> Result<Option<Rc<Shared>>, Failure> {
    let pool = Rc::clone(lease.pool());
    let limit = end.saturating_duration_since(Instant::now());
    let socket = Pool::socket(&lease, Offer::Both, limit).await?;
    if socket.speaks(pool.streams().speaks()) == Speaks::Http1 {
        pool.streams().speaks.set(Speaks::Http1);
        pool.streams().tell_all();
        pool.keep(Link::open(socket, lease).await?);
        return Ok(None);
    }
    pool.streams().speaks.set(Speaks::Http2);
    let told = |cause: h2::Error| Failure::Connect(cause.to_string());
    let begun = timeout_at(end, client().handshake(socket)).await;
    let (sender, connection) = begun.map_err(|_elapsed| Failure::TimedOut)?.map_err(told)?;
    let shared = Rc::new(Shared {
        sender: RefCell::new(Some(sender)),
        active: Cell::new(0),
        most: Cell::new(MOST_STREAMS),
        turns: Cell::new(0),
        begun: Cell::new(0),
        heard: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        ended: Notify::new(),
        lease,
    });
    tokio::task::spawn_local(drive(connection, Rc::clone(&shared)));
    Ok(Some(shared))
}

/// So bounded that no answer can hold more than its window, and none can use up another's.
fn client() -> Builder {
    let mut client = Builder::new();
    client
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MOST_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_send_buffer_size(MOST_UNSENT)
        .initial_max_send_streams(MOST_STREAMS);
    client
}

/// Runs until the connection breaks or nothing uses it.
async fn drive(mut connection: Connection<Socket, Bytes>, shared: Rc<Shared>) {
    let pings = connection.ping_pong();
    let mut running = pin!(poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        shared.look_at_limit();
        polled
    }));
    let max_idle = shared.lease.pool().max_idle();
    let ended = tokio::select! {
        _ended = &mut running => true,
        () = shared.wear_out(max_idle) => false,
        never = watch(pings, &shared) => match never {},
    };
    shared.lease.pool().streams().retire(&shared);
    if !ended {
        let _either_way = timeout(FAREWELL, running).await;
    }
}

/// Lets no request begin where the server gives no sign of life. Those under way keep their own
/// time-outs: it may only be busy.
async fn watch(pings: Option<PingPong>, shared: &Rc<Shared>) -> Infallible {
    if let Some(pings) = pings
        && shared.fall_silent(pings).await.is_ok()
    {
        shared.lease.pool().streams().retire(shared);
    }
    pending().await
}

/// One request's place on a connection.
pub(super) struct Ticket {
    shared: Rc<Shared>,
    age: Age,
    sharing: Sharing,
    /// As much had been heard on the connection when this request was last heard of, or began.
    heard: Cell<usize>,
}

/// Whether a connection has carried a request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It may have died of age.
    Used,
    /// It has just been made.
    New,
}

impl Ticket {
    fn new(shared: &Rc<Shared>, (age, sharing): (Age, Sharing)) -> Self {
        let streams = shared.lease.pool().streams();
        streams.active.set(streams.active.get().saturating_add(1));
        if shared.active.get() == 0 {
            shared.turns.set(shared.turns.get().wrapping_add(1));
        }
        shared.begun.set(shared.begun.get().wrapping_add(1));
        shared.active.set(shared.active.get().saturating_add(1));
        let heard = Cell::new(shared.heard.get());
        Self { shared: Rc::clone(shared), age, sharing, heard }
    }

    /// What opens a stream; None: the connection takes no more.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.shared.sender.borrow().clone()
    }

    /// Of the requests on this connection.
    pub(super) fn scheme(&self) -> Scheme {
        if self.shared.lease.pool().is_encrypted() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Of those who read answers of this server.
    pub(super) fn debts(&self) -> &Debts {
        self.shared.lease.pool().streams().debts()
    }

    pub(super) fn age(&self) -> Age {
        self.age
    }

    /// Something came of the server for this request.
    pub(super) fn hear(&self) {
        self.shared.heard.set(self.shared.heard.get().wrapping_add(1));
        self.heard.set(self.shared.heard.get());
    }

    /// The server has kept this request waiting for too long. If nothing came for anybody else
    /// either, it may be the connection that is dead, and nobody would tell.
    pub(super) fn time_out(&self) {
        if self.heard.get() == self.shared.heard.get() {
            self.retire();
        }
    }

    /// No further request begins on this connection.
    pub(super) fn retire(&self) {
        self.shared.lease.pool().streams().retire(&self.shared);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (shared, streams) = (&self.shared, self.shared.lease.pool().streams());
        streams.active.set(streams.active.get().saturating_sub(1));
        shared.active.set(shared.active.get().saturating_sub(1));
        shared.idle_since.set(Instant::now());
        if self.sharing == Sharing::Never {
            // Nobody else may have it, whatever became of the request.
            streams.retire(shared);
        } else {
            shared.ended.notify_one();
        }
        streams.tell_next(shared.lease.pool());
    }
}

/// Requests at a time on one connection.
pub(super) const MOST_STREAMS: usize = 100;
const STREAM_WINDOW: u32 = 128 * 1024;
/// Every stream's window at once, so that a client that does not read holds up nobody else.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
const MOST_UNSENT: usize = 128 * 1024;
const FAREWELL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
