//! The gateway's own endpoints, JSON in and out.

mod form;
mod login;
mod logout;
mod refresh;
mod sessions;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::Gateway;
use super::body::Content;
use super::refusal::{Refusal, Refused};
use super::serve::{Arriving, Visit};
use crate::auth::{Client, Credentials, DecidedBy};
use crate::identity::{Caller, Role};
use crate::limit::Bucket;
use crate::policy::{self, Endpoint};
use crate::request::NormalRequest;
use crate::telemetry::{Counter, Decision};
use crate::token::Verified;

type Answer = Result<Response<Content>, Refused>;

impl Gateway {
    pub(super) async fn endpoint(
        &self,
        visit: &mut Visit,
        (endpoint, request): (Endpoint, NormalRequest),
        upload: Arriving,
    ) -> Answer {
        visit.exchange.decision(Decision::Own, "endpoint");
        if endpoint == Endpoint::Ping {
            return Ok(text("ok"));
        }
        self.auth.limits().take(Bucket::AuthAddress(request.client())).map_err(|wait| {
            self.telemetry.count(Counter::Throttled, wait.limit);
            Refused::from(wait)
        })?;
        if *request.method() == Method::POST {
            self.same_origin(&request)?;
        }
        let answer = match endpoint {
            Endpoint::Login => self.login(visit, &request, upload).await,
            Endpoint::Refresh => self.refresh(visit, &request, upload).await,
            Endpoint::Logout => self.logout(visit, &request, upload).await,
            Endpoint::Me => self.me(visit, &request),
            Endpoint::Sessions => self.list_sessions(visit, &request).await,
            Endpoint::Session => self.end_session(visit, &request).await,
            Endpoint::Jwks => Ok(self.jwks()),
            Endpoint::Ping => Ok(text("ok")),
        };
        answer.map_err(|refused| refused.realm(&visit.snapshot))
    }

    fn same_origin(&self, request: &NormalRequest) -> Result<(), Refused> {
        policy::check_origin(request).map_err(|crossing| {
            self.telemetry.count(Counter::CsrfRejected, crossing.why);
            Refusal::CsrfRejected.into()
        })
    }

    /// The caller of an endpoint that asks for one; an unsafe request by cookie must be of our origin.
    fn known(&self, visit: &mut Visit, request: &NormalRequest) -> Result<Verified, Refused> {
        let credentials = Credentials { access: request.access_cookie(), bearer: request.bearer() };
        let found = self.auth.authenticate(credentials);
        visit.exchange.caller(&found.caller);
        if let Caller::Anonymous(why) = found.caller {
            return Err(Refusal::from(why).into());
        }
        if found.by == DecidedBy::Cookie {
            self.same_origin(request)?;
        }
        found.verified.ok_or_else(|| Refusal::TokenInvalid.into())
    }

    fn me(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let verified = self.known(visit, request)?;
        let identity = &verified.identity;
        let roles: Vec<_> = identity.roles.iter().map(Role::as_str).collect();
        Ok(json(&Me {
            sub: self.auth.subject(identity),
            username: identity.username.as_str(),
            role: roles.first().copied().unwrap_or_default(),
            roles: &roles,
            sid: identity.session.to_string(),
            auth_time: verified.auth_time.as_secs(),
            exp: verified.expires.as_secs(),
        }))
    }

    fn jwks(&self) -> Response<Content> {
        let mut answer = Response::new(Content::Own(Bytes::from(self.auth.jwks().to_owned())));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        answer
    }
}

#[derive(Serialize)]
struct Me<'a> {
    sub: String,
    username: &'a str,
    role: &'a str,
    roles: &'a [&'a str],
    sid: String,
    auth_time: i64,
    exp: i64,
}

fn client(visit: &Visit, request: &NormalRequest) -> Client {
    let agent = request.headers().get(USER_AGENT);
    Client {
        address: request.client(),
        agent: agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        request_id: visit.exchange.request_id(),
    }
}

/// A JSON answer that nobody may keep.
fn json(value: &impl Serialize) -> Response<Content> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = Response::new(Content::Own(Bytes::from(body)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn text(text: &'static str) -> Response<Content> {
    let mut answer = Response::new(Content::Own(Bytes::from_static(text.as_bytes())));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn no_content() -> Response<Content> {
    let mut answer = Response::new(Content::Own(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
