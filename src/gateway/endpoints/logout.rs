//! `POST /auth/logout` and `POST /auth/logout-all`.

use std::rc::Rc;

use http::Response;
use serde::{Deserialize, Serialize};

use super::super::Gateway;
use super::super::body::Content;
use super::super::leaving::{refused_and_signed_out, sign_out, unfinished};
use super::super::pages::see_other;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::form::{self, Switch};
use super::refresh::TokenForm;
use super::{Answer, client, json};
use crate::auth::{Credentials, LogoutAll};
use crate::request::NormalRequest;

impl Gateway {
    /// Ends the session of every token of ours that came along, and deletes the cookies: those that
    /// nothing else holds are lost with them. An unknown token is success too (RFC 7009 section 2.2),
    /// and a body that says nothing keeps nobody signed in whose cookies or Bearer do.
    pub(super) async fn logout(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let body = form::arrived(upload).await;
        let form = body.as_ref().ok().and_then(|body| form::parse::<TokenForm>(request, body).ok());
        let in_body = form.and_then(|(form, _)| form.refresh_token);
        let in_body = in_body.as_deref();
        if let Some(token) = in_body {
            self.check_cookie_beside(token, request.refresh_cookie())?;
        }
        let snapshot = Rc::clone(&visit.snapshot);
        let cookies = snapshot.jar().names().all_tokens(request.headers());
        let tokens = [in_body, request.bearer()].into_iter().flatten().chain(cookies);
        let tokens: Vec<_> = tokens.collect();
        self.note_leaver(visit, request, &tokens);
        match (self.auth.logout(tokens, client(visit, request)).await, body) {
            (Ok(()), Ok(_)) => Ok(signed_out(visit, request, json(&Done { ok: true }))),
            (Ok(()), Err(cut)) => Err(refused_and_signed_out(visit, request.origin(), cut)),
            (Err(_unavailable), _) => Err(unfinished(visit, request.origin())),
        }
    }

    /// For the access line: the caller, or else the session of a token that does not hold any more.
    fn note_leaver(&self, visit: &mut Visit, request: &NormalRequest, tokens: &[&str]) {
        if let Some(session) = tokens.iter().find_map(|token| self.auth.session_of(token)) {
            visit.exchange.session(session);
        }
        let credentials = Credentials { access: request.access_cookie(), bearer: request.bearer() };
        visit.exchange.caller(&self.auth.authenticate(credentials, &self.cache).caller);
    }

    /// Ends every session of the caller, on request all but this one.
    pub(super) async fn logout_all(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let body = form::arrived(upload).await;
        let caller = self.known(visit, request).await?;
        let (form, _) = form::parse::<AllForm>(request, &body?)?;
        let kept = form.keep_current.is_some_and(|Switch(on)| on);
        let but = kept.then_some(caller.identity.session);
        match self.auth.logout_all(&caller, but, &client(visit, request)).await? {
            LogoutAll::Ended(sessions_ended) => {
                let answer = json(&AllDone { ok: true, sessions_ended });
                Ok(match (kept, visit.audience.is_form()) {
                    (false, _) => signed_out(visit, request, answer),
                    (true, false) => answer,
                    (true, true) => {
                        see_other(&format!("{}/account", visit.snapshot.config().auth.path))
                    }
                })
            }
            LogoutAll::Reauthenticate => {
                Err(Refused::from(Refusal::ReauthRequired).max_age(visit.snapshot.reauth_max_age()))
            }
        }
    }
}

/// The answer to one whose session has ended: a form is led to `after_logout`, a program gets its
/// own. The cookies go, and over https what the browser had kept of pages.
pub(super) fn signed_out(
    visit: &Visit,
    request: &NormalRequest,
    to_program: Response<Content>,
) -> Response<Content> {
    let mut answer = if visit.audience.is_form() {
        see_other(visit.snapshot.config().auth.after_logout.as_str())
    } else {
        to_program
    };
    sign_out(visit, request.origin(), answer.headers_mut());
    answer
}

#[derive(Deserialize)]
struct AllForm {
    keep_current: Option<Switch>,
}

#[derive(Serialize)]
struct AllDone {
    ok: bool,
    sessions_ended: usize,
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}
