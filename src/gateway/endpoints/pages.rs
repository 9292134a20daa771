//! The pages around a login: the form, whether it took, the way out.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use super::super::Gateway;
use super::super::body::Content;
use super::super::pages::screens::{LoginPage, LogoutPage, LostCookie, MessagePage, Tried};
use super::super::pages::{Embedding, see_other};
use super::super::refusal::{Refusal, Refused};
use super::super::serve::Visit;
use super::Answer;
use crate::auth::DecidedBy;
use crate::request::{CookieValue, LocalPath, NormalRequest};

impl Gateway {
    pub(super) async fn login_page(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let return_to = return_to(parameter(request, "return_to").as_deref());
        let again = parameter(request, "prompt").is_some_and(|prompt| prompt == "login");
        if again {
            return Ok(login_form(visit, &return_to, (Tried::Again, false)));
        }
        Ok(if self.is_signed_in(visit, request).await? {
            see_other(return_to.as_str())
        } else {
            login_form(visit, &return_to, (Tried::Not, false))
        })
    }

    /// Goes on where the cookie of a login came back; else says that the browser did not keep it.
    pub(super) async fn login_done(&self, visit: &mut Visit, request: &NormalRequest) -> Answer {
        let to = return_to(parameter(request, "to").as_deref());
        if self.is_signed_in(visit, request).await? {
            return Ok(see_other(to.as_str()));
        }
        let page = LostCookie::new(visit.look(), (&visit.snapshot, request), &to);
        Ok(visit.look().answer(StatusCode::BAD_REQUEST, &page, Embedding::Never))
    }

    /// Changes nothing: whether to sign out is asked by a form.
    pub(super) fn logout_page(&self, visit: &Visit, request: &NormalRequest) -> Response<Content> {
        let absent = |cookie: &CookieValue| *cookie == CookieValue::Absent;
        let look = visit.look();
        if absent(request.access_cookie()) && absent(request.refresh_cookie()) {
            look.answer(StatusCode::OK, &MessagePage::signed_out(look), Embedding::Never)
        } else {
            look.answer(StatusCode::OK, &LogoutPage { look }, Embedding::Never)
        }
    }

    /// An image, whatever it holds: opened by itself it can run nothing.
    pub(super) fn logo(&self, visit: &Visit) -> Answer {
        let logo = visit.snapshot.pages().logo().ok_or(Refusal::NotFound)?;
        let mut answer = Response::new(Content::Own(logo.bytes.clone()));
        let headers = answer.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, logo.kind.media_type()),
            (CACHE_CONTROL, "public, max-age=3600"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(answer)
    }

    async fn is_signed_in(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
    ) -> Result<bool, Refused> {
        let found = self.authenticate(visit, request).await?;
        Ok(found.by == DecidedBy::Cookie && found.caller.identity().is_some())
    }
}

/// The form, with its box as it was sent. What was typed is not shown again.
pub(super) fn login_form(
    visit: &Visit,
    return_to: &LocalPath,
    (tried, remember): (Tried, bool),
) -> Response<Content> {
    let look = visit.look();
    let status = if tried == Tried::Refused { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    look.answer(status, &LoginPage { look, tried, return_to, remember }, Embedding::Never)
}

/// A path of this origin; of what could lead elsewhere nothing is kept.
pub(super) fn return_to(wanted: Option<&str>) -> LocalPath {
    wanted.and_then(LocalPath::read).unwrap_or_default()
}

/// The first of that name in the query.
pub(super) fn parameter<'a>(request: &'a NormalRequest, name: &str) -> Option<Cow<'a, str>> {
    let query = request.target().query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).find(|(other, _)| other == name).map(|(_, value)| value)
}
