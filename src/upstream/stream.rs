//! One request and its answer on a connection that others share (RFC 9113 section 8).
//!
//! The exchange itself moves the bytes of its stream: who drops it resets the stream, both ways.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};

use super::debt::Debt;
use super::exchange::{Call, Failed};
use super::link::{Deadline, Silence, Wait};
use super::pool::Pool;
use super::sending::Sending;
use super::sent::Sent;
use super::streams::{self, Age, Sharing, Ticket};
use super::terms::Waits;
use super::{AnswerBody, Failure, answer};
use crate::request::UploadState;

/// What became of a request that was to share a connection.
pub(super) enum Shared {
    /// It was answered.
    Answered(Response<AnswerBody>),
    /// The server speaks HTTP/1.1: here it is again.
    SpeaksHttp1(Box<Request<Sent>>),
}

/// Asks one server. What it has certainly not processed, or what may be processed twice and came
/// on a connection that had died of age, is asked once more.
pub(super) async fn attempt(
    pool: &Rc<Pool>,
    mut request: Request<Sent>,
    (call, waits): (&Call, Waits),
) -> Result<Shared, Box<Failed>> {
    let sharing = if call.binds_connection() { Sharing::Never } else { Sharing::Allowed };
    let mut tries = 0;
    loop {
        let ticket = match streams::place(pool, sharing, waits.connect).await {
            Ok(Some(ticket)) => ticket,
            Ok(None) => return Ok(Shared::SpeaksHttp1(Box::new(request))),
            Err(failure) => return Err(Failed::boxed(failure, Some(request))),
        };
        let age = ticket.age();
        let lost = match ask(ticket, request, (call, waits)).await {
            Ok(answer) => return Ok(Shared::Answered(answer)),
            Err(lost) => lost,
        };
        tries += 1;
        match lost.request {
            Some(again) if tries < MOST_TRIES && (lost.unprocessed || age == Age::Used) => {
                request = again;
            }
            request => return Err(Failed::boxed(lost.failure, request)),
        }
    }
}

/// A request that got no answer.
struct Lost {
    failure: Failure,
    /// The server has certainly not processed it (RFC 9113 section 8.7).
    unprocessed: bool,
    /// The request, if it may be sent once more.
    request: Option<Request<Sent>>,
}

impl Lost {
    fn of(failure: Failure) -> Box<Self> {
        Box::new(Self { failure, unprocessed: false, request: None })
    }

    fn unsent(cause: &h2::Error, request: Request<Sent>) -> Box<Self> {
        let failure = Failure::Answer(for_logs(cause));
        Box::new(Self { failure, unprocessed: true, request: Some(request) })
    }
}

async fn ask(
    ticket: Ticket,
    request: Request<Sent>,
    (call, waits): (&Call, Waits),
) -> Result<Response<AnswerBody>, Box<Lost>> {
    let (head, body) = request.into_parts();
    let wired = wire(&head, &body, ticket.scheme()).map_err(Lost::of)?;
    let mut stream = match open(&ticket, wired, body).await {
        Ok((answer, sending)) => {
            let timer = Deadline::after(waits.idle);
            Stream { answer, sending, interim: 0, timer, waits }
        }
        Err(unopened) => {
            ticket.retire();
            let (cause, body) = *unopened;
            return Err(Lost::unsent(&cause, Request::from_parts(head, body)));
        }
    };
    match stream.head(call.upload()).await {
        Ok(answer) => stream.receive(answer, ticket, call).map_err(Lost::of),
        Err(NoHead::Failed(failure)) => {
            if failure == Failure::TimedOut {
                ticket.time_out();
            }
            Err(Lost::of(failure))
        }
        Err(NoHead::Broken(cause)) => {
            if cause.is_go_away() {
                ticket.retire();
            }
            Err(stream.lost(&cause, head, call))
        }
    }
}

type Unopened = Box<(h2::Error, Sent)>;

async fn open(
    ticket: &Ticket,
    wired: Request<()>,
    body: Sent,
) -> Result<(ResponseFuture, Sending), Unopened> {
    let Some(mut sender) = ticket.sender() else {
        return Err(Box::new((Reason::REFUSED_STREAM.into(), body)));
    };
    if let Err(cause) = poll_fn(|cx| sender.poll_ready(cx)).await {
        return Err(Box::new((cause, body)));
    }
    match sender.send_request(wired, body.is_end_stream()) {
        Ok((answer, stream)) => Ok((answer, Sending::new(body, stream))),
        Err(cause) => Err(Box::new((cause, body))),
    }
}

/// The head as it is written here: without anything of one connection's (RFC 9113 section 8.2.2),
/// and `Host` as `:authority`.
fn wire(head: &Parts, body: &Sent, scheme: Scheme) -> Result<Request<()>, Failure> {
    let (mut wired, ()) = Request::new(()).into_parts();
    wired.headers = head.headers.clone();
    let host = wired.headers.remove(HOST).unwrap_or(HeaderValue::from_static("localhost"));
    wired.headers.remove(CONNECTION);
    wired.headers.remove(TRANSFER_ENCODING);
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        wired.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let unwritable = || Failure::Answer("the request has no form in HTTP/2".to_owned());
    let mut uri = head.uri.clone().into_parts();
    uri.scheme = Some(scheme);
    uri.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_invalid| unwritable())?);
    wired.uri = Uri::from_parts(uri).map_err(|_invalid| unwritable())?;
    wired.method = head.method.clone();
    wired.version = Version::HTTP_2;
    Ok(Request::from_parts(wired, ()))
}

/// A request under way.
struct Stream {
    answer: ResponseFuture,
    sending: Sending,
    interim: usize,
    timer: Deadline,
    waits: Waits,
}

enum NoHead {
    Failed(Failure),
    Broken(h2::Error),
}

impl Stream {
    /// Sends and waits for the head of the answer, by the same time-outs as on any connection.
    async fn head(&mut self, upload: Option<&UploadState>) -> Result<Response<RecvStream>, NoHead> {
        let mut wait = Wait::new(upload);
        poll_fn(|cx| {
            if let Poll::Ready(head) = self.poll_head(cx) {
                return Poll::Ready(head);
            }
            wait.refresh(&mut self.timer, self.waits);
            self.timer.poll_passed(cx).map(|()| Err(NoHead::Failed(Failure::TimedOut)))
        })
        .await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, NoHead>> {
        while let Poll::Ready(Some(Ok(interim))) = self.answer.poll_informational(cx) {
            if let Err(failure) = self.heed(interim.status()) {
                return Poll::Ready(Err(NoHead::Failed(failure)));
            }
        }
        if self.sending.poll(cx).is_err() {
            return Poll::Ready(Err(NoHead::Failed(Failure::Upload)));
        }
        Pin::new(&mut self.answer).poll(cx).map_err(NoHead::Broken)
    }

    fn heed(&mut self, interim: StatusCode) -> Result<(), Failure> {
        self.interim = self.interim.saturating_add(1);
        match interim {
            StatusCode::CONTINUE => self.sending.go(),
            // RFC 9113 section 8.6: there is none.
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Failure::Answer(format!("{interim} that nobody asked for")));
            }
            _ => {}
        }
        if self.interim > MOST_INTERIM {
            return Err(Failure::Answer("too many interim answers".to_owned()));
        }
        Ok(())
    }

    fn receive(
        self,
        answer: Response<RecvStream>,
        ticket: Ticket,
        call: &Call,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut answer = answer;
        *answer.version_mut() = Version::HTTP_11;
        ticket.hear();
        let length = length(answer.headers())?;
        let reuse = answer::reframe(&mut answer, call.method())?;
        if reuse == answer::Reuse::Never {
            ticket.retire();
        }
        let bodiless = has_no_body(answer.status(), call.method());
        let (head, received) = answer.into_parts();
        if bodiless || received.is_end_stream() {
            return Ok(Response::from_parts(head, AnswerBody::nothing()));
        }
        let Self { sending, timer, waits, .. } = self;
        let debt = ticket.debts().open();
        let body = StreamBody { received, length, sending, timer, waits, ticket, debt };
        Ok(Response::from_parts(head, AnswerBody::shared(Box::new(body))))
    }

    /// What is left of a request whose stream broke before an answer.
    fn lost(self, cause: &h2::Error, head: Parts, call: &Call) -> Box<Lost> {
        let refused = cause.is_reset() && cause.reason() == Some(Reason::REFUSED_STREAM);
        let unprocessed = cause.is_remote() && (refused || cause.is_go_away());
        let repeatable = cause.is_io() && self.interim == 0 && call.may_repeat();
        let untouched = if unprocessed || repeatable { self.sending.untouched() } else { None };
        let failure = Failure::Answer(for_logs(cause));
        let request = untouched.map(|body| Request::from_parts(head, body));
        Box::new(Lost { failure, unprocessed, request })
    }
}

/// Without what a GOAWAY tells beside its reason, which "could contain security- or
/// privacy-sensitive data" (RFC 9113 section 6.8).
pub(super) fn for_logs(cause: &h2::Error) -> String {
    match cause.reason() {
        Some(reason) if cause.is_go_away() => format!("the connection ends: {reason}"),
        Some(_) | None => cause.to_string(),
    }
}

/// The length that an answer tells: one, in plain digits. As many headers as elsewhere, no more.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    if headers.len() > MOST_HEADERS {
        return Err(Failure::Answer("too many headers".to_owned()));
    }
    if !headers.contains_key(CONTENT_LENGTH) {
        return Ok(None);
    }
    let told = || Failure::Answer("a length that is none".to_owned());
    if !answer::has_one_length(headers) {
        return Err(told());
    }
    let text = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).map(Some).ok_or_else(told)
}

/// RFC 9110 section 6.4.1.
fn has_no_body(status: StatusCode, method: &Method) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The rest of an answer, and of its request.
pub(super) struct StreamBody {
    received: RecvStream,
    /// Bytes still to come, where it was told.
    length: Option<u64>,
    sending: Sending,
    timer: Deadline,
    waits: Waits,
    ticket: Ticket,
    debt: Rc<Debt>,
}

impl StreamBody {
    /// Of whoever reads it.
    pub(super) fn debt(&self) -> &Debt {
        &self.debt
    }

    /// Data, then trailers if there are any.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Err(cause) = self.sending.poll(cx) {
            return Poll::Ready(Some(Err(cause)));
        }
        match ready!(self.received.poll_data(cx)) {
            Some(Ok(data)) => Poll::Ready(Some(self.take(data))),
            Some(Err(cause)) => Poll::Ready(Some(Err(cause))),
            None => {
                let trailers = ready!(self.received.poll_trailers(cx));
                Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<Frame<Bytes>, h2::Error> {
        self.ticket.hear();
        self.received.flow_control().release_capacity(data.len())?;
        let arrived = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.length = self.length.map(|left| left.saturating_sub(arrived));
        Ok(Frame::data(data))
    }

    /// Whether the upstream has been silent for too long.
    pub(super) fn poll_silent(&mut self, cx: &mut Context<'_>, since: Silence) -> Poll<()> {
        let silent = self.timer.poll_silent(cx, (since, self.waits.idle));
        if silent.is_ready() {
            self.ticket.time_out();
        }
        silent
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.ticket.debts().close(&self.debt);
    }
}

/// Twice is enough for whom a connection's farewell has met; a third time is for bad luck.
const MOST_TRIES: usize = 3;
const MOST_INTERIM: usize = 100;
const MOST_HEADERS: usize = 100;
