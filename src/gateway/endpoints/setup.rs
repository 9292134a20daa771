//! `GET` and `POST /auth/setup`: a page that asks for a password, reached by a link.
//!
//! The link is a secret: `no-referrer` keeps it from wherever the page leads, and makes browsers
//! send its form with `Origin: null`.

use http::{Response, StatusCode};
use serde::Deserialize;

use super::super::Gateway;
use super::super::body::Content;
use super::super::leaving::forget_another;
use super::super::pages::Embedding;
use super::super::pages::screens::{MessagePage, SetupPage};
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::form;
use super::login::welcome;
use super::{Answer, client};
use crate::auth::{Failure, Setup, SetupLink};
use crate::identity::Username;
use crate::password::Rejection;
use crate::request::{LocalPath, NormalRequest};
use crate::secret::Secret;

#[derive(Deserialize)]
struct SetupForm {
    t: String,
    password: String,
}

impl Gateway {
    /// The form of a good link; a bad one tells nothing of what it was.
    pub(super) async fn setup_form(&self, visit: &Visit, request: &NormalRequest) -> Answer {
        let Some(secret) = link_of(request) else { return Ok(bad_link(visit)) };
        let user = self.auth.setup_link(&secret).await.map_err(Failure::from)?;
        Ok(match user {
            Some(user) => ask(visit, (&secret, &user), &[]),
            None => bad_link(visit),
        })
    }

    /// Sets the password and signs in by cookie. A form is answered with a page, JSON with JSON.
    pub(super) async fn setup(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let (form, _) = form::read::<SetupForm>(request, upload).await?;
        let secret = form.t.clone();
        let link = SetupLink {
            secret: form.t,
            password: Secret::from(form.password),
            replaces: self.session_by_cookie(request),
            device: request.device_cookie().value().map(str::to_owned),
            client: client(visit, request),
        };
        let page = visit.audience.is_form();
        match self.auth.setup(link).await? {
            Setup::Welcome(tokens) => {
                let mut answer = if page {
                    welcome(visit, &tokens, &LocalPath::default())
                } else {
                    self.pair(visit, &tokens)
                };
                forget_another(&tokens, request.origin(), answer.headers_mut());
                Ok(answer)
            }
            Setup::BadLink if page => Ok(bad_link(visit)),
            Setup::BadLink => Err(Refused::from(Refusal::NotFound).detail(NO_LINK)),
            Setup::Rejected(user, reasons) if page => Ok(ask(visit, (&secret, &user), &reasons)),
            Setup::Rejected(_, reasons) => Err(Refused::password(&reasons)),
            Setup::Wait(wait) => Err(wait.into()),
            Setup::Busy => Err(Refusal::Busy.into()),
        }
    }
}

/// The secret of a link: `t` of the query, if it stands there once.
fn link_of(request: &NormalRequest) -> Option<String> {
    let query = request.target().query()?;
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "t");
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

/// The form; with reasons, once more.
fn ask(
    visit: &Visit,
    (secret, user): (&str, &Username),
    reasons: &[Rejection],
) -> Response<Content> {
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let least = visit.snapshot.config().passwords.min_length;
    let page = SetupPage::new(visit.look(), (secret, user.as_str()), least).rejected(reasons);
    visit.look().answer(status, &page, Embedding::Never)
}

fn bad_link(visit: &Visit) -> Response<Content> {
    let look = visit.look();
    look.answer(StatusCode::NOT_FOUND, &MessagePage::bad_link(look), Embedding::Never)
}

const NO_LINK: &str = "This link was used, is too old, or was never made. Ask for a new one.";
