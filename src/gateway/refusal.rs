//! Refusals: one table of code, status, title and what the client is told.
//!
//! Programs get `application/problem+json` (RFC 9457) with OAuth's members in the same body. No
//! text here tells a cause that would help an attacker.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::Snapshot;
use super::body::Content;
use crate::auth::{Failure, RefusedRefresh};
use crate::identity::Why;
use crate::limit::Wait;
use crate::password::Rejection;
use crate::policy::{Denied, Unmatched};
use crate::request::{BadDestination, CollectError, Malformed, UploadFault, UploadState};
use crate::secret;
use crate::telemetry::{Decision, RequestId};
use crate::token::KeyError;
use crate::upstream;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $title:literal, $detail:literal, $error:expr;)*) => {
        /// An expected no, or a failure as the client is told of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// Every refusal, for the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            const fn entry(self) -> Entry {
                match self {
                    $(Self::$name => Entry {
                        code: $code, status: StatusCode::$status, title: $title, detail: $detail, error: $error,
                    },)*
                }
            }
        }
    };
}

struct Entry {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    error: Option<&'static str>,
}

const INVALID_GRANT: Option<&str> = Some("invalid_grant");
const INVALID_TOKEN: Option<&str> = Some("invalid_token");
const UNAVAILABLE: Option<&str> = Some("temporarily_unavailable");

refusals! {
    /// 400: a body or parameter that cannot be understood.
    InvalidRequest = "invalid_request", BAD_REQUEST, "Invalid request", "The request cannot be understood.", Some("invalid_request");
    /// 400: a head that cannot be understood, or that others could read otherwise.
    BadRequest = "bad_request", BAD_REQUEST, "Bad request", "The request is malformed or ambiguous.", None;
    /// 401: wrong name or password, or disabled; nobody can tell which.
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, "Wrong username or password", "The username or the password is wrong.", INVALID_GRANT;
    /// 401: no refresh token of ours.
    RefreshInvalid = "refresh_invalid", UNAUTHORIZED, "Refresh token not valid", "The refresh token is not valid. Sign in again.", INVALID_GRANT;
    /// 401: a refresh token that was used before.
    RefreshReused = "refresh_reused", UNAUTHORIZED, "Refresh token already used", "This session was ended because an old refresh token was presented. Sign in again.", INVALID_GRANT;
    /// 401: the session has ended.
    SessionRevoked = "session_revoked", UNAUTHORIZED, "Session ended", "This session has ended. Sign in again.", INVALID_GRANT;
    /// 401: the session ended by itself.
    SessionExpired = "session_expired", UNAUTHORIZED, "Session expired", "This session has expired. Sign in again.", INVALID_GRANT;
    /// 401: no credential at all.
    TokenMissing = "token_missing", UNAUTHORIZED, "Not signed in", "Sign in first: neither a token nor a cookie of a session came along.", None;
    /// 401: an access token that does not count.
    TokenInvalid = "token_invalid", UNAUTHORIZED, "Access token not valid", "The access token is not valid. Refresh it, or sign in again.", INVALID_TOKEN;
    /// 401: an access token past its end.
    TokenExpired = "token_expired", UNAUTHORIZED, "Access token expired", "The access token has expired. Refresh it.", INVALID_TOKEN;
    /// 401: the login is too long ago.
    ReauthRequired = "reauth_required", UNAUTHORIZED, "Sign in again", "This asks for a recent login. Sign in again.", Some("insufficient_user_authentication");
    /// 403: known, and may not.
    Forbidden = "forbidden", FORBIDDEN, "Forbidden", "This account may not do this. Sign in with another one, or ask an administrator.", Some("insufficient_scope");
    /// 403: from somewhere else than the route allows.
    AddressRefused = "address_refused", FORBIDDEN, "Not from here", "This cannot be reached from where you are.", None;
    /// 403: another site acts for the user.
    CsrfRejected = "csrf_rejected", FORBIDDEN, "Cross-site request refused", "This request came from another site, for which cookies do not count. Send it from a page of this site, or with a Bearer token, or have the origin listed for CORS with credentials.", None;
    /// 404.
    NotFound = "not_found", NOT_FOUND, "Not found", "There is nothing here.", None;
    /// 405, with `Allow`.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed", "This method is not allowed here. `Allow` lists those that are.", None;
    /// 408.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "Request too slow", "The request's body came too slowly.", None;
    /// 409: it contradicts what is there.
    Conflict = "conflict", CONFLICT, "Conflict", "This contradicts what is there.", None;
    /// 413.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "Body too large", "The request's body is larger than allowed here.", None;
    /// 414.
    TargetTooLong = "target_too_long", URI_TOO_LONG, "Target too long", "The request's target is longer than allowed.", None;
    /// 415.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "Send application/json or application/x-www-form-urlencoded.", None;
    /// 421.
    Misdirected = "misdirected_request", MISDIRECTED_REQUEST, "Not a host of this gateway", "This gateway does not serve that host. A proxy before it must keep Host as the client wrote it.", None;
    /// 422, with `reasons`: a new password that is too weak.
    PasswordRejected = "password_rejected", UNPROCESSABLE_ENTITY, "Password refused", "This password cannot be set.", Some("invalid_request");
    /// 426, with the version that is known.
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED, "Another WebSocket version needed", "This gateway speaks version 13 of the WebSocket protocol.", None;
    /// 431; over HTTP/1.1 said before the gateway is asked, without a body.
    TooManyFields = "too_many_fields", REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many header fields", "The request has more header fields than allowed.", None;
    /// 429.
    Throttled = "throttled", TOO_MANY_REQUESTS, "Too many attempts", "Too many attempts. Try again after as many seconds as Retry-After says.", None;
    /// 500.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error", "Something is broken here.", Some("server_error");
    /// 500: the account holds more than a token has room for.
    TooManyRoles = "too_many_roles", INTERNAL_SERVER_ERROR, "Too many roles", "This account has more roles than fit into a session. Whoever administers it can take some away.", Some("server_error");
    /// 502.
    BadGateway = "bad_gateway", BAD_GATEWAY, "Bad gateway", "The application cannot be reached or did not answer properly.", None;
    /// 502: COPY or MOVE to another server (RFC 4918 section 9.8.5).
    ForeignDestination = "foreign_destination", BAD_GATEWAY, "Destination on another server", "The destination is not on this server.", None;
    /// 503: too many logins wait.
    Busy = "busy", SERVICE_UNAVAILABLE, "Busy", "Too many logins are waiting. Try again in a moment.", UNAVAILABLE;
    /// 503: the store does not answer.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "Temporarily unavailable", "Sessions cannot be looked up or changed right now. Nobody is signed out by that, but a change that was asked for may be done all the same. Try again in a moment.", UNAVAILABLE;
    /// 503: the store does not take a logout, which counts here until it does, or the gateway ends.
    LogoutUnfinished = "logout_unfinished", SERVICE_UNAVAILABLE, "Signed out here", "The session ends everywhere once the store is back, unless the gateway ends before. Until then its tokens are refused here.", UNAVAILABLE;
    /// 503: every connection to the application is in use.
    UpstreamBusy = "upstream_busy", SERVICE_UNAVAILABLE, "Temporarily unavailable", "The application is busy. Try again in a moment.", None;
    /// 503: no server of the application is healthy.
    UpstreamStarting = "upstream_starting", SERVICE_UNAVAILABLE, "Temporarily unavailable", "The application is starting or being restarted. Try again in a moment.", None;
    /// 504.
    GatewayTimeout = "gateway_timeout", GATEWAY_TIMEOUT, "Gateway timeout", "The application did not answer in time.", None;
}

impl Refusal {
    /// The stable short code.
    pub const fn code(self) -> &'static str {
        self.entry().code
    }

    /// The status.
    pub const fn status(self) -> StatusCode {
        self.entry().status
    }

    /// What it is, in a few words.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// What the client is told.
    pub const fn detail(self) -> &'static str {
        self.entry().detail
    }
}

/// A refusal with the headers of this one answer.
#[derive(Debug)]
pub(super) struct Refused {
    refusal: Refusal,
    headers: Vec<(HeaderName, HeaderValue)>,
    max_age: Option<u64>,
    detail: Option<Cow<'static, str>>,
    reasons: Vec<String>,
    closes: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (headers, reasons) = (Vec::new(), Vec::new());
        let refused =
            Self { refusal, headers, max_age: None, detail: None, reasons, closes: false };
        match refusal.status() {
            StatusCode::SERVICE_UNAVAILABLE => refused.retry_after(Duration::from_secs(1)),
            _ => refused,
        }
    }
}

impl Refused {
    pub(super) const fn code(&self) -> &'static str {
        self.refusal.code()
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.refusal.status()
    }

    pub(super) const fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// The headers of this one answer.
    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    pub(super) fn decision(&self) -> Decision {
        let expected = self.refusal == Refusal::ForeignDestination;
        let failed = self.refusal.status().is_server_error() && !expected;
        if failed { Decision::Failed } else { Decision::Refused }
    }

    /// Whether what follows on the connection cannot be trusted.
    pub(super) const fn closes(&self) -> bool {
        self.closes
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// `WWW-Authenticate`, which every 401 carries (RFC 9110 section 11.6.1, RFC 6750 section 3).
    pub(super) fn realm(self, snapshot: &Snapshot) -> Self {
        if self.refusal.status() != StatusCode::UNAUTHORIZED {
            return self;
        }
        let error = self.refusal.entry().error.filter(|_| self.about_token());
        let value = snapshot.challenge(error, self.max_age);
        self.header(WWW_AUTHENTICATE, value)
    }

    /// A login older than this many seconds is not recent (RFC 9470 section 3).
    pub(super) fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs());
        self
    }

    /// Says more than the table does: for callers who may know.
    pub(super) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// A new password that is too weak, and why, for its owner.
    pub(super) fn password(reasons: &[Rejection]) -> Self {
        let reasons = reasons.iter().map(ToString::to_string).collect();
        Self { reasons, ..Self::from(Refusal::PasswordRejected) }
    }

    fn about_token(&self) -> bool {
        matches!(
            self.refusal,
            Refusal::TokenInvalid | Refusal::TokenExpired | Refusal::ReauthRequired
        )
    }

    /// Whole seconds, jittered so that those who wait do not come back at once.
    fn retry_after(self, after: Duration) -> Self {
        let jitter = after.mul_f64(0.2 * secret::random_fraction());
        let seconds = after.saturating_add(jitter).as_secs().saturating_add(1);
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(super) fn upstream(failure: &upstream::Failure, upload: &UploadState) -> Self {
        match failure {
            upstream::Failure::Connect(_)
            | upstream::Failure::Protocol(_)
            | upstream::Failure::Answer(_) => Refusal::BadGateway,
            upstream::Failure::TimedOut => Refusal::GatewayTimeout,
            upstream::Failure::Full => Refusal::UpstreamBusy,
            upstream::Failure::Down => Refusal::UpstreamStarting,
            upstream::Failure::Upload => match upload.fault() {
                Some(fault) => return fault.into(),
                None => Refusal::BadRequest,
            },
        }
        .into()
    }

    pub(super) fn response(&self, request_id: RequestId) -> Response<Content> {
        let entry = self.refusal.entry();
        let problem = Problem {
            kind: format!("https://portcullis.dev/problems/{}", entry.code.replace('_', "-")),
            title: entry.title,
            status: entry.status.as_u16(),
            detail: self.detail.as_deref().unwrap_or(entry.detail),
            code: entry.code,
            error: entry.error,
            error_description: entry.error.map(|_| entry.title),
            max_age: self.max_age,
            reasons: &self.reasons,
            request_id: request_id.as_str(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Content::Own(Bytes::from(body)));
        *response.status_mut() = entry.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        response
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    reasons: &'a [String],
    request_id: &'a str,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        let refused = match malformed {
            Malformed::Bad(_) | Malformed::Target(_) | Malformed::Host(_) => {
                Refusal::BadRequest.into()
            }
            Malformed::TooManyFields => Refusal::TooManyFields.into(),
            Malformed::TargetTooLong => Refusal::TargetTooLong.into(),
            Malformed::Method => allow(&[]).detail("This method is not allowed here."),
        };
        Self { closes: true, ..refused }
    }
}

impl From<Unmatched> for Refused {
    fn from(unmatched: Unmatched) -> Self {
        match unmatched {
            Unmatched::Misdirected => Refusal::Misdirected.into(),
            Unmatched::NotFound => Refusal::NotFound.into(),
            Unmatched::Method { allow: methods } => allow(&methods),
        }
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::SignIn(why) => why.into(),
            Denied::Forbidden => Refusal::Forbidden.into(),
            Denied::NotFound => Refusal::NotFound.into(),
            Denied::Method { allow: methods } => allow(&methods),
            Denied::AmbiguousPath => Refusal::BadRequest.into(),
            Denied::Address => Refusal::AddressRefused.into(),
            Denied::CrossOrigin => Refusal::CsrfRejected.into(),
            Denied::Destination(BadDestination::Doubled) => Refusal::BadRequest.into(),
            Denied::Destination(BadDestination::Forbidden) => Refusal::Forbidden.into(),
            Denied::Destination(BadDestination::Foreign) => Refusal::ForeignDestination.into(),
        }
    }
}

impl From<Why> for Refused {
    fn from(why: Why) -> Self {
        let refused = Self::from(Refusal::from(why));
        if why == Why::NotByCookie { refused.detail(NOT_BY_COOKIE) } else { refused }
    }
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        match why {
            Why::NoCredential => Self::TokenMissing,
            Why::Invalid => Self::TokenInvalid,
            Why::Expired | Why::NotByCookie => Self::TokenExpired,
            Why::Revoked => Self::SessionRevoked,
        }
    }
}

impl From<RefusedRefresh> for Refusal {
    fn from(refused: RefusedRefresh) -> Self {
        match refused {
            RefusedRefresh::Invalid => Self::RefreshInvalid,
            RefusedRefresh::Reused => Self::RefreshReused,
            RefusedRefresh::Revoked => Self::SessionRevoked,
            RefusedRefresh::Expired => Self::SessionExpired,
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(_) => Refusal::StoreUnavailable.into(),
            Failure::Key(KeyError::TooLong { .. }) => Refusal::TooManyRoles.into(),
            Failure::Key(_) => Refusal::Internal.into(),
        }
    }
}

impl From<Wait> for Refused {
    fn from(wait: Wait) -> Self {
        Self::from(Refusal::Throttled).retry_after(wait.after)
    }
}

impl From<UploadFault> for Refused {
    fn from(fault: UploadFault) -> Self {
        CollectError::from(fault).into()
    }
}

impl From<upstream::Unforwardable> for Refused {
    fn from(why: upstream::Unforwardable) -> Self {
        match why {
            upstream::Unforwardable::Prefix | upstream::Unforwardable::Target => {
                Refusal::BadRequest
            }
            upstream::Unforwardable::Endpoint => Refusal::Internal,
        }
        .into()
    }
}

impl From<CollectError> for Refused {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLarge => Refusal::PayloadTooLarge,
            CollectError::TooSlow => Refusal::RequestTimeout,
            CollectError::Broken => Refusal::BadRequest,
        }
        .into()
    }
}

fn allow(methods: &[Method]) -> Refused {
    let list: Vec<_> = methods.iter().map(Method::as_str).collect();
    let value = HeaderValue::from_str(&list.join(", "));
    let refused = Refused::from(Refusal::MethodNotAllowed);
    match value {
        Ok(value) => refused.header(ALLOW, value),
        Err(_) => refused,
    }
}

/// To a script that kept the cookies of a login that did not say.
const NOT_BY_COOKIE: &str = "The access token has expired, and this session is not renewed by cookie. \
    Refresh it with the refresh token in the body, or sign in with `\"transport\": \"cookie\"`.";
