//! What the route says of an answer, once what must not pass is out of it.
//!
//! Not for hop-by-hop headers, cookies and caching: [`clean_answer`](super::clean_answer) has dealt
//! with them. No header that is written here can be taken out by the upstream's `Connection`.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

use super::clean::{Keeper, is_shared_cache_header, keep_from_others};
use super::{HeaderRules, location};
use crate::policy::{PathPattern, Permitted, Route, Target};
use crate::request::{self, Origin};

/// What of a request is needed again when its answer comes.
#[derive(Debug)]
pub struct Returning {
    route: Arc<Route>,
    origin: Option<Origin>,
}

impl Returning {
    /// Notes it, before the proof is given away.
    pub fn of(permitted: &Permitted) -> Self {
        let origin = permitted.request().origin().cloned();
        Self { route: Arc::clone(permitted.route()), origin }
    }

    /// The route.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Turns redirects round, drops what reaches beyond the route, and makes the operator's edits.
    pub fn rewrite(&self, headers: &mut HeaderMap, rules: &HeaderRules, keeper: Keeper) {
        if let (Some(origin), Target::Upstream(upstream)) = (&self.origin, &self.route.target) {
            location::rewrite(headers, &self.route, (origin, rules.servers(*upstream)));
        }
        if headers.contains_key(SERVICE_WORKER_ALLOWED) {
            narrow_service_worker(headers, &self.route.pattern);
        }
        edit(headers, &self.route, keeper);
    }
}

/// Writes and removes what the operator says. Of an answer to somebody no shared cache may be told
/// to keep it, by the operator neither.
pub fn edit(headers: &mut HeaderMap, route: &Route, keeper: Keeper) {
    let rules = &route.answer;
    let mut caching = false;
    for name in &rules.remove {
        caching |= is_caching(name);
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        caching |= is_caching(name);
        headers.insert(name.clone(), value.clone());
    }
    if keeper != Keeper::AsSent && caching {
        keep_from_others(headers, keeper);
    }
}

fn is_caching(name: &HeaderName) -> bool {
    *name == CACHE_CONTROL || is_shared_cache_header(name.as_str())
}

/// A worker of a wider scope than the route's would see, and could answer, requests of other
/// applications (Service Workers, section "Service-Worker-Allowed").
fn narrow_service_worker(headers: &mut HeaderMap, route: &PathPattern) {
    let mut lines = headers.get_all(SERVICE_WORKER_ALLOWED).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    if !only.is_some_and(|scope| stays_within(scope, route)) {
        headers.remove(SERVICE_WORKER_ALLOWED);
    }
}

/// A scope is compared as the beginning of a URL, so what counts is the folder it ends in.
fn stays_within(scope: &HeaderValue, route: &PathPattern) -> bool {
    let path = scope.to_str().ok().and_then(|scope| request::Target::read(scope).ok());
    let path = path.filter(|path| path.query().is_none() && !path.is_ambiguous());
    let folder = path.as_ref().and_then(|path| path.path().rsplit_once('/'));
    let below = folder.and_then(|(folder, _)| PathPattern::read(&format!("{folder}/*")).ok());
    below.is_some_and(|below| route.covers(&below))
}

const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
