//! The life of one connection: silent, busy, silent again, closed.
//!
//! While a client is silent its connection is a bare socket under a timer; hyper's buffers exist
//! only while something goes on. That parts the two time-outs as well: the header time-out is for
//! a head that has begun, the idle time-out for a client that is silent.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::activity::{Activity, InFlight, Judgement, Watch};
use super::bare::Bare;
use super::naming::Given;
use super::opening::{Opened, open};
use super::socket::Socket;
use super::stream::Stream;
use super::tunnel::{self, FarSide, Outcome};
use super::{ParseError, Service, Tls, h2};
use crate::request::Peer;
use crate::revocation::Cut;

/// What bounds connections.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A head must be whole so long after its first byte; a new connection must send one by then.
    /// Looked at once a second.
    pub header_timeout: Duration,
    /// A TLS handshake must be done so long after the connection.
    pub handshake_timeout: Duration,
    /// A silent keep-alive connection is closed then, and one whose client takes no byte.
    pub idle_timeout: Duration,
    /// Requests in flight when the drain begins have so long.
    pub drain_timeout: Duration,
    /// Largest head, bytes; beyond: 431.
    pub head_bytes: usize,
    /// Most header fields; beyond: 431.
    pub fields: usize,
}

impl Settings {
    /// Silent clients have so long of the drain's time.
    pub(super) fn grace(&self) -> Duration {
        self.drain_timeout / LAST_WORDS
    }
}

impl From<&crate::config::Server> for Settings {
    fn from(server: &crate::config::Server) -> Self {
        Self {
            header_timeout: server.header_timeout,
            handshake_timeout: server.tls_handshake_timeout,
            idle_timeout: server.idle_timeout,
            drain_timeout: server.drain_timeout,
            head_bytes: server.limit_headers,
            fields: server.limit_fields,
        }
    }
}

/// The settings in force, which may change: a connection takes those of the moment whenever its
/// client begins to speak. Clones are one.
#[derive(Clone, Debug)]
pub struct Tuning(Rc<Cell<Settings>>);

impl Tuning {
    /// Puts other settings into force.
    pub fn set(&self, settings: Settings) {
        self.0.set(settings);
    }

    pub(super) fn get(&self) -> Settings {
        self.0.get()
    }
}

impl From<Settings> for Tuning {
    fn from(settings: Settings) -> Self {
        Self(Rc::new(Cell::new(settings)))
    }
}

/// What the connections of a worker share.
pub(super) struct Shared<S> {
    service: Rc<S>,
    tuning: Tuning,
    tls: Option<Tls>,
    /// Answers that begin from now on are the last of their connections.
    draining: Cell<bool>,
}

impl<S> Shared<S> {
    pub(super) fn new(service: Rc<S>, tuning: Tuning, tls: Option<Tls>) -> Self {
        Self { service, tuning, tls, draining: Cell::new(false) }
    }

    /// Whether connections are to end with what is under way.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(super) fn service(&self) -> &Rc<S> {
        &self.service
    }

    pub(super) fn settings(&self) -> Settings {
        self.tuning.get()
    }

    /// How long a silent client is waited for, and how long of the drain.
    fn patience(&self) -> (Duration, Duration) {
        let settings = self.settings();
        (settings.idle_timeout, settings.grace())
    }

    /// Lets every connection end with its next answer.
    pub(super) fn drain(&self) {
        self.draining.set(true);
    }
}

fn http1(settings: &Settings) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // hyper's own header time-out would be the idle time-out too; ours is kept by the watch.
    http1
        .keep_alive(true)
        .half_close(false)
        .header_read_timeout(None)
        .max_header_size(settings.head_bytes)
        .max_buf_size(settings.head_bytes.saturating_add(LEAST_BUFFER).max(BUFFER));
    // Naming the default would cost an allocation for each request.
    if settings.fields != HYPERS_FIELDS {
        http1.max_headers(settings.fields);
    }
    http1
}

/// Serves a connection until it is closed.
pub(super) async fn serve<S: Service>(
    stream: Bare,
    peer: Peer,
    shared: Rc<Shared<S>>,
    mut drain: watch::Receiver<bool>,
) {
    // On the heap, as all that a parked connection does not need.
    let opened = Box::pin(opening(stream, &shared, &mut drain)).await;
    let (mut stream, mut rest) = match opened {
        Opened::Http1(stream, rest) => (stream, rest),
        Opened::Http2(stream, rest) => {
            return Box::pin(h2::serve((stream, rest), peer, shared)).await;
        }
        Opened::Closed(why) => {
            return why.into_iter().for_each(|why| shared.service.parse_error(why, peer));
        }
    };
    let mut pace = Pace::Slow;
    loop {
        // On the heap only while it lasts: a parked connection is to be small.
        let busy = Box::pin(busy(Socketful { stream, rest }, peer, &shared, pace));
        match busy.await {
            End::Parked(parked) => Socketful { stream, rest } = parked,
            End::Linger(stream) => return stream.linger().await,
            End::Tunnel(tunnel) => return tunnel.await,
            End::Reset(stream) => return stream.reset(),
            End::Gone => return,
        }
        let parked = Instant::now();
        if rest.is_empty() && !speaks(&mut stream, shared.patience(), &mut drain).await {
            return stream.close();
        }
        pace = Pace::after(parked.elapsed());
    }
}

/// How soon a client is expected to ask again, by its last pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Not soon: parked with its answer. Else many that come at once would all hold hyper's buffers
    /// at a time, and the allocator would keep the pages when they are gone.
    Slow,
    /// Soon: parked by the tick, so that it does not pay for new buffers with each request.
    Quick,
}

impl Pace {
    fn after(pause: Duration) -> Self {
        if pause < TICK { Self::Quick } else { Self::Slow }
    }
}

async fn opening<S>(stream: Bare, shared: &Shared<S>, drain: &mut watch::Receiver<bool>) -> Opened {
    open(stream, shared.tls.as_ref(), &shared.settings(), drain).await
}

/// Waits for a byte of the client's. False: close.
async fn speaks(
    stream: &mut Stream,
    patience: (Duration, Duration),
    drain: &mut watch::Receiver<bool>,
) -> bool {
    within(pin!(stream.speaks()), patience, drain).await.unwrap_or(false)
}

/// Waits for a silent client. None: close.
///
/// In the drain a client has the grace left: its request may be on its way, and closing under it
/// would lose it (RFC 9112 section 9.6).
pub(super) async fn within<T>(
    mut wait: impl Future<Output = T> + Unpin,
    (patience, grace): (Duration, Duration),
    drain: &mut watch::Receiver<bool>,
) -> Option<T> {
    tokio::select! {
        done = &mut wait => return Some(done),
        () = sleep(patience) => return None,
        _ = drain.wait_for(|draining| *draining) => {}
    }
    timeout(grace, wait).await.ok()
}

/// A socket, and what was read of it already.
struct Socketful {
    stream: Stream,
    rest: Bytes,
}

/// How a busy time ends.
enum End {
    /// The client is silent.
    Parked(Socketful),
    /// Closed by us; the client may still be sending.
    Linger(Stream),
    /// Cut.
    Reset(Stream),
    /// HTTP is over on it, and something else goes on.
    Tunnel(Pin<Box<dyn Future<Output = ()>>>),
    /// The client has gone.
    Gone,
}

async fn busy<S: Service>(from: Socketful, peer: Peer, shared: &Shared<S>, pace: Pace) -> End {
    let activity = Rc::new(Activity::default());
    let cut = Rc::new(Cut::default());
    let given = Given::of(&from.stream);
    let socket = Socket::new(from.stream, from.rest, Rc::clone(&activity));
    let opened = Cell::new(None);
    let handler = service_fn(|mut request: Request<Incoming>| {
        given.mark(&mut request);
        let in_flight = activity.begin();
        activity.begun(request.body());
        // Not in the future, which would carry the whole request along.
        let answer = Rc::clone(&shared.service).serve(request, peer, Rc::clone(&cut));
        let opened = &opened;
        async move {
            let mut answer = answer.await;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                opened.set(S::tunnel(answer.body_mut()));
            } else if shared.draining.get() {
                // Said before the end, so that no client sends another request into it.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let tracked = |body| Tracked { body, _in_flight: in_flight };
            Ok::<_, Infallible>(answer.map(tracked))
        }
    });
    let settings = shared.settings();
    let mut connection = http1(&settings).serve_connection(TokioIo::new(socket), handler);
    let pause = drive(&mut connection, (&activity, &cut), settings, pace).await;
    let parts = connection.into_parts();
    let Some(stream) = parts.io.into_inner().into_stream() else {
        return End::Gone;
    };
    // Nothing of a buffer still keeps it.
    let rest = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
    if let (Pause::Ended(Ok(())), Some(far)) = (&pause, opened.take()) {
        // A 101 that its client has not taken would be lost.
        return if activity.is_blocked() {
            End::Reset(stream)
        } else {
            End::Tunnel(Box::pin(through(Socketful { stream, rest }, far, cut)))
        };
    }
    match pause {
        Pause::Parked => End::Parked(Socketful { stream, rest }),
        Pause::Overdue if rest.is_empty() => End::Parked(Socketful { stream, rest }),
        Pause::Ended(Ok(())) if activity.has_ended() => End::Gone,
        Pause::Ended(Ok(())) => End::Linger(stream),
        Pause::Ended(Err(error)) if error.is_parse() => {
            let too_large = error.is_parse_too_large();
            let error = if too_large { ParseError::TooLarge } else { ParseError::Malformed };
            shared.service.parse_error(error, peer);
            End::Linger(stream)
        }
        Pause::Ended(Err(_)) | Pause::Stalled | Pause::Cut => End::Reset(stream),
        Pause::Late | Pause::Overdue => {
            shared.service.parse_error(ParseError::Late, peer);
            End::Gone
        }
    }
}

/// A tunnel to its end. Where the end is none, or this is dropped, both sides see a reset.
async fn through<F: FarSide>(near: Socketful, mut far: F, cut: Rc<Cut>) {
    let activity = Rc::new(Activity::default());
    let _in_flight = activity.begin();
    let mut socket = Socket::tunnelled(near.stream, near.rest, activity);
    if tunnel::run(&mut socket, &mut far, &cut).await == Outcome::Whole {
        drop(socket.into_stream());
    }
}

/// Why hyper stopped.
enum Pause {
    Ended(hyper::Result<()>),
    Parked,
    /// A head has begun, and comes too slowly.
    Late,
    /// The same, unless hyper, which could be parked, holds nothing of one: then it was the rest of
    /// a body that nobody read.
    Overdue,
    Stalled,
    /// From outside, whatever goes on.
    Cut,
}

/// Runs hyper, and looks at the activity at each tick.
async fn drive<S, B>(
    connection: &mut http1::Connection<TokioIo<Socket>, S>,
    (activity, cut): (&Activity, &Cut),
    settings: Settings,
    pace: Pace,
) -> Pause
where
    S: hyper::service::HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let every = TICK.min(settings.header_timeout).min(settings.idle_timeout);
    let mut tick = pin!(sleep(every));
    let mut watch = Watch::default();
    poll_fn(move |cx| {
        let mut connection = Pin::new(&mut *connection);
        if cut.poll_made(cx).is_ready() {
            return Poll::Ready(Pause::Cut);
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Pause::Ended(ended));
        }
        if pace == Pace::Slow && activity.awaits_request() {
            return park(connection, cx);
        }
        while tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match watch.judge(activity, now, &settings) {
                Judgement::Goes => {}
                Judgement::Late => {
                    let parked = matches!(park(connection, cx), Poll::Ready(Pause::Parked));
                    return Poll::Ready(if parked { Pause::Overdue } else { Pause::Late });
                }
                Judgement::Stalled => return Poll::Ready(Pause::Stalled),
                Judgement::Quiet => {
                    // hyper may not have noticed yet that nobody reads a body to its end: then the
                    // rest of it would be parked, and read as a request.
                    if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                        return Poll::Ready(Pause::Ended(ended));
                    }
                    if activity.is_silent() {
                        return park(connection, cx);
                    }
                }
            }
            tick.as_mut().reset(now + every);
        }
        Poll::Pending
    })
    .await
}

/// Lets hyper end, which waits for a request; it does once all that it wrote is in the socket.
fn park<S, B>(
    mut connection: Pin<&mut http1::Connection<TokioIo<Socket>, S>>,
    cx: &mut Context<'_>,
) -> Poll<Pause>
where
    S: hyper::service::HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    connection.as_mut().graceful_shutdown();
    connection.poll(cx).map(|ended| match ended {
        Ok(()) => Pause::Parked,
        Err(_) => Pause::Ended(ended),
    })
}

/// A body that tells when hyper is done with it.
struct Tracked<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The share of the drain that silent clients have to send a last request in.
const LAST_WORDS: u32 = 10;
/// How often a connection in use is looked at.
const TICK: Duration = Duration::from_secs(1);
/// The largest buffer of a connection, unless heads may be larger.
const BUFFER: usize = 128 * 1024;
/// hyper takes no smaller one.
const LEAST_BUFFER: usize = 8 * 1024;
/// Fields that hyper reads without being told.
const HYPERS_FIELDS: usize = 100;

#[cfg(test)]
mod tests;
