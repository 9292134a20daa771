//! CORS headers: what lets scripts of other origins read an answer, the gateway's refusals too.
//!
//! Only an origin that the policy admits is ever named, and `*` never beside credentials.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap,
    HeaderName, HeaderValue, VARY,
};
use http::{Response, StatusCode};

use super::body::Content;
use crate::policy::{Cors, CorsOrigins, CorsPolicy, Matched, origin_of};

/// The policy of the route that a request took, and the origin it comes from if that may read.
#[derive(Debug)]
pub(super) struct Sharing {
    policy: Arc<CorsPolicy>,
    reader: Option<HeaderValue>,
}

/// Answers a preflight without asking who sends it, where the gateway is to. An origin or a method
/// that the policy does not list is told nothing, which browsers take for a no.
pub(super) fn preflight(matched: &Matched) -> Option<Response<Content>> {
    let (policy, method) = matched.preflight()?;
    let sharing = Sharing::of(matched)?;
    let mut answer = Response::new(Content::Own(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static(ASKED));
    let listed = policy.methods.as_ref().is_none_or(|methods| methods.contains(method));
    if listed && sharing.name_reader(headers) {
        insert(headers, ACCESS_CONTROL_ALLOW_METHODS, method.as_str());
        insert(headers, ACCESS_CONTROL_ALLOW_HEADERS, &joined(&policy.headers));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(policy.max_age.as_secs()));
    }
    Some(answer)
}

impl Sharing {
    /// None where the gateway has no say: no policy, or the application's own.
    pub(super) fn of(matched: &Matched) -> Option<Self> {
        let policy = matched.route().cors.as_ref().and_then(Cors::policy)?;
        let reader = origin_of(matched.request().headers()).filter(|origin| policy.admits(origin));
        let reader = reader.map(|origin| match policy.origins {
            CorsOrigins::Any => HeaderValue::from_str("*"),
            CorsOrigins::Listed(_) => HeaderValue::from_str(&origin.to_string()),
        });
        Some(Self { policy: Arc::clone(policy), reader: reader.and_then(Result::ok) })
    }

    /// The policy, whose word also counts on which origins act for the user.
    pub(super) fn policy(&self) -> &CorsPolicy {
        &self.policy
    }

    /// Says who may read an answer, in the place of what the application says of it.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        withhold(headers);
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if self.name_reader(headers) {
            insert(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &joined(&self.policy.expose));
        }
    }

    fn name_reader(&self, headers: &mut HeaderMap) -> bool {
        let Some(reader) = &self.reader else {
            return false;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader.clone());
        if self.policy.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }
}

fn withhold(headers: &mut HeaderMap) {
    let said = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    let said: Vec<HeaderName> = headers.keys().filter(said).cloned().collect();
    for name in said {
        headers.remove(name);
    }
}

fn joined(names: &[HeaderName]) -> String {
    names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// Everything that the answer to a preflight depends on.
const ASKED: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
