//! What is taken out of trailers.
//!
//! Whoever merges trailers into the headers (RFC 9110 section 6.5.1) must find nothing in them that
//! would not have come through as a header, and nothing that decides before a body is read.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};

use super::HeaderRules;
use super::clean::is_shared_cache_header;
use super::headers::{is_edited, is_hop_by_hop};
use crate::policy::{Route, is_method_override};
use crate::request::fold;

/// Which trailers come through, of one route's requests and answers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct TrailerRules {
    headers: HeaderRules,
    route: Arc<Route>,
}

impl TrailerRules {
    /// Those of a route.
    pub fn new(headers: &HeaderRules, route: Arc<Route>) -> Self {
        Self { headers: headers.clone(), route }
    }

    /// Filters the trailers of a request by the rules of its headers. None stands for another method,
    /// whatever the route allows: that was decided before they came.
    pub(super) fn strip_request(&self, trailers: &mut HeaderMap) {
        strip(trailers, |name, folded| {
            self.headers.drops(name, &self.route)
                || is_method_override(name)
                || is_no_trailer(folded)
        });
    }

    /// Filters the trailers of an answer: no name of ours, and none that the route writes or removes.
    pub(super) fn strip_answer(&self, trailers: &mut HeaderMap) {
        let edits = &self.route.answer;
        strip(trailers, |_, folded| {
            self.headers.is_reserved(folded)
                || is_edited(folded, &edits.set, &edits.remove)
                || is_no_trailer(folded)
        });
    }
}

fn strip(trailers: &mut HeaderMap, drops: impl Fn(&HeaderName, &str) -> bool) {
    let doomed: Vec<HeaderName> =
        trailers.keys().filter(|name| drops(name, &fold(name))).cloned().collect();
    for name in doomed {
        trailers.remove(name);
    }
}

/// Whether a name frames, routes, authenticates, tells caches or browsers what to do, or is one that
/// is judged in the headers (RFC 9110 section 6.5.1). Not so gRPC's status, digests and timings.
fn is_no_trailer(folded: &str) -> bool {
    is_hop_by_hop(folded)
        || is_shared_cache_header(folded)
        || NEVER.contains(&folded)
        || NEVER_BEGINNINGS.iter().any(|beginning| folded.starts_with(beginning))
}

const NEVER: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "clear-site-data",
    "content-encoding",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "destination",
    "expect",
    "expires",
    "host",
    "location",
    "origin",
    "range",
    "service-worker-allowed",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "www-authenticate",
    "x-frame-options",
];

const NEVER_BEGINNINGS: &[&str] =
    &["access-control-", "content-security-policy", "if-", "sec-", "x-accel-"];

#[cfg(test)]
mod tests;
