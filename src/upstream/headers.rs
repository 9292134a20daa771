//! What is taken out of requests.
//!
//! Client headers are compared by their folded names, as CGI folds them, so that no spelling of a
//! name that an application trusts survives. Writing headers is the business of
//! [`Outbound`](super::Outbound).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE};

use crate::config::{Protocol, Upstream, UpstreamServer};
use crate::policy::{Route, UpstreamId, is_method_override};
use crate::request::{CookieNames, Scheme, fold};

/// Which client headers never reach an upstream, by any route. Clones are cheap.
#[derive(Clone, Debug)]
pub struct HeaderRules(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    reserved: Vec<Box<str>>,
    /// Bit n is set if a reserved name has n bytes: most names are let go by this alone.
    lengths: u64,
    cookies: CookieNames,
    authorities: HashMap<UpstreamId, HeaderValue>,
    servers: HashMap<UpstreamId, Box<[ServerOrigin]>>,
}

/// The origin of a server as seen from inside: scheme and authority, without the usual port.
pub(super) type ServerOrigin = (Scheme, String);

impl HeaderRules {
    /// Gathers the folded names of every identity and forwarding header of all routes, and what
    /// `Host` is for each upstream whose routes do not preserve the browser's.
    pub fn new<'a>(
        routes: impl Iterator<Item = &'a Route>,
        upstreams: &[Upstream],
        cookies: &CookieNames,
    ) -> Self {
        let mut reserved: Vec<Box<str>> = RESERVED.iter().map(|name| (*name).into()).collect();
        for name in routes.flat_map(|route| route.identity.names()) {
            reserved.push(fold(name).into());
        }
        reserved.sort();
        reserved.dedup();
        let lengths = reserved.iter().fold(0, |bits, name| bits | length_bit(name));
        let authorities = upstreams.iter().enumerate().filter_map(authority).collect();
        let servers = upstreams.iter().enumerate().map(servers).collect();
        let cookies = cookies.clone();
        Self(Arc::new(Rules { reserved, lengths, cookies, authorities, servers }))
    }

    /// The gateway's own cookies.
    pub(super) fn cookies(&self) -> &CookieNames {
        &self.0.cookies
    }

    /// `Host` of an upstream that is not to see the browser's.
    pub(super) fn authority(&self, upstream: UpstreamId) -> Option<&HeaderValue> {
        self.0.authorities.get(&upstream)
    }

    /// What the servers of an upstream may call themselves.
    pub(super) fn servers(&self, upstream: UpstreamId) -> &[ServerOrigin] {
        self.0.servers.get(&upstream).map(AsRef::as_ref).unwrap_or_default()
    }

    /// Removes hop-by-hop headers, those that `Connection` names, and every client header that
    /// reads like one of ours (RFC 9110 section 7.6.1).
    pub(super) fn strip_request(&self, headers: &mut HeaderMap, route: &Route) {
        remove_nominated(headers);
        let wants_trailers = headers.contains_key(TE) && accepts_trailers(headers);
        let doomed: Vec<HeaderName> =
            headers.keys().filter(|name| self.drops(name, route)).cloned().collect();
        for name in doomed {
            headers.remove(name);
        }
        if wants_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }

    pub(super) fn drops(&self, name: &HeaderName, route: &Route) -> bool {
        let written = name.as_str();
        if is_hop_by_hop(written) {
            return true;
        }
        let folded = fold(name);
        let unlike = matches!(folded, Cow::Owned(_));
        (unlike && written.contains('_') && !route.allow.underscore_headers)
            || self.is_reserved(&folded)
            || (!route.allow.method_override && is_method_override(name))
            || is_edited(&folded, &route.headers.set, &route.headers.remove)
    }

    pub(super) fn is_reserved(&self, folded: &str) -> bool {
        let extended = folded.starts_with("x-");
        (extended && (folded.starts_with("x-forwarded") || folded.starts_with("x-portcullis-")))
            || (self.0.lengths & length_bit(folded) != 0
                && self.0.reserved.iter().any(|name| **name == *folded))
    }
}

fn length_bit(name: &str) -> u64 {
    u32::try_from(name.len()).ok().and_then(|len| 1_u64.checked_shl(len)).unwrap_or(1)
}

/// Several servers are one application: they all see the name of the first.
fn authority((at, upstream): (usize, &Upstream)) -> Option<(UpstreamId, HeaderValue)> {
    let text = upstream.servers.first()?.authority();
    Some((UpstreamId(at), HeaderValue::from_str(&text).ok()?))
}

fn servers((at, upstream): (usize, &Upstream)) -> (UpstreamId, Box<[ServerOrigin]>) {
    let origin = |server: &UpstreamServer| match server.protocol {
        Protocol::Https => (Scheme::Https, server.authority()),
        Protocol::Http | Protocol::H2c => (Scheme::Http, server.authority()),
    };
    (UpstreamId(at), upstream.servers.iter().map(origin).collect())
}

/// What the operator sets or removes on a route, no spelling of another's may contradict.
pub(super) fn is_edited(
    folded: &str,
    set: &[(HeaderName, HeaderValue)],
    remove: &[HeaderName],
) -> bool {
    set.iter().map(|(name, _)| name).chain(remove).any(|name| fold(name) == folded)
}

/// Headers that are one connection's affair (RFC 9110 section 7.6.1), and the framing beside them.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "content-length"
    )
}

/// Removes what `Connection` names.
pub(super) fn remove_nominated(headers: &mut HeaderMap) {
    let mut nominated: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for option in options {
            // The usual options name no header; `content-length` would unframe an answer to HEAD.
            if !is_plain_option(option) {
                nominated.extend(HeaderName::from_bytes(option).ok());
            }
        }
    }
    for name in nominated {
        headers.remove(name);
    }
}

fn is_plain_option(option: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"te", b"upgrade", b"content-length"]
        .iter()
        .any(|plain| option.eq_ignore_ascii_case(plain))
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
    })
}

/// Reserved whatever the routes say; `x-forwarded*` and `x-portcullis-*` beside them. The framing
/// headers are here for their look-alikes: the true ones are made anew for each request.
const RESERVED: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "content-length",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy",
    "proxy-client-ip",
    "transfer-encoding",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

#[cfg(test)]
mod tests;
