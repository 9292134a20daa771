//! Connections to one server, a pool per worker.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Failure;
use super::debt::{Debt, Debts};
use super::link::Link;
use super::queue::{Queue, Turn};
use super::resolve::Place;
use super::socket::Socket;
use super::standing::{Record, Standing};
use super::streams::{MOST_STREAMS, Speaks, Streams};
use super::terms::{A_YEAR, Waits};
use super::tls::Offer;
use super::uploads::{UploadPlace, Uploads};
use crate::config::Upstream;

/// The connections of one worker to one server.
pub(super) struct Pool {
    place: Place,
    client: http1::Builder,
    limits: Limits,
    waits: Waits,
    standing: Arc<Standing>,
    record: Record,
    open: Cell<usize>,
    /// The one used last is taken first, so that the rest can grow old.
    idle: RefCell<Vec<(Instant, Box<Link>)>>,
    swept: Cell<bool>,
    /// Requests that wait for a place.
    queue: Queue,
    debts: Debts,
    uploads: Uploads,
    streams: Streams,
    /// Where its name led when it was last looked up; None: to wherever it was connected.
    addresses: RefCell<Option<Vec<IpAddr>>>,
    followed: Cell<bool>,
}

/// What the configuration says of a server's connections.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_idle: Duration,
    connections: usize,
}

/// Room for one request.
pub(super) enum Room {
    /// On a connection used before.
    Link(Box<Link>),
    /// On a new one.
    Lease(Lease),
}

impl Pool {
    /// Of a server of this upstream; `workers` share the upstream's `max_connections`.
    pub(super) fn new(
        upstream: &Upstream,
        place: Place,
        standing: Arc<Standing>,
        workers: usize,
    ) -> Self {
        let mut client = http1::Builder::new();
        client
            .max_header_size(MOST_HEAD_BYTES)
            .max_buf_size(BUFFER)
            .title_case_headers(upstream.title_case)
            .allow_spaces_after_header_name_in_responses(upstream.tolerate_space_before_colon)
            .allow_obsolete_multiline_headers_in_responses(upstream.tolerate_folded_lines)
            .ignore_invalid_headers_in_responses(upstream.tolerate_invalid_names);
        let limits = Limits {
            max_idle: upstream.max_idle.min(A_YEAR),
            connections: (upstream.max_connections / workers.max(1)).max(1),
        };
        Self {
            streams: Streams::new(place.speaks(), upstream.idle_timeout),
            place,
            client,
            limits,
            waits: Waits::of(upstream),
            standing,
            record: Record::default(),
            open: Cell::new(0),
            idle: RefCell::default(),
            swept: Cell::new(false),
            queue: Queue::default(),
            debts: Debts::new(upstream.idle_timeout),
            uploads: Uploads::default(),
            addresses: RefCell::default(),
            followed: Cell::new(false),
        }
    }

    pub(super) fn client(&self) -> &http1::Builder {
        &self.client
    }

    /// How long the upstream's requests wait, but for what their routes say.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether its checks and its record let it be asked.
    pub(super) fn is_usable(&self) -> bool {
        self.standing.is_up() && !self.record.is_left_out()
    }

    /// The connections that requests share.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Whether a request may share a connection, as far as is known.
    pub(super) fn may_share(&self) -> bool {
        self.streams.speaks() != Speaks::Http1
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.place.is_encrypted()
    }

    pub(super) fn max_idle(&self) -> Duration {
        self.limits.max_idle
    }

    /// Requests that may share connections at a time.
    pub(super) fn most_streams(&self) -> usize {
        self.limits.connections.saturating_mul(MOST_STREAMS)
    }

    /// Requests under way.
    pub(super) fn busy(&self) -> usize {
        let resting = self.idle.borrow().len().saturating_add(self.streams.connections());
        self.open.get().saturating_sub(resting).saturating_add(self.streams.active())
    }

    /// Whether the next request would have to wait.
    pub(super) fn is_full(&self) -> bool {
        if !self.may_share() {
            return self.busy() >= self.limits.connections;
        }
        // Tunnels share none, and may hold every connection.
        let has_connection = self.has_place() || self.streams.has_room(self.max_idle());
        !has_connection || self.busy() >= self.most_streams()
    }

    /// Whether another connection may be made.
    pub(super) fn has_place(&self) -> bool {
        self.open.get() < self.limits.connections
    }

    /// Whether an upload of this client's would have to wait for others of its network.
    pub(super) fn has_most_uploads_of(&self, client: IpAddr) -> bool {
        self.uploads.are_most_of(client)
    }

    /// Lets an upload in, once its client's network holds less than half of the places with
    /// unfinished ones: else a few stalled uploads would keep everybody else out.
    pub(super) async fn admit(
        &self,
        client: IpAddr,
        patience: Duration,
    ) -> Result<UploadPlace, Failure> {
        let most = (self.limits.connections.saturating_mul(self.streams.each()) / 2).max(1);
        let waiting = most.saturating_mul(MOST_WAITING);
        self.uploads.admit(client, (most, waiting), Instant::now() + patience).await
    }

    /// Room for a request, if there is any now and nobody waits for it.
    pub(super) fn room(self: &Rc<Self>) -> Option<Room> {
        if self.has_queue() { None } else { self.free_room() }
    }

    fn free_room(self: &Rc<Self>) -> Option<Room> {
        if let Some(link) = self.take() {
            return Some(Room::Link(link));
        }
        Lease::take(self).map(Room::Lease)
    }

    /// Whether somebody waits, and so comes before whoever has just come.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Waits for room, at most as long as for a connection.
    pub(super) async fn wait_for_room(
        self: &Rc<Self>,
        patience: Duration,
    ) -> Result<Room, Failure> {
        self.wait_for(Instant::now() + patience, || self.free_room()).await
    }

    /// Waits until something can be taken of what is given back here, after all who wait already.
    pub(super) async fn wait_for<T>(
        &self,
        end: Instant,
        take: impl Fn() -> Option<T>,
    ) -> Result<T, Failure> {
        if !self.has_queue()
            && let Some(taken) = take()
        {
            return Ok(taken);
        }
        let most = self.limits.connections.saturating_mul(MOST_WAITING);
        // Those for whom there is a place by now have only to be run.
        if self.queue.len() >= most.saturating_add(self.free()) {
            return Err(Failure::Full);
        }
        let waiting = Waiting::begin(self);
        let mut shed_at = first_shed();
        loop {
            self.turn(&waiting.turn, (end, &mut shed_at), &self.debts).await?;
            if let Some(taken) = take() {
                return Ok(taken);
            }
            waiting.again();
        }
    }

    /// Waits for a turn, and has the slowest reader of what is waited for cut meanwhile, from `shed_at` on.
    pub(super) async fn turn(
        &self,
        turn: &Turn,
        (end, shed_at): (Instant, &mut Instant),
        debts: &Debts,
    ) -> Result<(), Failure> {
        while timeout_at(end.min(*shed_at), turn.come()).await.is_err() {
            let now = Instant::now();
            if now >= end {
                return Err(Failure::Full);
            }
            // Who waits for a handshake is not waiting for a reader.
            if !self.streams.is_connecting() {
                debts.shed(now);
            }
            *shed_at = now + NEXT_SHED;
        }
        Ok(())
    }

    /// Places that nothing goes on in.
    fn free(&self) -> usize {
        // Borrowed where old connections are dropped, and their places told of: all of those are free.
        let idle = self.idle.try_borrow().map_or(1, |idle| idle.len());
        self.limits.connections.saturating_sub(self.open.get()).saturating_add(idle)
    }

    /// Requests that wait for a place.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What those owe who read its answers, each on a connection of its own.
    #[cfg(test)]
    pub(super) fn debts(&self) -> &Debts {
        &self.debts
    }

    /// A connection used before, if there is one that is not too old.
    fn take(&self) -> Option<Box<Link>> {
        let mut idle = self.idle.borrow_mut();
        let (since, link) = idle.pop()?;
        if since.elapsed() < self.limits.max_idle {
            return Some(link);
        }
        // All others are older.
        idle.clear();
        None
    }

    /// A new connection.
    pub(super) async fn connect(lease: Lease, limit: Duration) -> Result<Box<Link>, Failure> {
        let socket = Self::socket(&lease, Offer::Http1, limit).await?;
        Link::open(socket, lease).await
    }

    /// A new socket for whom this lease was given.
    pub(super) async fn socket(
        lease: &Lease,
        offer: Offer,
        limit: Duration,
    ) -> Result<Socket, Failure> {
        let socket = lease.pool().place.connect(limit, offer).await?;
        lease.peer.set(socket.peer());
        lease.pool().follow(socket.peer());
        Ok(socket)
    }

    /// Keeps a connection after a clean end.
    pub(super) fn keep(self: &Rc<Self>, link: Box<Link>) {
        if self.has_left(link.peer()) {
            return;
        }
        self.idle.borrow_mut().push((Instant::now(), link));
        self.tell_next();
        if !self.swept.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self), self.limits.max_idle));
        }
    }

    /// Whether the name no longer leads to this address.
    fn has_left(&self, peer: Option<IpAddr>) -> bool {
        let addresses = self.addresses.borrow();
        addresses.as_ref().zip(peer).is_some_and(|(known, peer)| !known.contains(&peer))
    }

    /// Looks the name up from time to time, as long as anything is connected.
    fn follow(self: &Rc<Self>, peer: Option<IpAddr>) {
        if self.has_left(peer) {
            // It has moved since it was last looked up.
            self.addresses.take();
        }
        if self.place.due().is_some() && !self.followed.replace(true) {
            tokio::task::spawn_local(follow(Rc::downgrade(self)));
        }
    }

    /// Closes what is idle at addresses that the name no longer leads to; the rest follows when
    /// its exchange ends.
    pub(super) async fn look_again(&self) {
        if let Some(addresses) = self.place.look_again().await {
            *self.addresses.borrow_mut() = Some(addresses);
            self.idle.borrow_mut().retain(|(_, link)| !self.has_left(link.peer()));
            self.streams.leave(|lease| self.has_left(lease.peer()));
        }
    }

    /// A place is free: wakes who has waited longest, of those for connections of their own first.
    fn tell_next(&self) {
        if self.has_queue() {
            self.queue.wake_next();
        } else {
            self.streams.tell_next(self);
        }
    }

    /// Closes what is too old; whether anything is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(since, _)| since.elapsed() < self.limits.max_idle);
        self.swept.set(!idle.is_empty());
        self.swept.get()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.place).field("open", &self.open).finish()
    }
}

/// Runs while anything is idle, so that a quiet upstream's connections are closed too.
async fn sweep(pool: Weak<Pool>, every: Duration) {
    loop {
        sleep(every).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep()) {
            return;
        }
    }
}

/// Runs while anything is connected.
async fn follow(pool: Weak<Pool>) {
    while let Some(due) = pool.upgrade().and_then(|pool| pool.place.due()) {
        sleep_until(due).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        if pool.open.get() == 0 {
            pool.followed.set(false);
            return;
        }
        pool.look_again().await;
    }
}

/// A request that waits for a place. When it is over, with a place or without, the next one is woken if
/// there is a place for it: what was freed while all who waited were woken nobody was told of.
struct Waiting<'a> {
    pool: &'a Pool,
    turn: Rc<Turn>,
}

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Pool) -> Self {
        Self { pool, turn: pool.queue.join() }
    }

    fn again(&self) {
        self.pool.queue.wait_again(&self.turn);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.queue.leave(&self.turn);
        if self.pool.free() > self.pool.queue.woken() {
            self.pool.tell_next();
        }
    }
}

/// A place among the connections that may be open.
pub(super) struct Lease {
    pool: Rc<Pool>,
    peer: Cell<Option<IpAddr>>,
    debt: Rc<Debt>,
}

impl Lease {
    pub(super) fn take(pool: &Rc<Pool>) -> Option<Self> {
        if !pool.has_place() {
            return None;
        }
        pool.open.set(pool.open.get().saturating_add(1));
        Some(Self { pool: Rc::clone(pool), peer: Cell::new(None), debt: pool.debts.open() })
    }

    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// The address that it is connected to.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer.get()
    }

    /// Of whoever reads the answer that comes by it.
    pub(super) fn debt(&self) -> &Debt {
        &self.debt
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.open.set(self.pool.open.get().saturating_sub(1));
        self.pool.debts.close(&self.debt);
        self.pool.tell_next();
    }
}

/// Requests that may wait for each place: a burst of many clients is over before any of them gives up,
/// and an application that is slow is not owed a longer queue.
const MOST_WAITING: usize = 8;

/// When a client that begins to wait now has the slowest reader cut off, if that one is too slow.
pub(super) fn first_shed() -> Instant {
    Instant::now() + FIRST_SHED
}

/// Not at once, since most places are free again in no time.
const FIRST_SHED: Duration = Duration::from_millis(250);
/// And when again, if nothing came of it.
const NEXT_SHED: Duration = Duration::from_millis(500);
/// The largest buffer of a connection. Of an answer three may be on their way at a time: hyper's
/// own, a piece that waits for the client, and one that is being written.
const BUFFER: usize = 128 * 1024;
/// The largest head of an answer.
pub(super) const MOST_HEAD_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
