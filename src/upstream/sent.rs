//! The body of a request as it goes to the upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::request::Upload;

/// An upload, held back while the client waits for 100 (RFC 9110 section 10.1.1); or nothing.
#[derive(Debug)]
pub(super) struct Sent {
    upload: Option<Upload<Incoming>>,
    gate: Option<Gate>,
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
        Self { upload: None, gate: None }
    }

    /// Frames a request anew: what had a length keeps one, what was chunked stays chunked, and an
    /// empty POST says so (RFC 9110 section 8.6).
    pub(super) fn frame(mut head: Parts, upload: Upload<Incoming>) -> Request<Self> {
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
        let mut request = Request::from_parts(head, Self { upload: Some(upload), gate: None });
        if waits {
            request.body_mut().gate = Some(Gate::before(&mut request));
        }
        request
    }
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

impl Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.poll_open(cx));
            self.gate = None;
        }
        match &mut self.upload {
            Some(upload) => Pin::new(upload).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upload.as_ref().is_none_or(Upload::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.as_ref().map_or_else(|| SizeHint::with_exact(0), Upload::size_hint)
    }
}

/// How long an upstream that never says 100 keeps the body back.
const PATIENCE: Duration = Duration::from_secs(1);
