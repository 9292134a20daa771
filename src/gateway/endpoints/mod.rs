//! The gateway's own endpoints, JSON in and out.

mod account;
mod admin;
mod form;
mod login;
mod logout;
mod openapi;
mod pages;
mod password;
mod refresh;
mod sessions;
mod setup;

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::Gateway;
use super::body::Content;
use super::identify::client;
use super::pages::Referrer;
use super::refusal::{Refusal, Refused};
use super::serve::{Arriving, Visit};
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
        visit.audience = visit.audience.at_endpoint(&request);
        if matches!(endpoint, Endpoint::SetupForm | Endpoint::Setup) {
            visit.referrer = Referrer::Never;
        }
        if let Some(page) = form_page(endpoint) {
            visit.asked.of_form(format!("{}/{page}", visit.snapshot.config().auth.path));
        }
        if endpoint == Endpoint::Ping {
            return Ok(text("ok"));
        }
        self.auth.limits().take(Bucket::AuthAddress(request.client())).map_err(|wait| {
            self.telemetry.count(Counter::Throttled, wait.limit);
            Refused::from(wait)
        })?;
        if endpoint == Endpoint::Setup {
            self.judge_origin(policy::check_fetch_site(&request))?;
        } else if *request.method() == Method::POST {
            self.same_origin(visit, &request)?;
        }
        let answer = match endpoint {
            Endpoint::LoginPage => self.login_page(visit, &request).await,
            Endpoint::Login => self.login(visit, &request, upload).await,
            Endpoint::LoginDone => self.login_done(visit, &request).await,
            Endpoint::Refresh => self.refresh(visit, &request, upload).await,
            Endpoint::LogoutPage => Ok(self.logout_page(visit, &request)),
            Endpoint::Logout => self.logout(visit, &request, upload).await,
            Endpoint::Password => self.change_password(visit, &request, upload).await,
            Endpoint::SetupForm => self.setup_form(visit, &request).await,
            Endpoint::Setup => self.setup(visit, &request, upload).await,
            Endpoint::Me => self.me(visit, &request).await,
            Endpoint::Sessions => self.list_sessions(visit, &request).await,
            Endpoint::EndSession => self.end_session(visit, &request).await,
            Endpoint::EndSessionByForm => self.end_session_by_form(visit, &request, upload).await,
            Endpoint::Account => self.account(visit, &request).await,
            Endpoint::Logo => self.logo(visit),
            Endpoint::NameSession => self.name_session(visit, &request, upload).await,
            Endpoint::LogoutAll => self.logout_all(visit, &request, upload).await,
            Endpoint::ListUsers
            | Endpoint::AddUser
            | Endpoint::ShowUser
            | Endpoint::DeleteUser
            | Endpoint::SetRoles
            | Endpoint::DisableUser
            | Endpoint::EnableUser
            | Endpoint::InviteUser
            | Endpoint::AllSessions
            | Endpoint::EndAnySession => self.administer(visit, (endpoint, &request), upload).await,
            Endpoint::OpenApi => Ok(openapi::describe(&visit.snapshot)),
            Endpoint::Jwks => Ok(self.jwks()),
            Endpoint::Ping => Ok(text("ok")),
        };
        answer.map_err(|refused| refused.realm(&visit.snapshot))
    }

    /// The caller of an endpoint that asks for one.
    async fn known(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
    ) -> Result<Rc<Verified>, Refused> {
        let found = self.authenticate(visit, request).await?;
        visit.exchange.caller(&found.caller);
        match (found.caller, found.verified) {
            (Caller::Known(_), Some(verified)) => Ok(verified),
            (Caller::Known(_), None) => Err(Refusal::TokenInvalid.into()),
            (Caller::Anonymous(why), _) => Err(why.into()),
        }
    }

    async fn me(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let verified = self.known(visit, request).await?;
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
        let mut answer = Response::new(Content::Own(Bytes::from(self.auth.jwks())));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        answer
    }
}

/// The page that has a form, below `auth.path`. A link's has none: its address is a secret.
fn form_page(endpoint: Endpoint) -> Option<&'static str> {
    const PAGES: [(Endpoint, &str); 5] = [
        (Endpoint::Login, "login"),
        (Endpoint::Logout, "logout"),
        (Endpoint::Password, "account"),
        (Endpoint::EndSessionByForm, "account"),
        (Endpoint::LogoutAll, "account"),
    ];
    PAGES.iter().find(|(form, _)| *form == endpoint).map(|(_, page)| *page)
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
