//! What is taken out of answers.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

use super::headers::{is_hop_by_hop, remove_nominated};
use crate::policy::CachePolicy;
use crate::request::disturbs_gateway_cookies;

/// Removes from an answer what must not reach the client: hop-by-hop headers, the upstream's
/// Set-Cookie on our names, `Clear-Site-Data` of cookies; then says who may keep it.
///
/// `Content-Length` stays, for answers to HEAD.
pub fn clean_answer(headers: &mut HeaderMap, keeper: Keeper) {
    remove_nominated(headers);
    let mut doomed: Vec<HeaderName> = Vec::new();
    let (mut sets_cookies, mut clears_data) = (false, false);
    for name in headers.keys() {
        let text = name.as_str();
        sets_cookies |= *name == SET_COOKIE;
        clears_data |= *name == CLEAR_SITE_DATA;
        if (is_hop_by_hop(text) && !matches!(text, "trailer" | "content-length"))
            || (keeper != Keeper::AsSent && is_shared_cache_header(text))
        {
            doomed.push(name.clone());
        }
    }
    for name in doomed {
        headers.remove(name);
    }
    if sets_cookies {
        withhold_own_cookies(headers);
    }
    if clears_data {
        keep_cookies_of_site(headers);
    }
    match keeper {
        Keeper::AsSent => {}
        Keeper::Browser => make_private(headers),
        Keeper::Nobody => drop(headers.insert(CACHE_CONTROL, NO_STORE)),
    }
}

/// Who may keep an answer, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Whoever the application lets.
    AsSent,
    /// The browser that asked.
    Browser,
    /// Nobody.
    Nobody,
}

impl Keeper {
    /// Whom a route's policy lets keep an answer.
    pub const fn of(policy: CachePolicy, known_caller: bool) -> Self {
        match (policy, known_caller) {
            (CachePolicy::NoStore, _) => Self::Nobody,
            (CachePolicy::Private, true) => Self::Browser,
            (CachePolicy::Private, false) | (CachePolicy::Upstream, _) => Self::AsSent,
        }
    }
}

/// Narrows an answer that carries something of one user's after all.
pub fn keep_from_others(headers: &mut HeaderMap, keeper: Keeper) {
    let shared: Vec<HeaderName> =
        headers.keys().filter(|name| is_shared_cache_header(name.as_str())).cloned().collect();
    for name in shared {
        headers.remove(name);
    }
    match keeper {
        Keeper::AsSent | Keeper::Browser => make_private(headers),
        Keeper::Nobody => drop(headers.insert(CACHE_CONTROL, NO_STORE)),
    }
}

fn withhold_own_cookies(headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| disturbs_gateway_cookies(sent_back(value.as_bytes()));
    if !headers.get_all(SET_COOKIE).iter().any(ours) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}

/// What a browser sends back of a cookie. One set without a name (`=a=b`) is sent as its value,
/// `a=b`.
fn sent_back(set_cookie: &[u8]) -> &[u8] {
    set_cookie.split(|byte| *byte == b';').next().unwrap_or_default()
}

fn keep_cookies_of_site(headers: &mut HeaderMap) {
    let mut kept: Vec<u8> = Vec::new();
    for value in headers.get_all(CLEAR_SITE_DATA) {
        for kind in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let bare = kind.strip_prefix(b"\"").unwrap_or(kind);
            let bare = bare.strip_suffix(b"\"").unwrap_or(bare);
            if bare == b"*" || bare.eq_ignore_ascii_case(b"cookies") {
                continue;
            }
            push_element(&mut kept, kind);
        }
    }
    headers.remove(CLEAR_SITE_DATA);
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept)) {
        headers.insert(CLEAR_SITE_DATA, value);
    }
}

/// Headers by which a shared cache is told to keep what is one user's, whatever `Cache-Control` says:
/// `x-accel-expires` is nginx's.
pub(super) fn is_shared_cache_header(name: &str) -> bool {
    matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
        || name.ends_with("cdn-cache-control")
}

/// RFC 9111 section 5.2.2: nothing that lets a shared cache store the answer, and `private`.
fn make_private(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(CACHE_CONTROL).iter();
    let rewritten = match (lines.next(), lines.next()) {
        (None, _) => HeaderValue::from_static("private"),
        (Some(only), None) if matches!(only.as_bytes(), b"private" | b"no-store") => return,
        _ => private_directives(headers),
    };
    headers.insert(CACHE_CONTROL, rewritten);
}

fn private_directives(headers: &HeaderMap) -> HeaderValue {
    let mut kept: Vec<u8> = Vec::new();
    let mut no_store = false;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in elements(value.as_bytes()) {
            let name =
                directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            no_store |= is(b"no-store");
            if is(b"public") || is(b"private") || is(b"s-maxage") || is(b"proxy-revalidate") {
                continue;
            }
            if has_open_quote(directive) {
                return HeaderValue::from_static("no-store");
            }
            push_element(&mut kept, directive);
        }
    }
    if !no_store {
        push_element(&mut kept, b"private");
    }
    HeaderValue::from_bytes(&kept).unwrap_or(HeaderValue::from_static("no-store"))
}

/// What follows an open quote reads in two ways; such an answer is not to be stored at all.
fn has_open_quote(directive: &[u8]) -> bool {
    directive.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// The elements of a list (RFC 9110 section 5.6.1); a comma within quotes parts nothing.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = list.split(move |byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        *byte == b',' && !quoted
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

fn push_element(list: &mut Vec<u8>, element: &[u8]) {
    if element.is_empty() {
        return;
    }
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element);
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

#[cfg(test)]
mod tests;
