//! A request's body on its way: bounded in size and slowness, data frames only.
//!
//! [`Upload`] is what goes to an upstream, [`collect`] what the gateway's own endpoints read. Neither
//! knows HTTP statuses; an [`UploadState`] kept aside tells why a body was cut.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

type BoxError = Box<dyn Error + Send + Sync>;

/// What bounds an upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    /// The most bytes; None: no bound.
    pub max_bytes: Option<u64>,
    /// The least bytes a second, once `grace` has passed and until the answer begins; 0: no bound.
    pub min_rate: u64,
    /// See `min_rate`.
    pub grace: Duration,
}

/// How an upload fares, shared with the exchange.
#[derive(Clone, Debug, Default)]
pub struct UploadState(Rc<Cell<Progress>>);

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    bytes: u64,
    whole: bool,
    answered: bool,
    fault: Option<UploadFault>,
}

/// Why an upload was cut.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UploadFault {
    /// 413
    #[error("the body is larger than its limit")]
    TooLarge,
    /// 408
    #[error("the body comes too slowly")]
    TooSlow,
    /// 400, where anybody is left to be told: bad framing, or the client went away.
    #[error("the body ended early")]
    Broken,
}

impl UploadState {
    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.0.get().bytes
    }

    /// Whether all of it was read.
    pub fn is_whole(&self) -> bool {
        self.0.get().whole
    }

    /// Why it was cut, if it was.
    pub fn fault(&self) -> Option<UploadFault> {
        self.0.get().fault
    }

    /// Notes that the head of the answer has come: what goes on beside it is the application's
    /// affair.
    pub fn note_answer(&self) {
        self.update(|progress| progress.answered = true);
    }

    /// Whether the head of the answer has come.
    pub fn is_answered(&self) -> bool {
        self.0.get().answered
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.0.get();
        change(&mut progress);
        self.0.set(progress);
    }
}

/// What becomes of a body's trailers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadTrailers {
    /// Hardly an application reads them, and none expects them.
    #[default]
    Dropped,
    /// They go on; who sends them on filters them.
    Passed,
}

/// The first bytes of a request's body, an extension of requests over HTTP/2 of which it was not
/// known whether they had one: read already, and missing in the body that comes along.
#[derive(Clone, Debug)]
pub struct FirstBytes(pub Bytes);

/// The body of a request, streamed. Trailers are dropped, unless they are said to pass.
#[derive(Debug)]
pub struct Upload<B> {
    /// What comes before `inner`.
    first: Option<Box<FirstBytes>>,
    inner: B,
    trailers: UploadTrailers,
    limits: UploadLimits,
    state: UploadState,
    pace: Option<Pace>,
    /// An end that was not told is none.
    end_is_told: bool,
}

impl<B: Body<Data = Bytes>> Upload<B> {
    /// Wraps a body.
    pub fn new(inner: B, mut limits: UploadLimits) -> Self {
        limits.grace = limits.grace.min(A_DAY);
        let state = UploadState::default();
        state.update(|progress| progress.whole = inner.is_end_stream());
        let trailers = UploadTrailers::Dropped;
        Self { first: None, inner, trailers, limits, state, pace: None, end_is_told: false }
    }

    /// The same body with these bytes before it, if there are any.
    #[must_use]
    pub fn after(self, first: Option<FirstBytes>) -> Self {
        let Some(first) = first else { return self };
        self.state.update(|progress| progress.whole = false);
        Self { first: Some(Box::new(first)), ..self }
    }

    /// The same body, with whether its end is told apart from its last byte (END_STREAM, RFC 9113
    /// section 8.1): hyper takes a stream that is reset with NO_ERROR for one that has ended.
    #[must_use]
    pub fn with_end_told(self, end_is_told: bool) -> Self {
        Self { end_is_told, ..self }
    }

    /// The state, to keep.
    pub fn state(&self) -> UploadState {
        self.state.clone()
    }

    /// The same body with another bound on its bytes; nothing of it may have been read yet.
    #[must_use]
    pub fn bounded(mut self, max_bytes: Option<u64>) -> Self {
        self.limits.max_bytes = max_bytes;
        self
    }

    /// The same body with other rules for its trailers.
    #[must_use]
    pub fn with_trailers(self, trailers: UploadTrailers) -> Self {
        Self { trailers, ..self }
    }

    /// Refuses a body that says beforehand (`Content-Length`) that it is too large, unread.
    pub fn check_declared(&self) -> Result<(), UploadFault> {
        match self.limits.max_bytes {
            Some(max) if self.length().lower() > max => Err(self.cut(UploadFault::TooLarge)),
            _ => Ok(()),
        }
    }

    fn length(&self) -> SizeHint {
        let rest = self.inner.size_hint();
        let Some(FirstBytes(first)) = self.first.as_deref() else { return rest };
        let first = u64::try_from(first.len()).unwrap_or(u64::MAX);
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            whole.set_upper(upper.saturating_add(first));
        }
        whole
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
    where
        B: Unpin,
    {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first.0)))),
            None => Pin::new(&mut self.inner).poll_frame(cx),
        }
    }

    fn cut(&self, fault: UploadFault) -> UploadFault {
        self.state.update(|progress| progress.fault = Some(fault));
        fault
    }

    fn accept(&mut self, data: &Bytes) -> Result<(), UploadFault> {
        let arrived = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.state.update(|progress| progress.bytes = progress.bytes.saturating_add(arrived));
        if self.limits.max_bytes.is_some_and(|max| self.state.bytes() > max) {
            return Err(self.cut(UploadFault::TooLarge));
        }
        if let Some(pace) = &mut self.pace {
            pace.credit(arrived, &self.limits);
        }
        Ok(())
    }

    /// Only a client that we wait for can be too slow; an upstream that does not read is not its fault.
    /// Beside an answer either may be silent, as in streams that go both ways.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<UploadFault> {
        if self.limits.min_rate == 0 || self.state.is_answered() {
            return Poll::Pending;
        }
        let pace = self.pace.get_or_insert_with(|| Pace::new(&self.limits));
        ready!(pace.poll_spent(cx));
        Poll::Ready(self.cut(UploadFault::TooSlow))
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(fault) = this.state.fault() {
            return Poll::Ready(Some(Err(fault.into())));
        }
        loop {
            let frame = match this.poll_next(cx) {
                Poll::Pending => return this.wait(cx).map(|fault| Some(Err(fault.into()))),
                Poll::Ready(frame) => frame,
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None if this.end_is_told && !this.inner.is_end_stream() => {
                    return Poll::Ready(Some(Err(this.cut(UploadFault::Broken).into())));
                }
                None => {
                    this.state.update(|progress| progress.whole = true);
                    return Poll::Ready(None);
                }
                Some(Err(cause)) => {
                    this.cut(UploadFault::Broken);
                    return Poll::Ready(Some(Err(cause.into())));
                }
                Some(Ok(Err(trailers))) if this.trailers == UploadTrailers::Passed => {
                    this.state.update(|progress| progress.whole = true);
                    return Poll::Ready(Some(Ok(trailers)));
                }
                Some(Ok(Err(_dropped))) => {}
                Some(Ok(Ok(data))) => {
                    if let Err(fault) = this.accept(&data) {
                        return Poll::Ready(Some(Err(fault.into())));
                    }
                    let whole = this.inner.is_end_stream();
                    this.state.update(|progress| progress.whole = whole);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state.fault().is_none() && self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length()
    }
}

/// Time that a client may still keep us waiting. Bytes earn more, up to the grace, so that no
/// burst buys a long silence.
#[derive(Debug)]
struct Pace {
    left: Duration,
    waiting_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(limits: &UploadLimits) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + limits.grace));
        Self { left: limits.grace, waiting_since: None, timer }
    }

    fn poll_spent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let end = since + self.left;
        // The timer is moved only when it fires early or would fire late: most waits end before.
        if self.timer.deadline() > end {
            self.timer.as_mut().reset(end);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.timer.deadline() >= end {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    fn credit(&mut self, arrived: u64, limits: &UploadLimits) {
        let waited = self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let nanos = arrived.saturating_mul(1_000_000_000) / limits.min_rate.max(1);
        let earned = Duration::from_nanos(nanos);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(limits.grace);
    }
}

/// No grace is longer: a moment beyond the clock's reach cannot be waited for.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a small body could not be read whole.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CollectError {
    /// 413
    #[error("the body is larger than its limit")]
    TooLarge,
    /// 408
    #[error("the body comes too slowly")]
    TooSlow,
    /// 400: bad framing, or the client went away.
    #[error("the body ended early")]
    Broken,
}

/// Reads a body of at most `limit` bytes whole.
pub async fn collect<B>(mut upload: Upload<B>, limit: usize) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let state = upload.state();
    let mut whole = BytesMut::new();
    while let Some(frame) = upload.frame().await {
        let Ok(data) = frame.map(|frame| frame.into_data().unwrap_or_default()) else {
            return Err(state.fault().map_or(CollectError::Broken, CollectError::from));
        };
        if whole.len().saturating_add(data.len()) > limit {
            return Err(CollectError::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

impl From<UploadFault> for CollectError {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::TooLarge => Self::TooLarge,
            UploadFault::TooSlow => Self::TooSlow,
            UploadFault::Broken => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests;
