//! Whether the caller may: the only way to a [`Permitted`].

use std::sync::Arc;

use http::Method;

use super::{Access, Cors, Matched, Route, Rule, Target, check_origin};
use crate::identity::{Caller, Identity, Why};
use crate::request::{BadDestination, NormalRequest};

/// Proof that the rule of the route was met, under every reading of the path. Owns its request.
#[derive(Debug)]
pub struct Permitted {
    request: NormalRequest,
    route: Arc<Route>,
    caller: Caller,
    by_cookie: bool,
}

impl Permitted {
    /// The request.
    pub fn request(&self) -> &NormalRequest {
        &self.request
    }

    /// Its route, which leads to an upstream.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Who sends it. On a public route: anonymous, whoever it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether a cookie made the caller known, so that the origin rule has judged the request.
    pub fn is_by_cookie(&self) -> bool {
        self.by_cookie
    }

    /// Ends the proof: for `upstream`, and to be decided on anew.
    pub fn into_parts(self) -> (NormalRequest, Arc<Route>, Caller) {
        (self.request, self.route, self.caller)
    }
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// 401: a login could help.
    SignIn(Why),
    /// 403: a known caller who lacks something.
    Forbidden,
    /// 404: nothing to be had here, under some reading.
    NotFound,
    /// 405: the path does not take the method that a header puts in the place of the request's.
    Method {
        /// What the path takes.
        allow: Vec<Method>,
    },
    /// 400: more than one reading on a strict route, or bytes that are not UTF-8.
    AmbiguousPath,
    /// 403: the client is somewhere else than it must be, under some reading.
    Address,
    /// 403: a cookie decided, and the request comes from another origin, under some reading.
    CrossOrigin,
    /// 400, 403 or 502: the second target of the request, whoever asks.
    Destination(BadDestination),
}

/// Decides. `by_cookie`: the caller was known by a cookie, so the origin rule holds for every
/// reading whose route takes an identity.
pub fn authorise(
    matched: Matched,
    caller: Caller,
    by_cookie: bool,
) -> Result<Permitted, (Matched, Denied)> {
    match refusal(&matched, &caller, by_cookie) {
        Some(denied) => Err((matched, denied)),
        None => {
            let (request, route) = matched.into_parts();
            let public = route.rule.access == Access::Public;
            let caller = if public { Caller::Anonymous(Why::NoCredential) } else { caller };
            Ok(Permitted { request, route, caller, by_cookie })
        }
    }
}

fn refusal(matched: &Matched, caller: &Caller, by_cookie: bool) -> Option<Denied> {
    let route = matched.route();
    let target = matched.request().target();
    if matches!(route.target, Target::Endpoint(_)) {
        return Some(Denied::NotFound);
    }
    let too_many = route.strict_paths && target.is_ambiguous();
    if too_many || !(target.is_utf8() || route.allow.non_utf8) {
        return Some(Denied::AmbiguousPath);
    }
    let client = matched.request().client();
    if matched.found().preflight.is_some() {
        if !matched.found().routes().all(|route| route.rule.admits_from(client)) {
            return Some(Denied::Address);
        }
        return (!matched.found().leaves_cors_to_upstream()).then_some(Denied::Forbidden);
    }
    // The same for every route without a policy, so asked once.
    let request = matched.request();
    let crosses = by_cookie && matched.takes_identity() && check_origin(request, None).is_err();
    let foreign = |route: &Route| {
        let policy = route.cors.as_ref().and_then(Cors::policy);
        crosses && (policy.is_none() || check_origin(request, policy.map(AsRef::as_ref)).is_err())
    };
    // Before all else, so that nobody is led to a login that would not help.
    let judge = |route: &Arc<Route>| match route.rule.access {
        _ if !route.rule.admits_from(client) => Some(Denied::Address),
        Access::Public => None,
        Access::Optional | Access::SignedIn if foreign(route) => Some(Denied::CrossOrigin),
        Access::Optional => None,
        Access::SignedIn => judge(&route.rule, caller),
    };
    let found = matched.found();
    let refused = found.routes().find_map(judge);
    refused.or_else(|| found.lost.clone())
}

fn judge(rule: &Rule, caller: &Caller) -> Option<Denied> {
    match caller {
        Caller::Anonymous(why) => Some(Denied::SignIn(*why)),
        Caller::Known(identity) if admits(rule, identity) => None,
        Caller::Known(_) => Some(Denied::Forbidden),
    }
}

fn admits(rule: &Rule, identity: &Identity) -> bool {
    (rule.roles.is_empty() && rule.users.is_empty())
        || identity.roles.iter().any(|role| rule.roles.contains(role))
        || rule.users.contains(&identity.username)
}
