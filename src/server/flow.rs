//! An answer's way along a stream of HTTP/2, to its end and a moment beyond.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::activity::InFlight;
use super::stream::LONGEST_LINGER;
use crate::revocation::Cut;

/// How an answer flows to its client.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pieces: Cell<u64>,
    /// The latest piece waits for the client.
    owed: Cell<bool>,
    /// The request has a body that was not read whole.
    pub(super) unread: Cell<bool>,
    /// The answer is handed over whole.
    pub(super) whole: Cell<bool>,
    /// Ends it from outside.
    pub(super) cut: Rc<Cut>,
}

/// Keeps a stream whose answer leaves a body unread, so that it is not reset before its client has
/// seen the answer: some clients never look at what came along with a reset. What still comes of the
/// body is thrown away, and its window is not opened again.
pub(super) async fn linger_on<S>(stream: S) {
    // In a box, since few streams come to it.
    Box::pin(sleep(LONGEST_LINGER)).await;
    drop(stream);
}

/// Runs a stream until it ends, is cut, or its client has taken nothing for too long: then it is
/// to be dropped, and so reset.
pub(super) async fn flowing(
    mut stream: Pin<&mut impl Future<Output = ()>>,
    flow: &Flow,
    patience: Duration,
) {
    let mut stall: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if flow.cut.poll_made(cx).is_ready() || stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let pieces = flow.pieces.get();
        if !flow.owed.get() {
            stall = None;
        } else if stall.as_ref().is_none_or(|(at, _)| *at != pieces) {
            stall = Some((pieces, Box::pin(sleep(patience))));
        }
        stall.as_mut().map_or(Poll::Pending, |(_, timer)| timer.as_mut().poll(cx))
    })
    .await;
}

/// A body that tells how it flows, and when hyper is done with it. It is handed out in small pieces:
/// while the client takes one it gives no sign of life. Its stream may be kept longer.
pub(super) struct Flowing<B> {
    /// None once it is handed out whole.
    body: Option<(B, InFlight)>,
    /// Of its latest frame.
    rest: Bytes,
    flow: Rc<Flow>,
}

impl<B: Body<Data = Bytes> + Unpin> Flowing<B> {
    pub(super) fn new(body: B, flow: Rc<Flow>, in_flight: InFlight) -> Self {
        let mut flowing = Self { body: Some((body, in_flight)), rest: Bytes::new(), flow };
        flowing.settle();
        flowing
    }

    /// Lets go of a body that is handed out whole.
    fn settle(&mut self) {
        let over = |(body, _): &(B, InFlight)| body.is_end_stream();
        if self.rest.is_empty() && self.body.as_ref().is_none_or(over) {
            self.body = None;
            self.flow.whole.set(true);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Flowing<B> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let Some((body, _)) = &mut self.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => {
                    self.body = None;
                    return Poll::Ready(Some(Ok(trailers)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.body = None,
            }
        }
        if self.body.is_none() && self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(LARGEST_PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Flowing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = self.poll_piece(cx);
        // Asked for the next piece only when the one before was taken.
        self.flow.owed.set(matches!(frame, Poll::Ready(Some(Ok(_)))));
        self.flow.pieces.set(self.flow.pieces.get().wrapping_add(1));
        self.settle();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let none = || SizeHint::with_exact(0);
        let mut hint = self.body.as_ref().map_or_else(none, |(body, _)| body.size_hint());
        // In this order, since neither may pass the other.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// Bytes of an answer that hyper gets at a time, as many as it sends in a frame.
const LARGEST_PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests;
