//! Connections to upstreams, a pool per worker and upstream.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::link::Link;
use super::resolve::Place;
use super::sent::Sent;
use super::{AnswerBody, Outbound, exchange};
use crate::config::Upstream;
use crate::policy::UpstreamId;
use crate::request::Upload;

/// A worker's connections. Single-threaded.
#[derive(Debug)]
pub struct Pools(Box<[Rc<Pool>]>);

/// Why there is no answer. The texts are for the log, never for the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// 502: refused, reset, no such name.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// 502: what it sent is no answer, or ended early.
    #[error("no valid answer: {0}")]
    Answer(String),
    /// 504.
    #[error("timed out")]
    TimedOut,
    /// 503: every connection is in use.
    #[error("all connections are in use")]
    Full,
    /// The client's upload was cut: 413, 408, or it went away.
    #[error("the upload ended early")]
    Upload,
}

impl Pools {
    /// Pools for these upstreams; `workers` share each upstream's `max_connections`. Fails if an
    /// upstream has a name and the system's resolver configuration cannot be read.
    pub fn new(upstreams: &[Upstream], workers: usize) -> io::Result<Self> {
        let mut resolver = None;
        let pools = upstreams.iter().map(|upstream| {
            let place = Place::new(upstream, &mut resolver)?;
            Ok(Rc::new(Pool::new(upstream, place, workers)))
        });
        Ok(Self(pools.collect::<io::Result<_>>()?))
    }

    /// Sends the request and gives the head of the answer, the body streaming. Dropping the future
    /// or the body ends the request at once, on the upstream's side too.
    pub async fn send(
        &self,
        outbound: Outbound,
        upload: Upload<Incoming>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let UpstreamId(id) = outbound.upstream();
        let pool = self.0.get(id).ok_or_else(|| Failure::Connect("no such upstream".to_owned()))?;
        upload.check_declared().map_err(|_fault| Failure::Upload)?;
        let state = (!http_body::Body::is_end_stream(&upload)).then(|| upload.state());
        let (head, rules) = outbound.into_head();
        let answer = exchange::carry(pool, Sent::frame(head, upload), state).await?;
        Ok(answer.map(|body| body.with_rules(rules)))
    }
}

/// The connections of one worker to one upstream.
pub(super) struct Pool {
    place: Place,
    client: http1::Builder,
    limits: Limits,
    open: Cell<usize>,
    /// The one used last is taken first, so that the rest can grow old.
    idle: RefCell<Vec<(Instant, Box<Link>)>>,
    swept: Cell<bool>,
}

/// What the configuration says of an upstream's connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    connect: Duration,
    pub(super) response: Option<Duration>,
    pub(super) idle: Duration,
    max_idle: Duration,
    connections: usize,
}

impl Pool {
    fn new(upstream: &Upstream, place: Place, workers: usize) -> Self {
        let mut client = http1::Builder::new();
        client
            .max_header_size(MOST_HEAD_BYTES)
            .title_case_headers(upstream.title_case)
            .allow_spaces_after_header_name_in_responses(upstream.tolerate_space_before_colon)
            .allow_obsolete_multiline_headers_in_responses(upstream.tolerate_folded_lines)
            .ignore_invalid_headers_in_responses(upstream.tolerate_invalid_names);
        let limits = Limits {
            connect: upstream.connect_timeout.min(A_YEAR),
            response: upstream.response_timeout.map(|limit| limit.min(A_YEAR)),
            idle: upstream.idle_timeout.min(A_YEAR),
            max_idle: upstream.max_idle.min(A_YEAR),
            connections: (upstream.max_connections / workers.max(1)).max(1),
        };
        let (open, idle, swept) = (Cell::new(0), RefCell::default(), Cell::new(false));
        Self { place, client, limits, open, idle, swept }
    }

    pub(super) fn client(&self) -> &http1::Builder {
        &self.client
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A connection used before, if there is one that is not too old.
    pub(super) fn take(&self) -> Option<Box<Link>> {
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
    pub(super) async fn connect(self: &Rc<Self>) -> Result<Box<Link>, Failure> {
        let lease = Lease::take(self).ok_or(Failure::Full)?;
        let stream = self.place.connect(self.limits.connect).await?;
        stream.set_nodelay(true).map_err(|cause| Failure::Connect(cause.to_string()))?;
        Link::open(stream, lease).await
    }

    /// Keeps a connection after a clean end.
    pub(super) fn keep(self: &Rc<Self>, link: Box<Link>) {
        self.idle.borrow_mut().push((Instant::now(), link));
        if !self.swept.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self), self.limits.max_idle));
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

/// A place among the connections that may be open.
pub(super) struct Lease(Rc<Pool>);

impl Lease {
    fn take(pool: &Rc<Pool>) -> Option<Self> {
        let open = pool.open.get();
        if open >= pool.limits.connections {
            return None;
        }
        pool.open.set(open.saturating_add(1));
        Some(Self(Rc::clone(pool)))
    }

    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

/// The largest head of an answer.
const MOST_HEAD_BYTES: usize = 64 * 1024;
/// No time-out is longer: a moment beyond the clock's reach cannot be waited for.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
