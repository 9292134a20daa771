//! A tunnel on one stream of HTTP/2, opened by CONNECT (RFC 8441 section 5).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Method, Request};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::InFlight;
use super::tunnel::{self, FarSide, Outcome};
use crate::revocation::Cut;

/// What a request's stream becomes, should its answer open a tunnel. None: it cannot.
pub(super) fn opening(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(request))
}

/// The tunnel to its end. Ended by `cut`; where the end is none it makes `sending`, which drops
/// what sends: otherwise that would end the stream as if all had been said.
pub(super) async fn through<F: FarSide>(
    opening: OnUpgrade,
    mut far: F,
    (cut, sending): (Rc<Cut>, Rc<Cut>),
    _in_flight: InFlight,
) {
    // Its client may have left before it was told.
    let Ok(near) = opening.await else { return };
    let mut near = Near { io: TokioIo::new(near), has_ended: false };
    if tunnel::run(&mut near, &mut far, &cut).await == Outcome::Broken {
        sending.make();
    }
}

/// The client's side.
///
/// hyper drives its two halves apart. What reads takes a client's cancelling (RST_STREAM) for an
/// end; what sends, a task of its own, is told of the reset, and ends. A reset that comes along
/// with bytes wakes the reader for the bytes first, so that it meets the end before that task has
/// run: it is let run, once, before what it says of the end is believed.
struct Near {
    io: TokioIo<Upgraded>,
    has_ended: bool,
}

impl AsyncRead for Near {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        if !std::mem::replace(&mut self.has_ended, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Err(reset)) => Poll::Ready(Err(reset)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Near {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
