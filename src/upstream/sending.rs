//! A request's body on its way along a stream (RFC 9113 section 8.1).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use super::sent::Sent;

/// Moves a body's frames as fast as the stream's window lets it.
pub(super) struct Sending {
    body: Sent,
    stream: SendStream<Bytes>,
    /// Read from the client, and not yet let through.
    held: Bytes,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of the body was read.
    Untouched,
    Under,
    /// Sent whole, or no longer wanted.
    Over,
}

impl Sending {
    /// Of a request whose head was sent.
    pub(super) fn new(body: Sent, stream: SendStream<Bytes>) -> Self {
        let state = if body.is_end_stream() { State::Over } else { State::Untouched };
        Self { body, stream, held: Bytes::new(), state }
    }

    /// The upstream wants the body (RFC 9110 section 10.1.1).
    pub(super) fn go(&mut self) {
        self.body.go();
    }

    /// The body, if nothing of it was read.
    pub(super) fn untouched(self) -> Option<Sent> {
        (self.state == State::Untouched || self.body.is_nothing()).then_some(self.body)
    }

    /// Moves what can be moved. Fails if the client's side broke: then the stream is reset.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), h2::Error> {
        while self.state != State::Over {
            let moved = if self.held.is_empty() { self.poll_body(cx)? } else { self.poll_held(cx) };
            if moved.is_pending() {
                break;
            }
        }
        Ok(())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, h2::Error> {
        // An upstream that answers early may take no more of it; the answer tells the rest.
        if let Poll::Ready(_reset) = self.stream.poll_reset(cx) {
            self.state = State::Over;
            return Ok(Poll::Ready(()));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return Ok(Poll::Pending);
        };
        if self.state == State::Untouched {
            self.state = State::Under;
        }
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.hold(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.end(|stream| stream.send_trailers(trailers));
                }
            },
            None => self.end(|stream| stream.send_data(Bytes::new(), true)),
            Some(Err(_cut)) => {
                self.stream.send_reset(Reason::CANCEL);
                self.state = State::Over;
                return Err(Reason::CANCEL.into());
            }
        }
        Ok(Poll::Ready(()))
    }

    fn hold(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.stream.reserve_capacity(data.len());
        self.held = data;
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let open = self.stream.capacity().min(self.held.len());
        if open == 0 {
            return match self.stream.poll_capacity(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(_more))) => Poll::Ready(()),
                Poll::Ready(Some(Err(_)) | None) => {
                    self.state = State::Over;
                    Poll::Ready(())
                }
            };
        }
        let piece = self.held.split_to(open);
        let last = self.held.is_empty() && self.body.is_end_stream();
        if last {
            self.end(|stream| stream.send_data(piece, true));
        } else if self.stream.send_data(piece, false).is_err() {
            self.state = State::Over;
        }
        Poll::Ready(())
    }

    /// A stream that takes it no longer says why on its other side.
    fn end(&mut self, last: impl FnOnce(&mut SendStream<Bytes>) -> Result<(), h2::Error>) {
        let _told_there = last(&mut self.stream);
        self.state = State::Over;
    }
}
