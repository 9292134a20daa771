//! The body of an answer on its way.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Instant;

use super::debt::Debt;
use super::link::{Link, Silence};
use super::stream::{StreamBody, for_logs};
use super::{TrailerRules, Upgraded};
use crate::request::UploadState;
use crate::revocation::Cut;
use crate::telemetry::Worker;

type BoxError = Box<dyn Error + Send + Sync>;

/// Data frames and filtered trailers of an upstream's answer; fails hard when the upstream dies.
///
/// Holds the upstream's connection and drives it; gives it back at a clean end, and closes it when
/// dropped before.
pub struct AnswerBody {
    inner: Inner,
    link: Option<Box<Link>>,
    rules: Option<TrailerRules>,
    silence: Silence,
    /// What goes the other way meanwhile, and how much of it had gone when it was last looked at.
    upload: Option<(UploadState, u64)>,
    tunnel: Option<Box<Upgraded>>,
}

enum Inner {
    Nothing,
    /// On a connection of its own.
    Own(Incoming),
    /// On one that others share.
    Shared(Box<StreamBody>),
}

/// Why a body was cut.
#[derive(Clone, Copy, Debug, Error)]
#[error("the upstream sent nothing for too long")]
struct Silent;

impl AnswerBody {
    /// A body that comes over this connection.
    pub(super) fn streaming(inner: Incoming, link: Box<Link>) -> Self {
        Self { link: Some(link), ..Self::empty(inner) }
    }

    /// The body of an answer that has none.
    pub(super) fn empty(inner: Incoming) -> Self {
        Self::of(Inner::Own(inner))
    }

    /// The body of a 101: none, and what comes instead of it.
    pub(super) fn tunnel(inner: Incoming, upgraded: Upgraded) -> Self {
        Self { tunnel: Some(Box::new(upgraded)), ..Self::empty(inner) }
    }

    /// Takes the tunnel out that the answer opens, if it does.
    pub fn take_tunnel(&mut self) -> Option<Box<Upgraded>> {
        self.tunnel.take()
    }

    /// No body, of an answer that came on a connection that others share.
    pub(super) fn nothing() -> Self {
        Self::of(Inner::Nothing)
    }

    /// A body that comes on such a connection.
    pub(super) fn shared(body: Box<StreamBody>) -> Self {
        Self::of(Inner::Shared(body))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner,
            link: None,
            rules: None,
            silence: Silence::Begins,
            upload: None,
            tunnel: None,
        }
    }

    /// Lets it be cut, and counted as cut, when its client reads too slowly while others wait for the
    /// place that it holds. What holds none is never cut.
    pub fn read_by(&self, cut: &Rc<Cut>, telemetry: &Worker) {
        if let Some(debt) = self.debt() {
            debt.begin(cut, telemetry);
        }
    }

    fn debt(&self) -> Option<&Debt> {
        match (&self.link, &self.inner) {
            (Some(link), _) => Some(link.debt()),
            (None, Inner::Shared(body)) => Some(body.debt()),
            (None, Inner::Own(_) | Inner::Nothing) => None,
        }
    }

    /// Filters trailers by these rules; without any, there are no trailers.
    pub(super) fn with_rules(self, rules: TrailerRules) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// Does not take it for silence that an upload goes on beside it.
    pub(super) fn beside(self, upload: Option<UploadState>) -> Self {
        Self { upload: upload.map(|state| (state, 0)), ..self }
    }

    /// Reads before driving, so that a frame that is there is not waited for.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut polled = self.inner.poll_frame(cx);
        if let (true, Some(link)) = (polled.is_pending(), &mut self.link) {
            link.drive(cx);
            polled = self.inner.poll_frame(cx);
        }
        if polled.is_ready() {
            self.silence = Silence::Begins;
            return polled;
        }
        if let Some((state, before)) = &mut self.upload
            && std::mem::replace(before, state.bytes()) < *before
        {
            self.silence = Silence::Begins;
        }
        let since = std::mem::replace(&mut self.silence, Silence::Lasts);
        let silent = match (&mut self.link, &mut self.inner) {
            (Some(link), _) => link.poll_silent(cx, since),
            (None, Inner::Shared(body)) => body.poll_silent(cx, since),
            (None, Inner::Own(_) | Inner::Nothing) => Poll::Pending,
        };
        silent.map(|()| Some(Err(Silent.into())))
    }

    fn filter(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                match &self.rules {
                    Some(rules) => rules.strip_answer(&mut trailers),
                    None => trailers.clear(),
                }
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }

    /// At a clean end: the connection, or the stream, is given back.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            link.debt().end();
            link.settle(cx);
        }
        self.leave_shared();
    }

    fn leave_shared(&mut self) {
        if let Inner::Shared(_) = self.inner {
            self.inner = Inner::Nothing;
        }
    }
}

impl Inner {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Nothing => Poll::Ready(None),
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Shared(body) => body.poll_frame(cx).map_err(broken),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Own(body) => body.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Own(body) => body.size_hint(),
            Self::Shared(body) => body.size_hint(),
        }
    }
}

/// A stream that is reset before its end is broken, also where its reason says that nothing is wrong:
/// passed on, that would look like an end to clients of HTTP/2.
pub(super) fn broken(cause: h2::Error) -> BoxError {
    if cause.reason() == Some(h2::Reason::NO_ERROR) {
        for_logs(&cause).into()
    } else {
        cause.into()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(debt) = self.debt() {
            debt.pay();
        }
        let polled = self.poll_inner(cx);
        match &polled {
            Poll::Pending => {
                if let Some(debt) = self.debt() {
                    debt.rest();
                }
            }
            Poll::Ready(None) => self.settle(cx),
            // hyper asks no more after the last byte of a known length.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || self.inner.is_end_stream() => {
                self.settle(cx);
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(debt) = self.debt() {
                    debt.lend(frame.data_ref().map_or(0, Bytes::len), Instant::now);
                }
            }
            Poll::Ready(Some(Err(_))) => {
                self.link = None;
                self.leave_shared();
            }
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
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}
