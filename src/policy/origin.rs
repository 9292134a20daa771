//! The origin rule: may a cookie decide this request?

use http::header::{GetAll, HeaderValue, ORIGIN};
use http::{HeaderName, Method};
use thiserror::Error;

use super::method::method_overrides;
use super::{CorsPolicy, origin_of};
use crate::request::{NormalRequest, Origin};

/// Another site acts for the user: 403.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this request comes from another origin")]
pub struct CrossOrigin {
    /// For the metric: "site", "origin", "null", "upgrade".
    pub why: &'static str,
}

/// Refuses what another origin makes a browser send with its cookies. Safe methods that
/// stand for no other pass, requests for a tunnel never do without the rule: `Sec-Fetch-Site` decides, and where a browser sends none
/// `Origin` does. Origins that the route's policy lets act with credentials are trusted there.
pub fn check_origin(request: &NormalRequest, cors: Option<&CorsPolicy>) -> Result<(), CrossOrigin> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && method_overrides(request.headers()).next().is_none();
    if safe && !request.asks_upgrade() {
        return Ok(());
    }
    let headers = request.headers();
    let trusted = || {
        cors.is_some_and(|policy| origin_of(headers).is_some_and(|origin| policy.trusts(&origin)))
    };
    match only(&headers.get_all(SEC_FETCH_SITE)) {
        Line::One(site) if matches!(site.as_bytes(), b"same-origin" | b"none") => return Ok(()),
        Line::Absent => {}
        Line::One(_) if trusted() => return Ok(()),
        Line::One(_) | Line::Several => return refuse("site"),
    }
    match only(&headers.get_all(ORIGIN)) {
        Line::Absent if request.asks_upgrade() && from_browser(request) => refuse("upgrade"),
        Line::Absent => Ok(()),
        Line::One(origin) if origin == "null" => refuse("null"),
        Line::One(origin) if is_own(origin, request) || trusted() => Ok(()),
        Line::One(_) | Line::Several => refuse("origin"),
    }
}

/// The same by `Sec-Fetch-Site` alone, for a page that says nothing of where it is: browsers send
/// its form with `Origin: null`. Not for what a cookie decides.
pub fn check_fetch_site(request: &NormalRequest) -> Result<(), CrossOrigin> {
    match only(&request.headers().get_all(SEC_FETCH_SITE)) {
        Line::One(site) if matches!(site.as_bytes(), b"same-origin" | b"none") => Ok(()),
        Line::Absent => Ok(()),
        Line::One(_) | Line::Several => refuse("site"),
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

enum Line<'a> {
    Absent,
    One(&'a HeaderValue),
    Several,
}

fn only<'a>(lines: &GetAll<'a, HeaderValue>) -> Line<'a> {
    let mut lines = lines.iter();
    match (lines.next(), lines.next()) {
        (None, _) => Line::Absent,
        (Some(line), None) => Line::One(line),
        (Some(_), Some(_)) => Line::Several,
    }
}

fn refuse(why: &'static str) -> Result<(), CrossOrigin> {
    Err(CrossOrigin { why })
}

fn is_own(origin: &HeaderValue, request: &NormalRequest) -> bool {
    let rooted = request.host().rooted;
    let origin = origin.to_str().ok().and_then(|text| Origin::sent(text, rooted));
    origin.is_some() && origin.as_ref() == request.origin()
}

fn from_browser(request: &NormalRequest) -> bool {
    request.headers().keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}
