//! The body of an answer on its way.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;

use super::HeaderRules;
use super::link::{Link, Silence};

type BoxError = Box<dyn Error + Send + Sync>;

/// Data frames and filtered trailers of an upstream's answer; fails hard when the upstream dies.
///
/// Holds the upstream's connection and drives it; gives it back at a clean end, and closes it when
/// dropped before.
pub struct AnswerBody {
    inner: Incoming,
    link: Option<Box<Link>>,
    rules: Option<HeaderRules>,
    silence: Silence,
}

/// Why a body was cut.
#[derive(Clone, Copy, Debug, Error)]
#[error("the upstream sent nothing for too long")]
struct Silent;

impl AnswerBody {
    /// A body that comes over this connection.
    pub(super) fn streaming(inner: Incoming, link: Box<Link>) -> Self {
        Self { inner, link: Some(link), rules: None, silence: Silence::Begins }
    }

    /// The body of an answer that has none.
    pub(super) fn empty(inner: Incoming) -> Self {
        Self { inner, link: None, rules: None, silence: Silence::Begins }
    }

    /// Filters trailers by these rules; without any, there are no trailers.
    pub(super) fn with_rules(self, rules: HeaderRules) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// Reads before driving, so that a frame that is there is not waited for.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(link) = &mut self.link else {
            return Pin::new(&mut self.inner).poll_frame(cx).map_err(Into::into);
        };
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            link.drive(cx);
            polled = Pin::new(&mut self.inner).poll_frame(cx);
        }
        if let Poll::Ready(frame) = polled {
            self.silence = Silence::Begins;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let since = std::mem::replace(&mut self.silence, Silence::Lasts);
        link.poll_silent(cx, since).map(|()| Some(Err(Silent.into())))
    }

    fn filter(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                match &self.rules {
                    Some(rules) => rules.strip_trailers(&mut trailers),
                    None => trailers.clear(),
                }
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }

    fn settle(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            link.settle(cx);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.poll_inner(cx);
        match &polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => self.settle(cx),
            // hyper asks no more after the last byte of a known length.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || self.inner.is_end_stream() => {
                self.settle(cx);
            }
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_))) => self.link = None,
        }
        polled.map(|frame| frame.map(|frame| frame.map(|frame| self.filter(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
