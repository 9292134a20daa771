//! The life of a connection that speaks HTTP/2 (RFC 9113).
//!
//! It is never parked, since its compression and windows are state that both sides share. What one
//! client can hold is bounded by the numbers at the end of this file and by the same time-outs as
//! over HTTP/1.1: nothing in flight for the idle time-out ends the connection, and a stream whose
//! client takes nothing for as long is reset, while the others go on.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::activity::Activity;
use super::connect;
use super::connection::Shared;
use super::flow::{Flow, Flowing, flowing, linger_on};
use super::naming::Given;
use super::socket::{Home, Socket};
use super::stream::Stream;
use super::{ParseError, Service, Settings};
use crate::request::{FirstBytes, Peer};

/// Serves a connection until it is closed.
pub(super) async fn serve<S: Service>(
    (stream, read): (Stream, Bytes),
    peer: Peer,
    shared: Rc<Shared<S>>,
) {
    let settings = shared.settings();
    let (activity, home) = (Rc::new(Activity::default()), Home::default());
    let given = Given::of(&stream);
    let tasks = Tasks::default();
    let streams = Streams::new(&tasks, settings.idle_timeout);
    let socket = Socket::new(stream, read, Rc::clone(&activity)).returning_to(&home);
    let handler = {
        let (activity, streams) = (Rc::clone(&activity), streams.clone());
        let service = Rc::clone(shared.service());
        service_fn(move |mut request: Request<Incoming>| {
            let (in_flight, flow) = (activity.begin(), streams.begin());
            given.mark(&mut request);
            let (service, streams) = (Rc::clone(&service), streams.clone());
            let activity = Rc::clone(&activity);
            async move {
                let unrecorded = Unrecorded { service: Some(&*service), peer };
                tell_framing(&mut request, settings.header_timeout).await;
                unrecorded.served();
                let has_body = !request.body().is_end_stream();
                let opening = connect::opening(&mut request);
                let mut answer = service.serve(request, peer, Rc::clone(&flow.cut)).await;
                if let Some(opening) = opening
                    && let Some(far) = S::tunnel(answer.body_mut())
                {
                    let sending = Rc::clone(&streams.begin().cut);
                    let cuts = (Rc::clone(&flow.cut), sending);
                    streams.run(connect::through(opening, far, cuts, activity.begin()));
                }
                flow.unread.set(has_body && leaves_unread(answer.headers()));
                let flowing = |body| Flowing::new(body, flow, in_flight);
                Ok::<_, Infallible>(answer.map(flowing))
            }
        })
    };
    let connection = builder(streams, &settings).serve_connection(TokioIo::new(socket), handler);
    let end = drive(connection, &activity, &shared).await;
    drop(tasks);
    let stream = home.take();
    match (end, stream) {
        (End::Over(Err(error)), stream) if !is_io(&error) => {
            shared.service().parse_error(ParseError::Malformed, peer);
            linger(stream).await;
        }
        (End::Over(_) | End::Left, stream) => linger(stream).await,
        (End::Stalled, Some(stream)) => stream.reset(),
        (End::Stalled, None) => {}
    }
}

async fn linger(stream: Option<Stream>) {
    if let Some(stream) = stream {
        stream.linger().await;
    }
}

/// Whether the connection broke, rather than its client the protocol.
fn is_io(error: &hyper::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<io::Error>())
}

/// A request whose end is waited for. If its connection ends meanwhile it has no record: its service
/// is told at least that there was one.
struct Unrecorded<'a, S: Service> {
    service: Option<&'a S>,
    peer: Peer,
}

impl<S: Service> Unrecorded<'_, S> {
    fn served(mut self) {
        self.service = None;
    }
}

impl<S: Service> Drop for Unrecorded<'_, S> {
    fn drop(&mut self) {
        if let Some(service) = self.service {
            service.parse_error(ParseError::Left, self.peer);
        }
    }
}

/// Whether an answer says what over HTTP/1.1 ends its connection (RFC 9112 section 9.6).
fn leaves_unread(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| value == "close")
}

/// A body whose length nobody told is what HTTP/1.1 calls chunked. HTTP/2 has no header that says
/// so (RFC 9113 section 8.2.2): it is set here for whoever judges the framing of a request.
async fn tell_framing(request: &mut Request<Incoming>, patience: Duration) {
    let length = request.body().size_hint().exact();
    let may_be_empty = length.map_or(seldom_has_a_body(request.method()), |length| length == 0);
    let has_known_length = if request.body().is_end_stream() {
        true
    } else if may_be_empty {
        // Rare, and large: in a box, so that what every request carries along stays small.
        match Box::pin(timeout(patience, begins(request.body_mut()))).await {
            Ok(Begins::Empty) => true,
            Ok(Begins::With(bytes)) => {
                request.extensions_mut().insert(FirstBytes(bytes));
                false
            }
            Ok(Begins::Broken) | Err(_) => false,
        }
    } else {
        length.is_some()
    };
    if !has_known_length {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Others are not kept from their application until their first bytes come.
fn seldom_has_a_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
}

/// How a body begins that should be empty.
enum Begins {
    /// It is.
    Empty,
    /// It is not: these bytes are taken out of it.
    With(Bytes),
    Broken,
}

/// An end may come in a frame of its own.
async fn begins(body: &mut Incoming) -> Begins {
    while !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Begins::With(data),
                Ok(_) | Err(_) => {}
            },
            Some(Err(_)) | None => return Begins::Broken,
        }
    }
    Begins::Empty
}

fn builder(streams: Streams, settings: &Settings) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
        .header_table_size(HEADER_TABLE)
        .max_frame_size(LARGEST_FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MOST_RESETS_UNSEEN)
        .max_local_error_reset_streams(MOST_FAULTS)
        .enable_connect_protocol()
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.idle_timeout)
        .keep_alive_timeout(settings.header_timeout);
    builder
}

/// Why a connection ended.
enum End {
    Over(hyper::Result<()>),
    /// It was asked to leave, and answers no more.
    Left,
    /// Its client takes no byte.
    Stalled,
}

async fn drive<C, S>(connection: C, activity: &Activity, shared: &Shared<S>) -> End
where
    C: Future<Output = hyper::Result<()>> + Leave,
{
    let settings = shared.settings();
    let every = TICK.min(settings.header_timeout).min(settings.idle_timeout);
    let mut connection = pin!(connection);
    let mut tick = pin!(sleep(every));
    let mut watch = Watch::new(Instant::now());
    poll_fn(move |cx| {
        if shared.is_draining() && watch.leave(Instant::now()) {
            connection.as_mut().leave();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(End::Over(ended));
        }
        while tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match watch.judge(activity, now, &settings) {
                Judgement::Goes => {}
                Judgement::Idle if watch.leave(now) => {
                    connection.as_mut().leave();
                    if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                        return Poll::Ready(End::Over(ended));
                    }
                }
                Judgement::Idle | Judgement::Left => return Poll::Ready(End::Left),
                Judgement::Stalled => return Poll::Ready(End::Stalled),
            }
            tick.as_mut().reset(now + every);
        }
        Poll::Pending
    })
    .await
}

/// A connection that can be asked to end with what is under way (GOAWAY, RFC 9113 section 6.8).
trait Leave {
    fn leave(self: Pin<&mut Self>);
}

impl<I, B, S> Leave for http2::Connection<I, S, Streams>
where
    S: hyper::service::HttpService<Incoming, ResBody = B, Error = Infallible>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body<Error = Box<dyn Error + Send + Sync>> + 'static,
{
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Looks at a connection now and then.
struct Watch {
    idle_since: Instant,
    blocked_since: Option<Instant>,
    leaving_since: Option<Instant>,
    has_served: bool,
}

enum Judgement {
    Goes,
    /// Nothing has been in flight for too long.
    Idle,
    /// It was asked to leave, and has nothing left to finish.
    Left,
    Stalled,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self { idle_since: now, blocked_since: None, leaving_since: None, has_served: false }
    }

    /// Whether it was not asked to leave before.
    fn leave(&mut self, now: Instant) -> bool {
        self.leaving_since.replace(self.leaving_since.unwrap_or(now)).is_none()
    }

    fn judge(&mut self, activity: &Activity, now: Instant, settings: &Settings) -> Judgement {
        let served = activity.take_served();
        self.has_served |= served;
        if served || activity.is_in_flight() {
            self.idle_since = now;
        }
        if activity.take_took() || !activity.is_blocked() {
            self.blocked_since = None;
        }
        if activity.is_blocked()
            && passed(*self.blocked_since.get_or_insert(now), now, settings.idle_timeout)
        {
            return Judgement::Stalled;
        }
        let idle = now.saturating_duration_since(self.idle_since);
        if self.leaving_since.is_some_and(|since| passed(since, now, GRACE)) && idle >= GRACE {
            return Judgement::Left;
        }
        let patience =
            if self.has_served { settings.idle_timeout } else { settings.header_timeout };
        if idle >= patience && self.leaving_since.is_none() {
            return Judgement::Idle;
        }
        Judgement::Goes
    }
}

fn passed(since: Instant, now: Instant, time: Duration) -> bool {
    now.saturating_duration_since(since) >= time
}

/// What goes on on one connection, ended with it.
type Tasks = Rc<RefCell<JoinSet<()>>>;

/// The streams of one connection. Weak, since hyper has each of them know the others.
#[derive(Clone)]
struct Streams {
    tasks: Weak<RefCell<JoinSet<()>>>,
    /// hyper asks the service for an answer, and at once has that answer's stream run; and what
    /// sends on a tunnel's, at once when that answer is there.
    begun: Rc<Cell<Option<Rc<Flow>>>>,
    /// Streams that are kept beyond their answers.
    kept: Rc<Cell<usize>>,
    patience: Duration,
}

impl Streams {
    fn new(tasks: &Tasks, patience: Duration) -> Self {
        Self { tasks: Rc::downgrade(tasks), begun: Rc::default(), kept: Rc::default(), patience }
    }

    fn begin(&self) -> Rc<Flow> {
        let flow = Rc::new(Flow::default());
        self.begun.set(Some(Rc::clone(&flow)));
        flow
    }

    fn run(&self, stream: impl Future<Output = ()> + 'static) {
        let Some(tasks) = self.tasks.upgrade() else { return };
        let mut tasks = tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(stream);
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let flow = self.begun.take().unwrap_or_default();
        let (kept, patience) = (Rc::clone(&self.kept), self.patience);
        self.run(async move {
            let mut stream = pin!(stream);
            flowing(stream.as_mut(), &flow, patience).await;
            if flow.unread.get() && flow.whole.get() && kept.get() < MOST_KEPT {
                kept.set(kept.get().saturating_add(1));
                linger_on(stream).await;
                kept.set(kept.get().saturating_sub(1));
            }
        });
    }
}

/// Requests of one connection at once; browsers are content with a hundred.
const MOST_STREAMS: u32 = 100;
/// Bytes of the table by which a client's headers are compressed.
const HEADER_TABLE: u32 = 4096;
/// Bytes; the least that the protocol knows.
const LARGEST_FRAME: u32 = 16 * 1024;
/// Bytes of one upload that may be under way to us unread.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all uploads of a connection: seven that nobody reads hold up none of the others, and no
/// connection holds more than this.
const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// Bytes of one answer that wait for the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client resets before we have seen their request: beyond, it is flooding.
const MOST_RESETS_UNSEEN: usize = 20;
/// Streams of one connection that we had to reset for a fault of the client's.
const MOST_FAULTS: usize = 100;
/// Streams of one connection that are kept: they count among its client's hundred.
const MOST_KEPT: usize = 25;
/// How often a connection is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a client that has nothing in flight may take to leave.
const GRACE: Duration = Duration::from_secs(2);
