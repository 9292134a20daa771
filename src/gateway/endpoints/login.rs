//! `POST /auth/login`, and the two shapes of a pair of tokens.

use http::header::{ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderName, Response};
use serde::{Deserialize, Serialize};

use super::super::Gateway;
use super::super::body::Content;
use super::super::leaving::forget_another;
use super::super::pages::screens::Tried;
use super::super::pages::{Prompt, see_other};
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::form::{self, Shape, Switch};
use super::pages::{login_form, return_to};
use super::{Answer, client, json};
use crate::auth::{Attempt, Login, Tokens};
use crate::identity::{Caller, Role, SessionId};
use crate::request::{CookieValue, LocalPath, NormalRequest};
use crate::secret::Secret;
use crate::session::Transport;
use crate::telemetry::{Decision, is_hostile};

#[derive(Deserialize)]
struct LoginForm {
    username: String,
    password: String,
    transport: Option<Asked>,
    remember: Option<Switch>,
    device_name: Option<String>,
    /// Of the page alone.
    return_to: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Cookie,
    Body,
}

impl Gateway {
    pub(super) async fn login(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let (form, shape) = form::read::<LoginForm>(request, upload).await?;
        let page = visit.audience.is_form();
        let return_to = return_to(form.return_to.as_deref());
        if page {
            let again = visit.look().login_link(Some(&return_to), Prompt::IfNeeded);
            visit.asked.of_form(again);
        }
        let asked = if page { Some(Asked::Cookie) } else { form.transport };
        // A box that is not ticked is not sent.
        let unticked = page.then_some(Switch(false));
        let remember = form.remember.or(unticked).map(|Switch(on)| on);
        let attempt = Attempt {
            transport: self.transport(visit, request, (asked, shape))?,
            username: form.username,
            password: Secret::from(form.password),
            remember,
            // Forms send a field that was left empty.
            device_name: form
                .device_name
                .filter(|name| !name.trim().is_empty())
                .map(device_name)
                .transpose()?,
            replaces: self.session_by_cookie(request),
            device: request.device_cookie().value().map(str::to_owned),
            client: client(visit, request),
        };
        match self.auth.login(attempt).await? {
            Login::Welcome(tokens) => {
                let mut answer = if page {
                    welcome(visit, &tokens, &return_to)
                } else {
                    self.pair(visit, &tokens)
                };
                forget_another(&tokens, request.origin(), answer.headers_mut());
                Ok(answer)
            }
            Login::Refused if page => {
                visit.exchange.decision(Decision::Refused, Refusal::InvalidCredentials.code());
                let state = (Tried::Refused, remember.unwrap_or(false));
                let mut answer = login_form(visit, &return_to, state);
                // Every 401 carries one (RFC 9110 section 11.6.1).
                answer.headers_mut().insert(WWW_AUTHENTICATE, visit.snapshot.challenge(None, None));
                Ok(answer)
            }
            Login::Refused => Err(Refusal::InvalidCredentials.into()),
            Login::Wait(wait) => Err(wait.into()),
            Login::Busy => Err(Refusal::Busy.into()),
        }
    }

    /// The session of a presented cookie, which a login replaces.
    pub(super) fn session_by_cookie(&self, request: &NormalRequest) -> Option<SessionId> {
        let cookies = [request.refresh_cookie(), request.access_cookie()];
        cookies.into_iter().filter_map(CookieValue::value).find_map(|it| self.auth.session_of(it))
    }

    /// Asked for; else cookies for a browser; else both, and the first refresh decides.
    fn transport(
        &self,
        visit: &Visit,
        request: &NormalRequest,
        (asked, shape): (Option<Asked>, Shape),
    ) -> Result<Transport, Refused> {
        let browser = is_browser(request) || shape == Shape::Form;
        match asked {
            Some(Asked::Cookie) => Ok(Transport::Cookie),
            Some(Asked::Body) if browser && !visit.snapshot.config().cookies.allow_browser_body => {
                Err(Refused::from(Refusal::InvalidRequest).detail(BY_COOKIE))
            }
            Some(Asked::Body) => Ok(Transport::Body),
            None if browser => Ok(Transport::Cookie),
            None => Ok(Transport::Unpinned),
        }
    }

    /// The answer of a login or a refresh, by the session's transport.
    pub(super) fn pair(&self, visit: &mut Visit, tokens: &Tokens) -> Response<Content> {
        visit.exchange.caller(&Caller::Known(tokens.identity.clone()));
        let mut answer = match tokens.transport {
            Transport::Cookie => json(&CookieAnswer::new(
                tokens,
                visit.snapshot.config().cookies.access_token_in_body,
            )),
            Transport::Body | Transport::Unpinned => json(&BodyAnswer::new(tokens)),
        };
        if tokens.transport != Transport::Body {
            visit.snapshot.jar().set(answer.headers_mut(), tokens);
        }
        answer
    }
}

/// Both cookies, and on to the page that sees whether they come back.
pub(super) fn welcome(visit: &mut Visit, tokens: &Tokens, to: &LocalPath) -> Response<Content> {
    visit.exchange.caller(&Caller::Known(tokens.identity.clone()));
    let mut query = form_urlencoded::Serializer::new(String::new());
    let query = query.append_pair("to", to.as_str()).finish();
    let mut answer = see_other(&format!("{}/done?{query}", visit.snapshot.config().auth.path));
    visit.snapshot.jar().set(answer.headers_mut(), tokens);
    answer
}

/// A script of a page, or a page's form: these send where they come from.
fn is_browser(request: &NormalRequest) -> bool {
    request.headers().contains_key(SEC_FETCH_SITE) || request.headers().contains_key(ORIGIN)
}

/// At most 64 printable characters.
pub(super) fn device_name(given: String) -> Result<String, Refused> {
    // Joiners make one picture of several, and belong to the letters of some scripts.
    let hostile = |c| is_hostile(c) && !matches!(c, '\u{200c}' | '\u{200d}');
    let fits = given.chars().count() <= 64 && !given.chars().any(hostile);
    if fits { Ok(given) } else { Err(no_device_name()) }
}

pub(super) fn no_device_name() -> Refused {
    Refused::from(Refusal::InvalidRequest)
        .detail("`device_name` must have 1 to 64 printable characters.")
}

#[derive(Serialize)]
struct BodyAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    refresh_expires_in: u64,
    session_id: String,
}

impl<'a> BodyAnswer<'a> {
    fn new(tokens: &'a Tokens) -> Self {
        Self {
            access_token: &tokens.access,
            token_type: "bearer",
            expires_in: tokens.access_life.as_secs(),
            refresh_token: tokens.refresh.expose_str().unwrap_or_default(),
            refresh_expires_in: tokens.refresh_life.as_secs(),
            session_id: tokens.identity.session.to_string(),
        }
    }
}

#[derive(Serialize)]
struct CookieAnswer<'a> {
    ok: bool,
    session_id: String,
    expires_in: u64,
    username: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
}

impl<'a> CookieAnswer<'a> {
    fn new(tokens: &'a Tokens, with_access: bool) -> Self {
        Self {
            ok: true,
            session_id: tokens.identity.session.to_string(),
            expires_in: tokens.access_life.as_secs(),
            username: tokens.identity.username.as_str(),
            role: tokens.identity.roles.first().map(Role::as_str).unwrap_or_default(),
            access_token: with_access.then_some(&tokens.access),
            token_type: with_access.then_some("bearer"),
        }
    }
}

const BY_COOKIE: &str = "Browsers sign in by cookie: leave `transport` out. With \
    `cookies.allow_browser_body` they may ask for `body`.";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
