//! `GET` and `POST /auth/setup`: a page that asks for a password, reached by a link.
//!
//! The link is a secret: `no-referrer` keeps it from wherever the page leads, and makes browsers
//! send its form with `Origin: null`.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;

use super::super::Gateway;
use super::super::body::Content;
use super::super::refusal::{Refusal, Refused};
use super::super::serve::{Arriving, Visit};
use super::form::{self, Shape};
use super::{Answer, client};
use crate::auth::{Setup, SetupLink};
use crate::identity::Username;
use crate::request::NormalRequest;
use crate::secret::Secret;

#[derive(Deserialize)]
struct SetupForm {
    t: String,
    password: String,
}

impl Gateway {
    /// The form of a good link; a bad one tells nothing of what it was.
    pub(super) async fn setup_form(&self, request: &NormalRequest) -> Answer {
        let secret = link_of(request);
        let user = match &secret {
            Some(secret) => {
                self.auth.setup_link(secret).await.map_err(crate::auth::Failure::from)?
            }
            None => None,
        };
        Ok(match (secret, user) {
            (Some(secret), Some(user)) => page(StatusCode::OK, &ask(&secret, &user, &[])),
            (_, _) => page(StatusCode::NOT_FOUND, BAD_LINK),
        })
    }

    /// Sets the password and signs in by cookie. A form is answered with a page, JSON with JSON.
    pub(super) async fn setup(
        &self,
        visit: &mut Visit,
        request: &NormalRequest,
        upload: Arriving,
    ) -> Answer {
        let (form, shape) = form::read::<SetupForm>(request, upload).await?;
        let secret = form.t.clone();
        let link = SetupLink {
            secret: form.t,
            password: Secret::from(form.password),
            replaces: self
                .auth
                .session_of(request.refresh_cookie().value(), request.access_cookie().value()),
            client: client(visit, request),
        };
        let by_form = shape == Shape::Form;
        match self.auth.setup(link).await? {
            Setup::Welcome(tokens) => {
                let mut answer = self.pair(visit, &tokens);
                if by_form {
                    lead_home(&mut answer);
                }
                Ok(answer)
            }
            Setup::BadLink if by_form => Ok(page(StatusCode::NOT_FOUND, BAD_LINK)),
            Setup::BadLink => Err(Refusal::NotFound.into()),
            Setup::Rejected(user, reasons) if by_form => {
                Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &ask(&secret, &user, &reasons)))
            }
            Setup::Rejected(_, reasons) => Err(Refused::password(reasons)),
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

fn lead_home(answer: &mut Response<Content>) {
    *answer.status_mut() = StatusCode::SEE_OTHER;
    *answer.body_mut() = Content::Own(Bytes::new());
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(LOCATION, HeaderValue::from_static("/"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn page(status: StatusCode, body: &str) -> Response<Content> {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Set a password</title>\n\
         <main>\n{body}</main>\n</html>\n"
    );
    let mut answer = Response::new(Content::Own(Bytes::from(page)));
    *answer.status_mut() = status;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn ask(secret: &str, user: &Username, reasons: &[String]) -> String {
    let reasons: String =
        reasons.iter().map(|reason| format!("<li>{}</li>\n", escaped(reason))).collect();
    let alert = if reasons.is_empty() {
        String::new()
    } else {
        format!(
            "<div role=\"alert\"><p>This password cannot be set:</p>\n<ul>\n{reasons}</ul></div>\n"
        )
    };
    FORM.replace("ALERT", &alert)
        .replace("USER", &escaped(user.as_str()))
        // Last, so that nothing is replaced within what a client sent.
        .replace("SECRET", &escaped(secret))
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
        escaped
    })
}

const FORM: &str = r#"<h1>Set a password</h1>
ALERT<form method="post">
<input type="hidden" name="t" value="SECRET">
<p><label for="username">User</label> <input id="username" autocomplete="username" value="USER" readonly></p>
<p><label for="password">New password</label> <input id="password" name="password" type="password" autocomplete="new-password" required autofocus></p>
<p><button>Set the password and sign in</button></p>
</form>
"#;

const BAD_LINK: &str = "<h1>This link is not valid</h1>\n\
    <p>It was used, it is too old, or it was never made. Ask whoever gave it to you for a new one.</p>\n";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];
