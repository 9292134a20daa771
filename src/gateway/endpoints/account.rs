//! A person's own page, and what its forms do that JSON does otherwise.

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde::Deserialize;

use super::super::Gateway;
use super::super::pages::screens::{AccountPage, Attempt};
use super::super::pages::{Embedding, see_other};
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::form::{self, Shape};
use super::logout::signed_out;
use super::pages::parameter;
use super::{Answer, no_content};
use crate::auth::Revoke;
use crate::identity::SessionId;
use crate::request::NormalRequest;
use crate::telemetry::Counter;
use crate::token::Verified;

#[derive(Deserialize)]
struct Nothing {}

impl Gateway {
    pub(super) async fn account(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let caller = self.known(visit, request).await?;
        let changed = parameter(request, CHANGED).is_some();
        let attempt = if changed { Attempt::Changed } else { Attempt::None };
        self.account_of(visit, &caller, attempt).await
    }

    /// The page of a caller, with what came of a change of the password.
    pub(super) async fn account_of(
        &self,
        visit: &mut Visit,
        caller: &Verified,
        attempt: Attempt<'_>,
    ) -> Answer {
        let rows = self.auth.sessions(&caller.identity).await?.map_err(|wait| {
            self.telemetry.count(Counter::Throttled, wait.limit);
            Refused::from(wait)
        })?;
        let current = caller.identity.session;
        let sessions = rows.iter().map(|row| (row, row.identity.session == current));
        let least = visit.snapshot.config().passwords.min_length;
        let look = visit.look();
        let page = AccountPage::new(look, caller.identity.username.as_str(), sessions, least);
        let refusal = match attempt {
            Attempt::None | Attempt::Changed => None,
            Attempt::Wrong => Some(Refusal::InvalidCredentials),
            Attempt::Weak(_) => Some(Refusal::PasswordRejected),
        };
        let status = refusal.map_or(StatusCode::OK, Refusal::status);
        let mut answer = look.answer(status, &page.after(attempt), Embedding::Never);
        if status == StatusCode::UNAUTHORIZED {
            // Every 401 carries one (RFC 9110 section 11.6.1).
            answer.headers_mut().insert(WWW_AUTHENTICATE, visit.snapshot.challenge(None, None));
        }
        Ok(answer)
    }

    /// Ends one of the caller's sessions, then shows what is left. A form cannot send DELETE.
    pub(super) async fn end_session_by_form(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let (Nothing {}, shape) = form::read(request, upload).await?;
        if shape == Shape::Json {
            return Err(Refusal::UnsupportedMediaType.into());
        }
        let caller = self.known(visit, request).await?;
        let named = request.target().path().rsplit('/').nth(1).unwrap_or_default();
        let session = named.parse::<SessionId>().map_err(|_unsaid| Refusal::NotFound)?;
        match self.auth.revoke(&caller, session).await? {
            Revoke::Done if session == caller.identity.session => {
                Ok(signed_out(visit, request, no_content()))
            }
            Revoke::Done => {
                Ok(see_other(&format!("{}/account", visit.snapshot.config().auth.path)))
            }
            Revoke::NotFound => Err(Refusal::NotFound.into()),
            Revoke::Reauthenticate => {
                Err(Refused::from(Refusal::ReauthRequired).max_age(visit.snapshot.reauth_max_age()))
            }
        }
    }
}

/// In the query of the account page, after a change of the password.
pub(super) const CHANGED: &str = "changed";
