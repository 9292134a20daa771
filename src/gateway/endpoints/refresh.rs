//! `POST /auth/refresh`.

use http::HeaderName;
use serde::Deserialize;

use super::super::Gateway;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::form;
use super::{Answer, client};
use crate::auth::{Refresh, RefreshAttempt};
use crate::request::{CookieValue, NormalRequest};
use crate::session::Transport;

#[derive(Deserialize)]
pub(super) struct TokenForm {
    pub(super) refresh_token: Option<String>,
}

impl Gateway {
    pub(super) async fn refresh(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let (form, _) = form::read::<TokenForm>(request, upload).await?;
        self.tell_doubled(visit, request);
        let (token, transport) = self.presented(form.refresh_token.as_deref(), request)?;
        let attempt = RefreshAttempt {
            token: token.to_owned(),
            transport,
            idempotency_key: idempotency_key(request)?.map(str::to_owned),
            client: client(visit, request),
        };
        match self.auth.refresh(attempt).await? {
            Refresh::Fresh(tokens) => Ok(self.pair(visit, &tokens)),
            Refresh::Refused(refused) => Err(Refusal::from(refused).into()),
            Refresh::Wait(wait) => Err(wait.into()),
        }
    }

    /// The token of a refresh. One in the body decides; a cookie of another session beside it is
    /// ambiguous, one of the same session is a cookie jar's.
    fn presented<'a>(
        &self,
        in_body: Option<&'a str>,
        request: &'a NormalRequest,
    ) -> Result<(&'a str, Transport), Refused> {
        match (in_body, request.refresh_cookie()) {
            (Some(token), cookie) => {
                self.check_cookie_beside(token, cookie)?;
                Ok((token, Transport::Body))
            }
            (None, CookieValue::One(token)) => Ok((token, Transport::Cookie)),
            (None, CookieValue::Absent) => Err(Refusal::TokenMissing.into()),
            (None, CookieValue::Doubled) => Err(Refusal::RefreshInvalid.into()),
        }
    }

    /// A cookie beside a token in the body must be of the same session, where both can be read.
    pub(super) fn check_cookie_beside(
        &self,
        token: &str,
        cookie: &CookieValue,
    ) -> Result<(), Refused> {
        let session = |text| self.auth.session_of(text);
        match (session(token), cookie.value().and_then(session)) {
            (Some(one), Some(other)) if one != other => {
                Err(Refused::from(Refusal::InvalidRequest).detail(TWO_SESSIONS))
            }
            (_, _) => Ok(()),
        }
    }
}

/// At least 16 characters: a shorter key would be taken for a retry of somebody else's.
fn idempotency_key(request: &NormalRequest) -> Result<Option<&str>, Refused> {
    let mut keys = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return if request.headers().contains_key(IDEMPOTENCY_KEY) {
            Err(bad_key())
        } else {
            Ok(None)
        };
    };
    match key.to_str() {
        Ok(key) if (16..=256).contains(&key.len()) => Ok(Some(key)),
        Ok(_) | Err(_) => Err(bad_key()),
    }
}

fn bad_key() -> Refused {
    Refused::from(Refusal::InvalidRequest)
        .detail("`Idempotency-Key` must come once, with 16 to 256 characters of ASCII.")
}

const TWO_SESSIONS: &str = "The refresh token in the body and the refresh cookie are of \
    different sessions: send one of them.";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
