//! One request and its answer, on a connection used before or a new one.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::header::{AUTHORIZATION, HeaderMap};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use super::link::{Link, Lost};
use super::pool::Pool;
use super::sent::Sent;
use super::{AnswerBody, Failure, answer};
use crate::request::UploadState;

/// Carries a request. A connection used before may have died of age at the very moment: then a new
/// one is tried, once, if nothing of the request was sent, or if it is idempotent, has no body and
/// nothing of an answer was read.
pub(super) async fn carry(
    pool: &Rc<Pool>,
    mut request: Request<Sent>,
    upload: Option<UploadState>,
) -> Result<Response<AnswerBody>, Failure> {
    let call = Call::of(&request, upload);
    if let Some(mut link) = pool.take() {
        let spare = spare(&request);
        match link.ask(request, call.upload.as_ref()).await {
            Ok(answer) => return receive(link, answer, &call).await,
            Err(lost) => request = again(lost, spare, &call)?,
        }
    }
    let mut link = pool.connect().await?;
    match link.ask(request, call.upload.as_ref()).await {
        Ok(answer) => receive(link, answer, &call).await,
        Err(lost) => Err(call.blame(lost.failure)),
    }
}

/// What the answer's reading depends on.
struct Call {
    method: Method,
    upload: Option<UploadState>,
    binds_connection: bool,
}

impl Call {
    fn of(request: &Request<Sent>, upload: Option<UploadState>) -> Self {
        let binds = |value: &HeaderValue| answer::binds_connection(value.as_bytes());
        Self {
            method: request.method().clone(),
            upload,
            binds_connection: request.headers().get_all(AUTHORIZATION).iter().any(binds),
        }
    }

    /// A broken upload breaks the connection too; the upstream is not to blame.
    fn blame(&self, failure: Failure) -> Failure {
        let cut = self.upload.as_ref().is_some_and(|state| state.fault().is_some());
        if cut { Failure::Upload } else { failure }
    }

    /// Whether the request was read whole: an answer that comes before is an early one.
    fn is_sent(&self) -> bool {
        self.upload.as_ref().is_none_or(UploadState::is_whole)
    }
}

/// A copy of a request that may be sent twice (RFC 9110 section 9.2.2).
fn spare(request: &Request<Sent>) -> Option<Request<Sent>> {
    if !request.body().is_end_stream() || !is_idempotent(request.method()) {
        return None;
    }
    let mut copy = Request::new(Sent::nothing());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    let headers: &mut HeaderMap = copy.headers_mut();
    headers.clone_from(request.headers());
    Some(copy)
}

/// PROPFIND and REPORT are safe too (RFC 4918 section 9.1, RFC 3253 section 3.6).
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || matches!(method.as_str(), "PROPFIND" | "REPORT")
}

fn again(lost: Lost, spare: Option<Request<Sent>>, call: &Call) -> Result<Request<Sent>, Failure> {
    let replay = if lost.unheard { spare } else { None };
    lost.unsent.or(replay).ok_or_else(|| call.blame(lost.failure))
}

async fn receive(
    mut link: Box<Link>,
    mut answer: Response<Incoming>,
    call: &Call,
) -> Result<Response<AnswerBody>, Failure> {
    let reuse = answer::reframe(&mut answer, &call.method)?;
    if reuse == answer::Reuse::Never || call.binds_connection || !call.is_sent() {
        link.spoil();
    }
    let (head, body) = answer.into_parts();
    if !body.is_end_stream() {
        return Ok(Response::from_parts(head, AnswerBody::streaming(body, link)));
    }
    let mut ended = Some(link);
    poll_fn(|cx| {
        if let Some(link) = ended.take() {
            link.settle(cx);
        }
        Poll::Ready(())
    })
    .await;
    Ok(Response::from_parts(head, AnswerBody::empty(body)))
}
