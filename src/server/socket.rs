//! The socket under a connection.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;

/// A client's socket, watched. It is never shut down by who reads and writes it: whether it is
/// parked, lingers or is reset is decided by `connection`, which takes it out again. Dropped amid a
/// request (the drain's end, a panic) it is reset, since to HTTP/1.0 a mere end looks whole.
#[derive(Debug)]
pub(super) struct Socket {
    /// None once it was taken out.
    stream: Option<TcpStream>,
    /// Bytes that were read before, and are read again first.
    rest: Bytes,
    activity: Rc<Activity>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, rest: Bytes, activity: Rc<Activity>) -> Self {
        Self { stream: Some(stream), rest, activity }
    }

    pub(super) fn into_stream(mut self) -> Option<TcpStream> {
        self.stream.take()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn read_again(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.rest.len().min(buffer.remaining());
        if let Some(again) = self.rest.get(..count) {
            buffer.put_slice(again);
        }
        self.rest.advance(count);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.as_ref().filter(|_| self.activity.is_in_flight()) {
            let _closing_anyway = stream.set_zero_linger();
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

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
