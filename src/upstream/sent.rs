//! The body of a request as it goes to the upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::TrailerRules;
use super::uploads::UploadPlace;
use crate::request::Upload;
use crate::request::UploadTrailers::{Dropped, Passed};

/// An upload, held back while the client waits for 100 (RFC 9110 section 10.1.1); or nothing.
#[derive(Debug)]
pub(super) struct Sent(Option<Box<Load>>);

/// On the heap, since most requests bring none.
#[derive(Debug)]
struct Load {
    upload: Upload<Incoming>,
    /// What may be in its trailers.
    rules: TrailerRules,
    gate: Option<Gate>,
    /// Among its client's uploads, until it has ended.
    place: Option<UploadPlace>,
}

#[derive(Debug)]
struct Gate {
    /// Set by the upstream's 100. Only hyper's callback asks for more than a `Cell`.
    open: Arc<AtomicBool>,
    patience: Pin<Box<Sleep>>,
}

impl Sent {
    /// Nothing to send.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Whether there is nothing to send.
    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps a place of its client's until it has ended, or until it is to have another.
    pub(super) fn hold(&mut self, place: Option<UploadPlace>) {
        if let Some(load) = &mut self.0 {
            load.place = place;
        }
    }

    /// The upstream wants the body, of which it was told in another way than by hyper.
    pub(super) fn go(&mut self) {
        if let Some(load) = &mut self.0 {
            load.gate = None;
        }
    }

    /// Frames a request anew: what had a length keeps one, what was chunked stays chunked, and an
    /// empty POST says so (RFC 9110 section 8.6).
    pub(super) fn frame(
        mut head: Parts,
        upload: Upload<Incoming>,
        rules: &TrailerRules,
    ) -> Request<Self> {
        if upload.is_end_stream() {
            head.headers.remove(EXPECT);
            if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            return Request::from_parts(head, Self::nothing());
        }
        if upload.size_hint().exact().is_none() {
            // hyper frames no body of its own accord on GET or HEAD, and would lose it.
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let waits = expects_continue(&head.headers);
        let passes = if is_grpc(&head.headers) { Passed } else { Dropped };
        let mut request = Request::from_parts(head, Self::nothing());
        let gate = waits.then(|| Gate::before(&mut request));
        let upload = upload.with_trailers(passes);
        *request.body_mut() =
            Self(Some(Box::new(Load { upload, rules: rules.clone(), gate, place: None })));
        request
    }
}

/// gRPC alone has a use for the trailers of requests.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Gate {
    fn before(request: &mut Request<Sent>) -> Self {
        let open = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&open);
        hyper::ext::on_informational(request, move |interim| {
            if interim.status() == StatusCode::CONTINUE {
                told.store(true, Ordering::Relaxed);
            }
        });
        Self { open, patience: Box::pin(sleep(PATIENCE)) }
    }

    /// The connection polls this body after every read, so the callback needs to wake nobody.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.patience.as_mut().poll(cx)
    }
}

impl Load {
    fn filter(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                self.rules.strip_request(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(load) = &mut self.0 else {
            return Poll::Ready(None);
        };
        if let Some(gate) = &mut load.gate {
            // A final answer came instead of the 100. The body stays where it is, and with it the
            // connection ends.
            if load.upload.state().is_answered() {
                return Poll::Pending;
            }
            ready!(gate.poll_open(cx));
            load.gate = None;
        }
        let frame = ready!(Pin::new(&mut load.upload).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || load.upload.is_end_stream() {
            load.place = None;
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| load.filter(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|load| load.upload.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |load| load.upload.size_hint())
    }
}

/// How long an upstream that never says 100 keeps the body back.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
