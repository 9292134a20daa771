//! The socket under a connection.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::stream::Stream;

/// A client's socket, watched. It is never shut down by who reads and writes it: whether it is
/// parked, lingers or is reset is decided by `connection`, which takes it out again. Dropped amid a
/// request (the drain's end, a panic) it is reset, since to HTTP/1.0 a mere end looks whole.
pub(super) struct Socket {
    /// None once it was taken out.
    stream: Option<Stream>,
    /// Bytes that were read before, and are read again first.
    rest: Bytes,
    activity: Rc<Activity>,
    home: Option<Home>,
    shutdown: Shutdown,
}

/// Whether the socket is shut down when its user says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Kept,
    Passed,
}

/// Where a socket is left when whoever uses it drops it: HTTP/2 gives nothing back.
pub(super) type Home = Rc<Cell<Option<Stream>>>;

impl Socket {
    pub(super) fn new(stream: Stream, rest: Bytes, activity: Rc<Activity>) -> Self {
        Self { stream: Some(stream), rest, activity, home: None, shutdown: Shutdown::Kept }
    }

    /// The same for a tunnel: each side says by a shutdown that it has sent its last byte.
    pub(super) fn tunnelled(stream: Stream, rest: Bytes, activity: Rc<Activity>) -> Self {
        let mut socket = Self::new(stream, rest, activity);
        socket.shutdown = Shutdown::Passed;
        socket
    }

    /// The same, to be left there at the end.
    pub(super) fn returning_to(self, home: &Home) -> Self {
        let mut socket = self;
        socket.home = Some(Rc::clone(home));
        socket
    }

    pub(super) fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn read_again(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.rest.len().min(buffer.remaining());
        if let Some(again) = self.rest.get(..count) {
            buffer.put_slice(again);
        }
        self.rest.advance(count);
        if self.rest.is_empty() {
            // Else the whole of what it was a part of would stay.
            self.rest = Bytes::new();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.set(self.stream.take());
        } else if let Some(stream) = self.stream.as_ref().filter(|_| self.activity.is_in_flight()) {
            stream.will_reset();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = if self.rest.is_empty() {
            self.stream()?.poll_read(cx, buffer)
        } else {
            self.read_again(buffer);
            Poll::Ready(Ok(()))
        };
        if let Poll::Ready(Ok(())) = read {
            self.activity.read(buffer.filled().len().saturating_sub(before));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, bytes);
        self.activity.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, slices);
        self.activity.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (pushed, took) = self.stream()?.poll_push(cx);
        self.activity.pushed(&pushed, took);
        pushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shutdown {
            Shutdown::Kept => Poll::Ready(Ok(())),
            Shutdown::Passed => self.stream()?.poll_shutdown(cx),
        }
    }
}
