//! The life of one connection: silent, busy, silent again, closed.
//!
//! While a client is silent its connection is a bare socket under a timer; hyper's buffers exist
//! only while something goes on. That parts the two time-outs as well: the header time-out is for
//! a head that has begun, the idle time-out for a client that is silent.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::activity::{Activity, InFlight, Judgement, Watch};
use super::socket::Socket;
use super::{ParseError, Service};
use crate::request::Peer;

/// What bounds connections.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A head must be whole so long after its first byte; a new connection must send one by then.
    /// Looked at once a second.
    pub header_timeout: Duration,
    /// A silent keep-alive connection is closed then, and one whose client takes no byte.
    pub idle_timeout: Duration,
    /// Requests in flight when the drain begins have so long.
    pub drain_timeout: Duration,
    /// Largest head, bytes; beyond: 431.
    pub head_bytes: usize,
    /// Most header fields; beyond: 431.
    pub fields: usize,
}

impl From<&crate::config::Server> for Settings {
    fn from(server: &crate::config::Server) -> Self {
        Self {
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            drain_timeout: server.drain_timeout,
            head_bytes: server.limit_headers,
            fields: server.limit_fields,
        }
    }
}

/// What the connections of a worker share.
pub(super) struct Shared<S> {
    service: Rc<S>,
    settings: Settings,
    http1: http1::Builder,
    /// Looked at by connections in use, which so need no channel to be woken by: at the latest
    /// their next tick shows it to them.
    draining: Cell<bool>,
}

impl<S> Shared<S> {
    pub(super) fn new(service: Rc<S>, settings: Settings) -> Self {
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
        Self { service, settings, http1, draining: Cell::new(false) }
    }

    /// Tells connections in use to end with what is under way.
    pub(super) fn drain(&self) {
        self.draining.set(true);
    }
}

/// Serves a connection until it is closed.
pub(super) async fn serve<S: Service>(
    mut stream: TcpStream,
    peer: Peer,
    shared: Rc<Shared<S>>,
    mut drain: watch::Receiver<bool>,
) {
    let mut rest = Bytes::new();
    let mut patience = shared.settings.header_timeout;
    loop {
        if rest.is_empty() && !speaks(&stream, patience, &mut drain).await {
            return;
        }
        patience = shared.settings.idle_timeout;
        // On the heap only while it lasts: a parked connection is to be small.
        let busy = Box::pin(busy(Socketful { stream, rest }, peer, &shared));
        match busy.await {
            End::Parked(parked) => Socketful { stream, rest } = parked,
            End::Linger(stream) => return linger(stream).await,
            End::Reset(stream) => {
                // Else what was cut short could look like an end.
                let _closing_anyway = stream.set_zero_linger();
                return;
            }
            End::Gone => return,
        }
    }
}

/// Waits for a byte of the client's, and leaves it there: a socket that only seems readable is not
/// to be taken for one whose client speaks. False: close.
async fn speaks(stream: &TcpStream, patience: Duration, drain: &mut watch::Receiver<bool>) -> bool {
    if *drain.borrow() {
        return false;
    }
    let mut first = [0];
    tokio::select! {
        peeked = stream.peek(&mut first) => matches!(peeked, Ok(1)),
        () = sleep(patience) => false,
        _ = drain.changed() => false,
    }
}

/// A socket, and what was read of it already.
struct Socketful {
    stream: TcpStream,
    rest: Bytes,
}

/// How a busy time ends.
enum End {
    /// The client is silent.
    Parked(Socketful),
    /// Closed by us; the client may still be sending.
    Linger(TcpStream),
    /// Cut.
    Reset(TcpStream),
    /// The client has gone.
    Gone,
}

async fn busy<S: Service>(from: Socketful, peer: Peer, shared: &Shared<S>) -> End {
    let activity = Rc::new(Activity::default());
    let socket = Socket::new(from.stream, from.rest, Rc::clone(&activity));
    let handler = service_fn(|request: Request<Incoming>| {
        let in_flight = activity.begin();
        let answer = Rc::clone(&shared.service).serve(request, peer);
        async move {
            let tracked = |body| Tracked { body, _in_flight: in_flight };
            Ok::<_, Infallible>(answer.await.map(tracked))
        }
    });
    let mut connection = shared.http1.serve_connection(TokioIo::new(socket), handler);
    let pause = drive(&mut connection, &activity, shared).await;
    let parts = connection.into_parts();
    let Some(stream) = parts.io.into_inner().into_stream() else {
        return End::Gone;
    };
    match pause {
        Pause::Parked => End::Parked(Socketful { stream, rest: parts.read_buf }),
        Pause::Ended(Ok(())) if activity.has_ended() => End::Gone,
        Pause::Ended(Ok(())) => End::Linger(stream),
        Pause::Ended(Err(error)) if error.is_parse() => {
            let too_large = error.is_parse_too_large();
            let error = if too_large { ParseError::TooLarge } else { ParseError::Malformed };
            shared.service.parse_error(error, peer);
            End::Linger(stream)
        }
        Pause::Ended(Err(_)) | Pause::Stalled => End::Reset(stream),
        Pause::Late => {
            shared.service.parse_error(ParseError::Late, peer);
            End::Gone
        }
    }
}

/// Why hyper stopped.
enum Pause {
    Ended(hyper::Result<()>),
    Parked,
    Late,
    Stalled,
}

/// Runs hyper, and looks at the activity at each tick.
async fn drive<S, B, D>(
    connection: &mut http1::Connection<TokioIo<Socket>, S>,
    activity: &Activity,
    shared: &Shared<D>,
) -> Pause
where
    S: hyper::service::HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let settings = &shared.settings;
    let every = TICK.min(settings.header_timeout).min(settings.idle_timeout);
    let mut tick = pin!(sleep(every));
    let mut watch = Watch::default();
    let mut told = false;
    poll_fn(move |cx| {
        let mut connection = Pin::new(&mut *connection);
        if !told && shared.draining.get() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Pause::Ended(ended));
        }
        while tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match watch.judge(activity, now, settings) {
                Judgement::Goes => {}
                Judgement::Late => return Poll::Ready(Pause::Late),
                Judgement::Stalled => return Poll::Ready(Pause::Stalled),
                Judgement::Quiet => {
                    connection.as_mut().graceful_shutdown();
                    return connection.as_mut().poll(cx).map(parked);
                }
            }
            tick.as_mut().reset(now + every);
        }
        Poll::Pending
    })
    .await
}

fn parked(ended: hyper::Result<()>) -> Pause {
    match ended {
        Ok(()) => Pause::Parked,
        Err(_) => Pause::Ended(ended),
    }
}

/// Lets the client read our last words: closing a socket with unread bytes resets it, and the
/// reset may overtake the answer (RFC 9112 section 9.6).
async fn linger(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let mut waste = vec![0; WASTE];
        let mut left = MOST_DRAINED;
        while left > 0 {
            stream.readable().await?;
            match stream.try_read(&mut waste) {
                Ok(0) => return Ok(()),
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let _closed_either_way = timeout(LONGEST_LINGER, drained).await;
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

/// How often a connection in use is looked at.
const TICK: Duration = Duration::from_secs(1);
/// The largest buffer of a connection, unless heads may be larger.
const BUFFER: usize = 128 * 1024;
/// hyper takes no smaller one.
const LEAST_BUFFER: usize = 8 * 1024;
/// Fields that hyper reads without being told.
const HYPERS_FIELDS: usize = 100;
/// Bytes that a refused client may still send.
const MOST_DRAINED: usize = 256 * 1024;
/// Bytes drained at once.
const WASTE: usize = 16 * 1024;
/// Time that a refused client has to read why.
const LONGEST_LINGER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
