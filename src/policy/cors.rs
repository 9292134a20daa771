//! CORS: which other origins may read a route's answers, as plain data, and which requests are a
//! browser's question whether they may (the preflight of the Fetch standard, section 4.8).
//!
//! Nothing here writes a header: `gateway` does.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, HeaderName, ORIGIN, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method};

use super::method::method_overrides;
use crate::request::{NormalRequest, Origin};

/// `cors` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// The application answers preflights and writes the headers itself.
    Upstream,
    /// The gateway does, by this policy.
    Policy(Arc<CorsPolicy>),
}

/// `[cors.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsPolicy {
    /// The key of its table.
    pub name: String,
    /// Who may read.
    pub origins: CorsOrigins,
    /// Cookies are sent and count; these origins act for the user. Never with [`CorsOrigins::Any`].
    pub credentials: bool,
    /// None: those of the route.
    pub methods: Option<Vec<Method>>,
    /// Headers that a script may send.
    pub headers: Vec<HeaderName>,
    /// Headers that a script may read.
    pub expose: Vec<HeaderName>,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
}

/// `origins` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// `"*"`: everybody's scripts, and never with the user's cookies.
    Any,
    /// These alone.
    Listed(Vec<Origin>),
}

impl Cors {
    /// The policy that the gateway keeps, if it is the one who does.
    pub fn policy(&self) -> Option<&Arc<CorsPolicy>> {
        match self {
            Self::Policy(policy) => Some(policy),
            Self::Upstream => None,
        }
    }
}

impl CorsPolicy {
    /// Whether scripts of an origin may read. `null` is no origin, so never listed.
    pub fn admits(&self, origin: &Origin) -> bool {
        match &self.origins {
            CorsOrigins::Any => true,
            CorsOrigins::Listed(origins) => origins.contains(origin),
        }
    }

    /// Whether what an origin sends with the user's cookies is the user's will.
    pub fn trusts(&self, origin: &Origin) -> bool {
        self.credentials && self.origins != CorsOrigins::Any && self.admits(origin)
    }
}

/// The one origin that a request says it comes from.
pub fn origin_of(headers: &HeaderMap) -> Option<Origin> {
    Origin::sent(only(headers, &ORIGIN)?, false)
}

/// The method that a true preflight asks for: OPTIONS with an Origin and a method, and no body. One
/// that stands for another method asks for nothing: it is acted on.
pub(super) fn asked_method(request: &NormalRequest) -> Option<Method> {
    let headers = request.headers();
    let bodiless = !headers.contains_key(TRANSFER_ENCODING)
        && headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    if *request.method() != Method::OPTIONS || !bodiless || request.asks_upgrade() {
        return None;
    }
    if method_overrides(headers).next().is_some() {
        return None;
    }
    only(headers, &ORIGIN)?;
    let method = only(headers, &ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok(),
        _ => None,
    }
}
