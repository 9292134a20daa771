//! Which methods a route takes.

use std::sync::Arc;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Route;
use crate::request::fold;

/// Whether a header asks a framework behind us to act on another method than the request's, in any
/// spelling that CGI folds alike.
pub fn is_method_override(name: &HeaderName) -> bool {
    // Most names are let go by their lengths.
    matches!(name.as_str().len(), 13 | 17 | 22)
        && matches!(&*fold(name), "x-http-method" | "x-method-override" | "x-http-method-override")
}

/// What the headers say of another method; lines that say nothing are none.
pub(super) fn method_overrides(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.iter().filter(|(name, _)| is_method_override(name));
    let values = lines.map(|(_, value)| HeaderValue::as_bytes(value));
    values
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty())
}

/// The route that a method takes among those of one host and path pattern: the one that names it,
/// else the one that names none. HEAD goes where GET goes, unless it is named itself.
pub(super) fn route_for<'a>(routes: &'a [Arc<Route>], method: &Method) -> Option<&'a Arc<Route>> {
    let naming = |method: &Method| routes.iter().find(|route| names(route, method));
    naming(method)
        .or_else(|| (*method == Method::HEAD).then(|| naming(&Method::GET)).flatten())
        .or_else(|| routes.iter().find(|r| r.methods.is_none() && is_registered(method.as_str())))
}

/// The methods that these routes take together, for `Allow` (RFC 9110 section 10.2.1).
pub(super) fn allowed(routes: &[Arc<Route>]) -> Vec<Method> {
    let mut allowed: Vec<Method> = Vec::new();
    let mut add = |method: Method| {
        if !allowed.contains(&method) {
            allowed.push(method);
        }
    };
    for route in routes {
        match &route.methods {
            Some(methods) => methods.iter().cloned().for_each(&mut add),
            None => registered().for_each(&mut add),
        }
    }
    if allowed.contains(&Method::GET) && !allowed.contains(&Method::HEAD) {
        allowed.push(Method::HEAD);
    }
    allowed
}

/// Whether two routes of one host and path pattern would want the same method.
pub(super) fn overlap(one: &Route, other: &Route) -> bool {
    match (&one.methods, &other.methods) {
        (None, None) => true,
        (Some(methods), Some(others)) => methods.iter().any(|method| others.contains(method)),
        _ => false,
    }
}

/// Every method that a route without `methods` takes.
pub(super) fn registered() -> impl Iterator<Item = Method> {
    REGISTRY.iter().filter_map(|name| Method::from_bytes(name.as_bytes()).ok())
}

fn names(route: &Route, method: &Method) -> bool {
    route.methods.as_ref().is_some_and(|methods| methods.contains(method))
}

fn is_registered(name: &str) -> bool {
    REGISTRY.contains(&name)
}

/// The IANA HTTP method registry without CONNECT, TRACE and PRI, the usual ones first.
const REGISTRY: [&str; 36] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];
