//! A connection that has become a tunnel: bytes both ways until both sides have ended.
//!
//! What is read is written at once; only what the other side will not take yet is kept, and nothing
//! more is read before it has gone. A silent pair so holds no buffer. Nothing is ever put in between.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::revocation::Cut;

/// The far side of a tunnel, and who records what goes through. Dropped at its end.
pub trait FarSide: 'static {
    /// What is read from and written to.
    type Io: AsyncRead + AsyncWrite + Unpin;

    /// The far side itself.
    fn io(&mut self) -> &mut Self::Io;

    /// How long neither side may say a thing.
    fn idle(&self) -> Duration;

    /// So many more bytes have come from the client, and gone to it.
    fn carried(&mut self, from_client: u64, to_client: u64);

    /// Each side has sent its last byte, and the other has it. Where this is never called the tunnel
    /// was broken off, and the far side is not to take that for an end.
    fn whole(&mut self);
}

/// How a tunnel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Each side has sent its last byte, and the other has it.
    Whole,
    /// One has broken off, both were silent for too long, or it was cut.
    Broken,
}

/// Carries bytes both ways until the end.
pub(super) async fn run<N, F>(near: &mut N, far: &mut F, cut: &Cut) -> Outcome
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: FarSide,
{
    let idle = far.idle().min(A_YEAR);
    let mut silence = pin!(sleep(idle));
    let mut last = Instant::now();
    let (mut up, mut down) = (Way::default(), Way::default());
    let outcome = poll_fn(|cx| {
        if cut.poll_made(cx).is_ready() {
            return Poll::Ready(Outcome::Broken);
        }
        let ways = [up.poll(cx, near, far.io()), down.poll(cx, far.io(), near)];
        let (from_client, to_client) = (up.take_moved(), down.take_moved());
        if from_client > 0 || to_client > 0 {
            last = Instant::now();
            far.carried(from_client, to_client);
        }
        match ways {
            [Poll::Ready(Err(_)), _] | [_, Poll::Ready(Err(_))] => {
                return Poll::Ready(Outcome::Broken);
            }
            [Poll::Ready(Ok(())), Poll::Ready(Ok(()))] => return Poll::Ready(Outcome::Whole),
            [Poll::Pending, _] | [_, Poll::Pending] => {}
        }
        while silence.as_mut().poll(cx).is_ready() {
            if last.elapsed() >= idle {
                return Poll::Ready(Outcome::Broken);
            }
            silence.as_mut().reset(last + idle);
        }
        Poll::Pending
    })
    .await;
    if outcome == Outcome::Whole {
        far.whole();
    }
    outcome
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// Read, and not taken by the other side yet.
    held: Bytes,
    moved: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Flows,
    /// There are bytes that the other side may keep to itself until it is flushed.
    Unflushed,
    /// The last byte was read.
    Over,
    /// And the other side told.
    Shut,
}

impl Way {
    /// Ready when the last byte was handed over.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_held(cx, to))?;
            match self.state {
                State::Shut => return Poll::Ready(Ok(())),
                State::Over => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Shut;
                }
                State::Flows | State::Unflushed => {
                    if self.poll_more(cx, from, to)?.is_pending() {
                        return self.poll_flushed(cx, to);
                    }
                }
            }
        }
    }

    /// Ready when nothing is kept any more.
    fn poll_held<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.held))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(count);
            self.count(count);
        }
        self.held = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Reads once, and writes what came. Pending: nothing came.
    fn poll_more<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut space = [MaybeUninit::uninit(); AT_ONCE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            self.state = State::Over;
            return Poll::Ready(Ok(()));
        }
        let written = match Pin::new(to).poll_write(cx, read)? {
            Poll::Ready(count) => count,
            Poll::Pending => 0,
        };
        self.count(written);
        self.held = Bytes::copy_from_slice(read.get(written..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    fn poll_flushed<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        if self.state == State::Unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.state = State::Flows;
        }
        Poll::Pending
    }

    fn count(&mut self, bytes: usize) {
        if bytes > 0 && self.state == State::Flows {
            self.state = State::Unflushed;
        }
        self.moved = self.moved.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }
}

/// Bytes read at once, on the stack.
const AT_ONCE: usize = 16 * 1024;
/// No time-out is longer: a moment beyond the clock's reach cannot be waited for.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
