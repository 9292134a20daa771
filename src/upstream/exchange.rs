//! One request and its answer, on a connection used before or a new one.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use hyper::body::Incoming;

use super::balance::Set;
use super::group::{Asker, Group};
use super::link::{Link, Lost};
use super::pool::{Lease, Pool, Room};
use super::sent::Sent;
use super::stream::{self, Shared};
use super::streams::Speaks;
use super::terms::{Terms, Waits};
use super::{AnswerBody, Failure, answer, upgraded};
use crate::policy::Timeouts;
use crate::request::{Upgrade, UploadState};

/// Carries a request to one of a group's servers, and to another where the first has certainly not
/// processed it, or where it may be processed twice and nothing of an answer was read.
pub(super) async fn carry(
    group: &Rc<Group>,
    request: Box<Request<Sent>>,
    (upload, upgrade, terms): (Option<UploadState>, Option<Box<Upgrade>>, &Terms),
) -> Result<Response<AnswerBody>, Failure> {
    let call = Call::of(&request, (upload, upgrade, terms), group);
    let asker =
        Asker { session: terms.session, uploads_from: call.upload.as_ref().and(call.client) };
    let (at, pool) = group.first(asker)?;
    let lost = match attempt(pool, request, &call).await {
        Ok(answer) => {
            group.succeeded(at);
            return Ok(answer);
        }
        Err(lost) => lost,
    };
    // In a box, as all here that is rare: what every request carries along stays small.
    Box::pin(elsewhere(group, (at, pool, lost), (&call, asker))).await
}

/// Asks other servers, as long as that may be done.
async fn elsewhere<'a>(
    group: &'a Rc<Group>,
    (mut at, mut pool, mut lost): (usize, &'a Rc<Pool>, Box<Failed>),
    (call, asker): (&Call, Asker),
) -> Result<Response<AnswerBody>, Failure> {
    let mut tried = Set::default();
    // Held until the answer's head is there.
    let mut _retry = None;
    loop {
        tried = tried.with(at);
        if call.blames_server(&lost.failure) && !call.excuses(pool, &lost.failure) {
            group.failed(at);
        }
        let next = lost.request.zip(group.again(tried, asker));
        let Some((request, (place, server, retry))) = next else {
            return Err(call.blame(lost.failure));
        };
        (at, pool, _retry) = (place, server, Some(retry));
        match attempt(pool, Box::new(request), call).await {
            Ok(answer) => {
                group.succeeded(at);
                return Ok(answer);
            }
            Err(again) => lost = again,
        }
    }
}

/// An attempt that gave no answer.
pub(super) struct Failed {
    failure: Failure,
    /// The request, if it may be sent to another server.
    request: Option<Request<Sent>>,
}

impl Failed {
    pub(super) fn boxed(failure: Failure, request: Option<Request<Sent>>) -> Box<Self> {
        Box::new(Self { failure, request })
    }
}

/// Asks one server.
async fn attempt(
    pool: &Rc<Pool>,
    request: Box<Request<Sent>>,
    call: &Call,
) -> Result<Response<AnswerBody>, Box<Failed>> {
    let request =
        if call.upload.is_none() { request } else { Box::pin(admit(pool, request, call)).await? };
    if pool.may_share() && call.upgrade.is_none() {
        return Box::pin(shared(pool, request, call)).await;
    }
    alone(pool, request, call).await
}

/// Lets the upload in, before it waits for a connection: what holds none yet holds up nobody else's.
async fn admit(
    pool: &Rc<Pool>,
    mut request: Box<Request<Sent>>,
    call: &Call,
) -> Result<Box<Request<Sent>>, Box<Failed>> {
    if let Some(client) = call.client {
        // That at a server that was asked before.
        request.body_mut().hold(None);
        let patience = pool.waits().with(&call.timeouts).connect;
        match pool.admit(client, patience).await {
            Ok(place) => request.body_mut().hold(Some(place)),
            Err(failure) => return Err(Failed::boxed(failure, Some(*request))),
        }
    }
    Ok(request)
}

async fn shared(
    pool: &Rc<Pool>,
    request: Box<Request<Sent>>,
    call: &Call,
) -> Result<Response<AnswerBody>, Box<Failed>> {
    let waits = pool.waits().with(&call.timeouts);
    match stream::attempt(pool, *request, (call, waits)).await? {
        Shared::Answered(answer) => Ok(answer),
        Shared::SpeaksHttp1(back) => alone(pool, back, call).await,
    }
}

/// Asks it on a connection that no other request shares.
async fn alone(
    pool: &Rc<Pool>,
    request: Box<Request<Sent>>,
    call: &Call,
) -> Result<Response<AnswerBody>, Box<Failed>> {
    let waits = pool.waits().with(&call.timeouts);
    match pool.room() {
        Some(Room::Link(link)) => used(link, request, (call, waits)).await,
        Some(Room::Lease(lease)) => Box::pin(fresh(lease, request, (call, waits))).await,
        None => Box::pin(later(pool, request, (call, waits))).await,
    }
}

/// Once there is room.
async fn later(
    pool: &Rc<Pool>,
    request: Box<Request<Sent>>,
    (call, waits): (&Call, Waits),
) -> Result<Response<AnswerBody>, Box<Failed>> {
    match pool.wait_for_room(waits.connect).await {
        Ok(Room::Link(link)) => used(link, request, (call, waits)).await,
        Ok(Room::Lease(lease)) => fresh(lease, request, (call, waits)).await,
        Err(failure) => Err(Failed::boxed(failure, Some(*request))),
    }
}

/// On a connection used before, which may have died of age at this very moment: then a new one is
/// tried, once, if nothing of the request was sent, or if it is idempotent, has no body and nothing
/// of an answer was read.
async fn used(
    mut link: Box<Link>,
    request: Box<Request<Sent>>,
    (call, waits): (&Call, Waits),
) -> Result<Response<AnswerBody>, Box<Failed>> {
    link.may_upgrade(call.upgrade.is_some());
    let spare = Spare::of(&request);
    let answered = {
        let asked = pin!(link.ask(*request, call.upload.as_ref(), waits));
        link.head(asked, call.upload.as_ref()).await
    };
    let lost = match answered {
        Ok(answer) => return receive(link, answer, call).await,
        Err(lost) => lost,
    };
    let request = Box::new(lost.again(spare)?);
    Box::pin(fresh(link.into_lease(), request, (call, waits))).await
}

async fn fresh(
    lease: Lease,
    request: Box<Request<Sent>>,
    (call, waits): (&Call, Waits),
) -> Result<Response<AnswerBody>, Box<Failed>> {
    let mut link = match Pool::connect(lease, waits.connect).await {
        Ok(link) => link,
        Err(failure) => return Err(Failed::boxed(failure, Some(*request))),
    };
    link.may_upgrade(call.upgrade.is_some());
    let spare = if call.has_others { Spare::of(&request) } else { None };
    let asked = pin!(link.ask(*request, call.upload.as_ref(), waits));
    match link.head(asked, call.upload.as_ref()).await {
        Ok(answer) => receive(link, answer, call).await,
        Err(lost) => {
            let failure = lost.failure.clone();
            Err(Failed::boxed(failure, lost.again(spare).ok()))
        }
    }
}

impl Lost {
    /// The request once more, if it may be sent once more.
    fn again(self, spare: Option<Box<Spare>>) -> Result<Request<Sent>, Box<Failed>> {
        let replay = if self.unheard { spare.map(|spare| spare.into_request()) } else { None };
        self.unsent.or(replay).ok_or_else(|| Failed::boxed(self.failure, None))
    }
}

/// What the answer's reading depends on.
pub(super) struct Call {
    method: Method,
    upload: Option<UploadState>,
    upgrade: Option<Box<Upgrade>>,
    binds_connection: bool,
    client: Option<IpAddr>,
    timeouts: Timeouts,
    /// Whether there is another server that a failed request may go to.
    has_others: bool,
}

impl Call {
    fn of(
        request: &Request<Sent>,
        (upload, upgrade, terms): (Option<UploadState>, Option<Box<Upgrade>>, &Terms),
        group: &Group,
    ) -> Self {
        let binds = |value: &HeaderValue| answer::binds_connection(value.as_bytes());
        Self {
            method: request.method().clone(),
            upload,
            upgrade,
            binds_connection: request.headers().get_all(AUTHORIZATION).iter().any(binds),
            client: terms.client,
            timeouts: terms.timeouts,
            has_others: group.has_others(),
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn upload(&self) -> Option<&UploadState> {
        self.upload.as_ref()
    }

    /// Whether it brings a login that would hold for the whole connection.
    pub(super) fn binds_connection(&self) -> bool {
        self.binds_connection
    }

    /// Whether it may be processed twice (RFC 9110 section 9.2.2).
    pub(super) fn may_repeat(&self) -> bool {
        self.upload.is_none() && is_idempotent(&self.method)
    }

    /// A client that sends too slowly, or no further, proves nothing against a server, and neither
    /// does a house that is full.
    fn blames_server(&self, failure: &Failure) -> bool {
        match failure {
            Failure::Connect(_) | Failure::Protocol(_) | Failure::Answer(_) => {
                self.blame(failure.clone()) == *failure
            }
            Failure::TimedOut => self.is_sent(),
            Failure::Full | Failure::Down | Failure::Upload => false,
        }
    }

    /// Whoever speaks HTTP/2 need not speak HTTP/1.1 too, which a tunnel asks of it.
    fn excuses(&self, pool: &Pool, failure: &Failure) -> bool {
        self.upgrade.is_some()
            && match failure {
                Failure::Protocol(_) => true,
                Failure::Answer(_) => pool.streams().speaks() == Speaks::Http2,
                Failure::Connect(_)
                | Failure::TimedOut
                | Failure::Full
                | Failure::Down
                | Failure::Upload => false,
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

/// What a request that may be sent twice is made of (RFC 9110 section 9.2.2). Its fields are in a
/// list, since nearly every copy is thrown away, and a map costs more to make.
struct Spare {
    method: Method,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Spare {
    fn of(request: &Request<Sent>) -> Option<Box<Self>> {
        let may_repeat = request.body().is_nothing() && is_idempotent(request.method());
        may_repeat.then(|| {
            let field = |(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone());
            Box::new(Self {
                method: request.method().clone(),
                uri: request.uri().clone(),
                fields: request.headers().iter().map(field).collect(),
            })
        })
    }

    fn into_request(self) -> Request<Sent> {
        let mut request = Request::new(Sent::nothing());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        for (name, value) in self.fields {
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// PROPFIND and REPORT are safe too (RFC 4918 section 9.1, RFC 3253 section 3.6).
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || matches!(method.as_str(), "PROPFIND" | "REPORT")
}

async fn receive(
    link: Box<Link>,
    answer: Response<Incoming>,
    call: &Call,
) -> Result<Response<AnswerBody>, Box<Failed>> {
    let failed = |failure| Failed::boxed(failure, None);
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(upgrade)) = (answer.status(), &call.upgrade) {
        return Box::pin(change(link, answer, upgrade)).await.map_err(failed);
    }
    let (answer, mut ended) = read(link, answer, call).map_err(failed)?;
    poll_fn(|cx| Poll::Ready(ended.take().map(|link| link.settle(cx)))).await;
    Ok(answer)
}

/// The answer, and the connection if that was all of it.
fn read(
    mut link: Box<Link>,
    mut answer: Response<Incoming>,
    call: &Call,
) -> Result<(Response<AnswerBody>, Option<Box<Link>>), Failure> {
    let reuse = answer::reframe(&mut answer, &call.method)?;
    if reuse == answer::Reuse::Never
        || call.binds_connection
        || call.upgrade.is_some()
        || link.was_answered_early()
    {
        link.spoil();
    }
    if answer.body().is_end_stream() {
        return Ok((answer.map(AnswerBody::empty), Some(link)));
    }
    Ok((answer.map(|body| AnswerBody::streaming(body, link)), None))
}

/// Takes the connection out of HTTP, if the answer is the one that was asked for.
async fn change(
    link: Box<Link>,
    answer: Response<Incoming>,
    upgrade: &Upgrade,
) -> Result<Response<AnswerBody>, Failure> {
    if !upgraded::is_answered(upgrade, answer.headers()) {
        return Err(Failure::Answer("a 101 to something else".to_owned()));
    }
    let upgraded = link.hand_over().await;
    let upgraded = upgraded.ok_or_else(|| Failure::Answer("it ended with its 101".to_owned()))?;
    Ok(answer.map(|body| AnswerBody::tunnel(body, upgraded)))
}
