//! One connection to an upstream.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::debt::Debt;
use super::pool::Lease;
use super::sent::Sent;
use super::socket::Socket;
use super::terms::Waits;
use super::{Failure, Upgraded};
use crate::request::UploadState;

/// A connection and everything that lives as long as it. Who holds it drives it; who drops it
/// closes it.
pub(super) struct Link {
    sender: SendRequest<Sent>,
    /// None once it has ended.
    connection: Option<Connection<TokioIo<Wire>, Sent>>,
    spoiled: bool,
    upgrade: Upgrading,
    heard: Rc<Heard>,
    timer: Deadline,
    waits: Waits,
    lease: Lease,
}

/// What became of a request, as hyper tells it.
type Asked = Result<Response<Incoming>, TrySendError<Request<Sent>>>;

/// A request that got no answer.
pub(super) struct Lost {
    /// What went wrong.
    pub(super) failure: Failure,
    /// The request, if none of it was sent.
    pub(super) unsent: Option<Request<Sent>>,
    /// Whether the connection closed before a byte of an answer.
    pub(super) unheard: bool,
}

impl Link {
    /// Makes a connection of a new socket.
    pub(super) async fn open(stream: Socket, lease: Lease) -> Result<Box<Self>, Failure> {
        let heard = Rc::new(Heard::default());
        let wire = Wire { stream, heard: Rc::clone(&heard) };
        let handshake = lease.pool().client().handshake(TokioIo::new(wire)).await;
        let (sender, connection) =
            handshake.map_err(|cause| Failure::Connect(cause.to_string()))?;
        let waits = lease.pool().waits();
        let timer = Deadline::after(waits.idle);
        let connection = Some(connection);
        Ok(Box::new(Self {
            sender,
            connection,
            spoiled: false,
            upgrade: Upgrading::No,
            heard,
            timer,
            waits,
            lease,
        }))
    }

    /// Sends a request; the answer comes as long as the connection is driven.
    pub(super) fn ask(
        &mut self,
        request: Request<Sent>,
        upload: Option<&UploadState>,
        waits: Waits,
    ) -> impl Future<Output = Asked> + use<> {
        self.heard.expect_head(upload);
        self.waits = waits;
        self.sender.try_send_request(request)
    }

    /// Waits for the head of the answer. The response time-out begins when the upload has ended;
    /// until then the upstream has the idle time-out to take more of it.
    pub(super) async fn head(
        &mut self,
        mut answer: Pin<&mut impl Future<Output = Asked>>,
        upload: Option<&UploadState>,
    ) -> Result<Response<Incoming>, Box<Lost>> {
        let (mut wait, waits) = (Wait::new(upload), self.waits);
        let answered = poll_fn(|cx| {
            self.drive(cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            wait.refresh(&mut self.timer, waits);
            self.timer.poll_passed(cx).map(|()| None)
        });
        match answered.await {
            Some(Ok(answer)) => {
                self.heard.head_came();
                Ok(answer)
            }
            Some(Err(mut lost)) => Err(Box::new(Lost {
                unsent: lost.take_message(),
                failure: Failure::Answer(chain(&lost.into_error())),
                unheard: self.heard.nothing(),
            })),
            None => {
                let failure = Failure::TimedOut;
                Err(Box::new(Lost { failure, unsent: None, unheard: false }))
            }
        }
    }

    /// Lets the connection read and write what it can.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        // An error goes to whom it concerns, the request or the body that is under way, and a
        // request that was never sent comes back when the connection is dropped.
        if Pin::new(connection).poll(cx).is_ready() {
            let ended = self.connection.take();
            if let (Upgrading::Asked, Some(connection)) = (&self.upgrade, ended) {
                self.upgrade = Upgrading::Ended(Box::new(connection.into_parts()));
            }
        }
    }

    /// Whether the connection's socket is worth something after its last answer.
    pub(super) fn may_upgrade(&mut self, may: bool) {
        self.upgrade = if may { Upgrading::Asked } else { Upgrading::No };
    }

    /// Takes the socket out, after a 101; None: the connection broke.
    pub(super) async fn hand_over(mut self: Box<Self>) -> Option<Upgraded> {
        self.timer.set(Instant::now() + self.waits.idle);
        let ended = poll_fn(|cx| {
            self.drive(cx);
            if self.connection.is_none() { Poll::Ready(()) } else { self.timer.poll_passed(cx) }
        });
        ended.await;
        let Upgrading::Ended(parts) = self.upgrade else {
            return None;
        };
        Some(Upgraded::new((parts.io.into_inner(), parts.read_buf), self.waits.idle, self.lease))
    }

    /// Whether the upstream has been silent for too long; to be asked while an answer is awaited.
    pub(super) fn poll_silent(&mut self, cx: &mut Context<'_>, since: Silence) -> Poll<()> {
        self.timer.poll_silent(cx, (since, self.waits.idle))
    }

    /// Whether its answer began before the request had been read whole, or sent whole.
    pub(super) fn was_answered_early(&self) -> bool {
        self.heard.early.get() || self.heard.deaf.get()
    }

    /// This connection is not to be used again.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// The address at its other end; None: it has none.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.lease.peer()
    }

    /// Of whoever reads its answer.
    pub(super) fn debt(&self) -> &Debt {
        self.lease.debt()
    }

    /// Closes the connection and keeps its place.
    pub(super) fn into_lease(self: Box<Self>) -> Lease {
        self.lease
    }

    /// At the end of an answer: back to the pool, if the request was sent whole too and nothing
    /// came after the answer; else closed.
    pub(super) fn settle(mut self: Box<Self>, cx: &mut Context<'_>) {
        if self.spoiled || self.heard.deaf.get() {
            return;
        }
        if !self.sender.is_ready() {
            self.drive(cx);
        }
        if self.sender.is_ready() && self.connection.is_some() {
            let pool = Rc::clone(self.lease.pool());
            pool.keep(self);
        }
    }
}

/// Whether a connection was asked to change its protocol.
enum Upgrading {
    No,
    Asked,
    /// HTTP is over on it; here is what is left.
    Ended(Box<Parts<TokioIo<Wire>>>),
}

/// Whether a silence begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Something came since it was last asked.
    Begins,
    /// Nothing did.
    Lasts,
}

/// What the wait for an answer is measured from.
pub(super) struct Wait<'a> {
    upload: Option<&'a UploadState>,
    progress: Option<(u64, bool)>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(upload: Option<&'a UploadState>) -> Self {
        Self { upload, progress: None }
    }

    pub(super) fn refresh(&mut self, timer: &mut Deadline, waits: Waits) {
        let now = self.upload.as_ref().map_or((0, true), |state| (state.bytes(), state.is_whole()));
        if self.progress == Some(now) {
            return;
        }
        self.progress = Some(now);
        match if now.1 { waits.response } else { Some(waits.idle) } {
            Some(limit) => timer.set(Instant::now() + limit),
            None => timer.lift(),
        }
    }
}

/// A deadline whose timer is seldom touched: it may fire early, and is then set to the true end.
pub(super) struct Deadline {
    end: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        let end = Instant::now() + limit;
        Self { end: Some(end), timer: Box::pin(sleep_until(end)) }
    }

    fn set(&mut self, end: Instant) {
        self.end = Some(end);
        if self.timer.deadline() > end {
            self.timer.as_mut().reset(end);
        }
    }

    fn lift(&mut self) {
        self.end = None;
    }

    /// Whether a silence that lasts for `limit` at most is over.
    pub(super) fn poll_silent(
        &mut self,
        cx: &mut Context<'_>,
        (since, limit): (Silence, Duration),
    ) -> Poll<()> {
        if since == Silence::Begins {
            self.set(Instant::now() + limit);
        }
        self.poll_passed(cx)
    }

    pub(super) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else {
            return Poll::Pending;
        };
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.timer.deadline() >= end {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// What came from the upstream since the request began.
#[derive(Debug, Default)]
struct Heard {
    awaiting_head: Cell<bool>,
    bytes: Cell<usize>,
    /// Of the request under way, until its answer begins.
    upload: RefCell<Option<UploadState>>,
    early: Cell<bool>,
    /// The request under way has a body.
    has_body: Cell<bool>,
    /// The upstream takes no more of it.
    deaf: Cell<bool>,
}

impl Heard {
    fn expect_head(&self, upload: Option<&UploadState>) {
        self.awaiting_head.set(true);
        self.bytes.set(0);
        self.early.set(false);
        self.has_body.set(upload.is_some());
        self.upload.replace(upload.cloned());
    }

    fn head_came(&self) {
        self.awaiting_head.set(false);
    }

    fn nothing(&self) -> bool {
        self.bytes.get() == 0
    }

    /// Looked at when the bytes are read: the rest of the body may be read in the same turn, before
    /// anybody sees the answer.
    fn came(&self, piece: &[u8]) {
        self.bytes.set(self.bytes.get().saturating_add(piece.len()));
        let mut upload = self.upload.borrow_mut();
        if upload.is_some() && !piece.is_empty() && !is_interim(piece) {
            let whole = upload.take().is_none_or(|upload| upload.is_whole());
            self.early.set(!whole);
        }
    }

    /// Takes a write for done that fails because the upstream closed with the body unread: its answer
    /// may be there to be read, and tells more than this failure. If there is none, reading tells that.
    fn or_unheard<T>(&self, written: Poll<io::Result<T>>, done: T) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &written
            && self.has_body.get()
            && is_closed(error)
        {
            self.deaf.set(true);
            return Poll::Ready(Ok(done));
        }
        written
    }

    fn check(&self) -> io::Result<()> {
        if self.awaiting_head.get() && self.bytes.get() >= MOST_BEFORE_HEAD {
            return Err(io::Error::other("too much came before the head of an answer"));
        }
        Ok(())
    }
}

/// The socket, listened to: a flood of interim answers, each small, is cut, and what an upstream does
/// not take of a body is thrown away.
pub(super) struct Wire {
    stream: Socket,
    heard: Rc<Heard>,
}

impl Wire {
    /// Lets it end in a reset when it is dropped.
    pub(super) fn reset(&self) {
        self.stream.reset();
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.heard.check()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.heard.came(buffer.filled().get(before..).unwrap_or_default());
        // The write that failed took the reset along: what now looks like an end may be a loss.
        if self.heard.deaf.get() && read.is_ready() && buffer.filled().len() == before {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.heard.deaf.get() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.heard.or_unheard(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.heard.deaf.get() {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.heard.or_unheard(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.heard.deaf.get() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.heard.or_unheard(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.heard.deaf.get() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether the other side takes nothing any more.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Whether this is one interim answer and no more, as a 100 that a body waits for. What is cut
/// otherwise counts as the answer, which costs a connection.
fn is_interim(piece: &[u8]) -> bool {
    let end = piece.windows(4).position(|window| window == b"\r\n\r\n");
    piece.starts_with(b"HTTP/1.1 1") && end.is_some_and(|end| end.saturating_add(4) == piece.len())
}

/// An error with its causes, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Bytes that may come before the head of an answer is whole: the largest head, and as much again
/// of interim answers.
const MOST_BEFORE_HEAD: usize = 128 * 1024;
