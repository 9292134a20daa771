//! The stream under a connection: a bare socket, be it of TCP or a Unix file, or one under TLS.
//!
//! Whoever serves a connection sees no difference; how a stream is waited on, closed and reset is
//! decided here.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::bare::Bare;

/// A client's end of bytes.
#[derive(Debug)]
pub(super) enum Stream {
    /// As they come.
    Plain(Bare),
    /// Boxed, since the state of a session is large.
    Tls(Box<TlsStream<Counted>>),
}

impl Stream {
    /// The socket, whatever lies over it.
    pub(super) fn bare(&self) -> &Bare {
        match self {
            Self::Plain(bare) => bare,
            Self::Tls(tls) => &tls.get_ref().0.bare,
        }
    }

    /// The name that the client asked for in its handshake (RFC 6066 section 3).
    pub(super) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.get_ref().1.server_name(),
        }
    }

    /// Whether HTTP/2 was agreed on in the handshake (RFC 9113 section 3.2).
    pub(super) fn agreed_on_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Waits for a byte of the client's, and leaves it there: a socket that only seems readable is
    /// not to be taken for one whose client speaks. False: it has gone.
    pub(super) async fn speaks(&mut self) -> bool {
        if let Self::Tls(tls) = self
            && has_plaintext(tls)
        {
            return true;
        }
        self.peek().await.is_some()
    }

    /// Waits for a first byte as [`Self::speaks`] does, and tells it where it can be seen.
    pub(super) async fn first_byte(&mut self) -> Option<Option<u8>> {
        match self {
            Self::Plain(_) => self.peek().await.map(Some),
            Self::Tls(_) => self.speaks().await.then_some(None),
        }
    }

    async fn peek(&self) -> Option<u8> {
        let (bare, mut first) = (self.bare(), [0]);
        let peeked = poll_fn(|cx| bare.poll_peek(cx, &mut first)).await;
        matches!(peeked, Ok(1)).then_some(first)?.first().copied()
    }

    /// Closes a stream whose client is silent. Under TLS it is told so, since an end without a word
    /// could be an attacker's (RFC 8446 section 6.1); what does not fit into the socket stays unsaid.
    pub(super) fn close(self) {
        let Self::Tls(mut tls) = self else { return };
        let (counted, session) = tls.get_mut();
        session.send_close_notify();
        let _closing_anyway = session.write_tls(&mut Unwaited(&counted.bare));
    }

    /// Ends with a reset: else what was cut short could look like an end.
    pub(super) fn reset(self) {
        self.will_reset();
    }

    /// The end, when it comes, will be a reset.
    pub(super) fn will_reset(&self) {
        let _closing_anyway = self.bare().set_zero_linger();
    }

    /// Lets the client read our last words: closing a socket with unread bytes resets it, and the
    /// reset may overtake the answer (RFC 9112 section 9.6).
    pub(super) async fn linger(mut self) {
        let drained = async {
            self.shutdown().await?;
            drain(self.bare()).await
        };
        let _closed_either_way = timeout(LONGEST_LINGER, drained).await;
    }

    /// The bytes that the client's socket has taken so far, where they are not those written.
    fn taken(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.get_ref().0.taken,
        }
    }

    /// Pushes out what TLS still holds. `took`: whether the client took some of it.
    pub(super) fn poll_push(&mut self, cx: &mut Context<'_>) -> (Poll<io::Result<()>>, Took) {
        let before = self.taken();
        let pushed = Pin::new(&mut *self).poll_flush(cx);
        let took = if self.taken() == before { Took::Nothing } else { Took::Some };
        (pushed, took)
    }
}

/// Whether a client took bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    Nothing,
    Some,
}

fn has_plaintext(tls: &mut TlsStream<Counted>) -> bool {
    let state = tls.get_mut().1.process_new_packets();
    // A broken session is found by whoever reads it.
    state.map_or(true, |state| state.plaintext_bytes_to_read() > 0)
}

async fn drain(bare: &Bare) -> io::Result<()> {
    let mut waste = vec![0; WASTE];
    let mut left = MOST_DRAINED;
    while left > 0 {
        bare.readable().await?;
        match bare.try_read(&mut waste) {
            Ok(0) => return Ok(()),
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(bare) => Pin::new(bare).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(bare) => Pin::new(bare).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(bare) => Pin::new(bare).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(bare) => Pin::new(bare).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// A socket under TLS, which counts what it takes: TLS buffers, so that its own count says nothing
/// of the client.
#[derive(Debug)]
pub(super) struct Counted {
    bare: Bare,
    taken: u64,
}

impl Counted {
    pub(super) fn new(bare: Bare) -> Self {
        Self { bare, taken: 0 }
    }

    fn count(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            let count = u64::try_from(*count).unwrap_or(u64::MAX);
            self.taken = self.taken.saturating_add(count);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bare).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.bare).poll_write(cx, bytes);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.bare).poll_write_vectored(cx, slices);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bare).poll_shutdown(cx)
    }
}

/// Writes what the socket takes at once.
struct Unwaited<'a>(&'a Bare);

impl io::Write for Unwaited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that a refused client may still send.
const MOST_DRAINED: usize = 256 * 1024;
/// Bytes drained at once.
const WASTE: usize = 16 * 1024;
/// Time that a refused client has to read why.
pub(super) const LONGEST_LINGER: Duration = Duration::from_secs(2);
