//! The plain listener beside an https one: it leads there, and lays out an ACME client's challenges.
//!
//! It leads to served hosts alone, by the name of the origin rather than what was sent, so that
//! nobody is sent to a host of an attacker's.

use std::rc::Rc;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use rustix::fs::{Mode, OFlags};

use super::Gateway;
use super::body::{Body, Content, tell_request_id, tell_unread, to_client};
use super::refusal::{Refusal, Refused};
use super::serve::Visit;
use crate::request::{NormalRequest, Peer, Upload};
use crate::revocation::Cut;
use crate::telemetry::Decision;

impl Gateway {
    /// Answers a request that came by plain http where https is meant.
    pub async fn redirect(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        cut: Rc<Cut>,
    ) -> Response<Body> {
        let (head, incoming) = request.into_parts();
        let (method, version) = (head.method.clone(), head.version);
        let snapshot = Rc::clone(&self.snapshot);
        let state = Upload::new(incoming, snapshot.upload_limits()).state();
        let mut visit = Visit::new(snapshot, self.telemetry.exchange(), cut);
        let client = visit.snapshot.reader().trust.client(&head.headers, peer);
        visit.exchange.raw(&method, client);
        visit.exchange.version(version);
        visit.exchange.upload(state.clone());
        visit.sent_with(&head);
        let mut answer = match lead(&mut visit, (head, peer)) {
            Ok(answer) => answer,
            Err(refused) => self.refuse(&mut visit, &refused),
        };
        tell_unread(&mut answer, &state);
        tell_request_id(&mut answer, visit.exchange.request_id());
        visit.exchange.status(answer.status());
        to_client(answer, (visit.exchange, None), &method)
    }
}

fn lead(visit: &mut Visit, (head, peer): (Parts, Peer)) -> Result<Response<Content>, Refused> {
    let request = NormalRequest::read(head, peer, visit.snapshot.reader())?;
    visit.exchange.request(&request);
    visit.asked.of_request(&request);
    if let Some(token) = request.target().path().strip_prefix(CHALLENGES) {
        let found = challenge(visit, request.method(), token).ok_or(Refusal::NotFound)?;
        visit.exchange.decision(Decision::Own, "challenge");
        return Ok(found);
    }
    let served = &visit.snapshot.reader().served;
    let origin = served.secure(&request.host().name).ok_or(Refusal::Misdirected)?;
    let location = format!("{origin}{}", request.target().path_and_query());
    let location = HeaderValue::try_from(location).or(Err(Refusal::BadRequest))?;
    visit.exchange.decision(Decision::Own, "redirect");
    let mut answer = Response::new(Content::Own(Bytes::new()));
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(LOCATION, location);
    Ok(answer)
}

/// What an ACME server asks for (RFC 8555 section 8.3), on any host: one that gets its first
/// certificate is not served yet.
fn challenge(visit: &Visit, method: &Method, token: &str) -> Option<Response<Content>> {
    let redirect = visit.snapshot.config().server.http_redirect.as_ref()?;
    let folder = redirect.acme_webroot.as_ref()?;
    if !is_token(token) || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let text = read(&folder.join(FOLDER).join(token))?;
    let mut answer = Response::new(Content::Own(text));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(answer)
}

/// Characters of base64url alone: no dot, no slash, so that a token names a file of that folder.
fn is_token(token: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(plain)
}

/// A small plain file; never what a link leads to, and never a pipe that keeps us waiting.
fn read(path: &Path) -> Option<Bytes> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let data = file.metadata().ok()?;
    if !data.is_file() || data.len() > LARGEST_CHALLENGE {
        return None;
    }
    let mut text = Vec::new();
    file.take(LARGEST_CHALLENGE).read_to_end(&mut text).ok()?;
    Some(text.into())
}

const CHALLENGES: &str = "/.well-known/acme-challenge/";
const FOLDER: &str = ".well-known/acme-challenge";
const LONGEST_TOKEN: usize = 128;
/// Bytes; a token and a thumbprint need less than 200.
const LARGEST_CHALLENGE: u64 = 4096;
