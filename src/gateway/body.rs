//! The body of an answer, ours or an upstream's, with the record of its exchange.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::open::Claim;
use super::upgrade::Tunnel;
use crate::request::UploadState;
use crate::revocation::Place;
use crate::telemetry::{Exchange, RequestId, X_REQUEST_ID};
use crate::upstream::{self, AnswerBody, Upgraded};

/// What an answer says.
#[derive(Debug)]
pub(super) enum Content {
    /// Said by the gateway itself.
    Own(Bytes),
    /// Said by an upstream.
    Upstream(AnswerBody),
    /// Nothing: the connection becomes a tunnel.
    Tunnel(Box<Upgraded>),
}

/// Tells the id of the request's log lines, where the answer is ours: an application says of its own
/// what it likes.
pub(super) fn tell_request_id(answer: &mut Response<Content>, id: RequestId) {
    if matches!(answer.body(), Content::Own(_)) {
        answer.headers_mut().insert(X_REQUEST_ID, id.header_value());
    }
}

/// Tells that the connection ends with an answer that leaves a body unread (RFC 9112 section 9.6);
/// HTTP/2, which resets that stream alone, carries no such header.
pub(super) fn tell_unread(answer: &mut Response<Content>, upload: &UploadState) {
    let is_told = |value: &HeaderValue| value == "close";
    if !upload.is_whole()
        && !matches!(answer.body(), Content::Tunnel(_))
        && !answer.headers().get_all(CONNECTION).iter().any(is_told)
    {
        answer.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// An answer's body on its way to the client. When it ends or is dropped, the exchange is told.
#[derive(Debug)]
pub struct Body {
    content: Content,
    /// None once it was taken along by a tunnel.
    exchange: Option<Box<Exchange>>,
    /// The stream is open for so long.
    place: Option<Place<Claim>>,
}

/// The answer as it goes to the client: to HEAD it tells only how long it would be (RFC 9110 section
/// 9.3.2).
pub(super) fn to_client(
    mut answer: Response<Content>,
    (exchange, place): (Box<Exchange>, Option<Place<Claim>>),
    method: &Method,
) -> Response<Body> {
    if *method == Method::HEAD
        && let Content::Own(bytes) = answer.body_mut()
        && !bytes.is_empty()
    {
        let length = HeaderValue::from(std::mem::take(bytes).len());
        answer.headers_mut().insert(CONTENT_LENGTH, length);
    }
    answer.map(|content| Body::new(content, exchange, place))
}

impl Body {
    fn new(content: Content, mut exchange: Box<Exchange>, place: Option<Place<Claim>>) -> Self {
        // Nothing of these is ever polled: the head is all there is.
        let opens_tunnel = matches!(content, Content::Tunnel(_));
        if !opens_tunnel && content.is_over() {
            exchange.complete();
        }
        Self { content, exchange: Some(exchange), place }
    }

    /// Takes the tunnel out that the answer opens, if it does.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        let nothing = Content::Own(Bytes::new());
        match std::mem::replace(&mut self.content, nothing) {
            Content::Tunnel(upgraded) => {
                Some(Tunnel::new(upgraded, self.exchange.take()?, self.place.take()))
            }
            other @ (Content::Own(_) | Content::Upstream(_)) => {
                self.content = other;
                None
            }
        }
    }
}

impl Content {
    fn is_over(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Tunnel(_) => true,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match &mut self.content {
            Content::Own(bytes) if bytes.is_empty() => None,
            Content::Own(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Upstream(body) => ready!(Pin::new(body).poll_frame(context)),
            Content::Tunnel(_) => return Poll::Ready(None),
        };
        let is_broken = matches!(frame, Some(Err(_)));
        let is_whole = !is_broken && (frame.is_none() || self.content.is_over());
        if let Some(exchange) = &mut self.exchange {
            match &frame {
                Some(Ok(frame)) => exchange.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(cause)) => exchange.upstream_broke_off(&upstream::chain(&**cause)),
                None => {}
            }
            if is_whole {
                exchange.complete();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Content::Upstream(body) => body.size_hint(),
            Content::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
