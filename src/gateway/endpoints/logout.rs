//! `POST /auth/logout`.

use http::{HeaderName, HeaderValue, Response, header};
use serde::Serialize;

use super::super::Gateway;
use super::super::body::Content;
use super::super::pages::see_other;
use super::super::refusal::Refused;
use super::super::serve::{Arriving, Visit};
use super::form;
use super::refresh::TokenForm;
use super::{Answer, client, json};
use crate::auth::Logout;
use crate::request::{NormalRequest, Scheme};

impl Gateway {
    /// Ends the session of whichever of our tokens came along, and deletes the cookies. An unknown
    /// token is success too (RFC 7009 section 2.2).
    pub(super) async fn logout(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let (form, _) = form::read::<TokenForm>(request, upload).await?;
        let in_body = form.refresh_token.as_deref();
        if let Some(token) = in_body {
            self.check_cookie_beside(token, request.refresh_cookie())?;
        }
        let own_bearer = request.bearer().filter(|value| self.auth.is_ours(value));
        let by_cookie = in_body.is_none() && own_bearer.is_none();
        let logout = Logout {
            refresh: in_body.or_else(|| request.refresh_cookie().value().filter(|_| by_cookie)),
            access: own_bearer.or_else(|| request.access_cookie().value().filter(|_| by_cookie)),
            client: client(visit, request),
        };
        match self.auth.logout(logout).await {
            Ok(_) => Ok(self.signed_out(visit, request)),
            // Not durable yet, and said so; but this browser shall be signed out all the same.
            Err(failure) => {
                let mut deletions = Response::new(());
                visit.snapshot.jar().delete(deletions.headers_mut());
                let deletions = deletions.headers().get_all(header::SET_COOKIE);
                Err(deletions.iter().fold(Refused::from(failure), |refused, cookie| {
                    refused.header(header::SET_COOKIE, cookie.clone())
                }))
            }
        }
    }

    /// The answer to one whose session has ended: to a form `after_logout`, else JSON. The cookies
    /// go, and over https what the browser had kept of pages.
    pub(super) fn signed_out(&self, visit: &Visit, request: &NormalRequest) -> Response<Content> {
        let mut answer = if visit.audience.is_form() {
            see_other(visit.snapshot.config().auth.after_logout.as_str())
        } else {
            json(&Done { ok: true })
        };
        let headers = answer.headers_mut();
        visit.snapshot.jar().delete(headers);
        if request.origin().is_some_and(|own| own.scheme() == Scheme::Https) {
            headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
        }
        answer
    }
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

/// Not all that a site keeps: cookies of applications are theirs.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
