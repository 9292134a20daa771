//! Redirects of an application that does not know where browsers see it.
//!
//! Only what the application says of itself is changed: a URL of its own origin, or a path from its
//! root. A URL of any other origin, or what a browser could take for one, stays byte for byte.

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LOCATION};

use super::headers::ServerOrigin;
use super::values::Text;
use crate::policy::{RewriteLocation, Route};
use crate::request::{Origin, Scheme};

/// Turns `Location` and `Content-Location` round. `servers`: what the
/// upstream's own servers may call themselves.
pub(super) fn rewrite(
    headers: &mut HeaderMap,
    route: &Route,
    (origin, servers): (&Origin, &[ServerOrigin]),
) {
    if route.answer.location == RewriteLocation::Off {
        return;
    }
    for name in [LOCATION, CONTENT_LOCATION] {
        let Some(said) = only(headers, &name) else {
            continue;
        };
        let turn = Turn { route, origin, servers };
        if let Some(turned) = turn.round(said.as_bytes()) {
            headers.insert(name, turned);
        }
    }
}

/// Of two lines nobody can tell which one is followed.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[derive(Clone, Copy)]
struct Turn<'a> {
    route: &'a Route,
    origin: &'a Origin,
    servers: &'a [ServerOrigin],
}

impl Turn<'_> {
    /// None: it stays.
    fn round(self, said: &[u8]) -> Option<HeaderValue> {
        match said {
            // The host follows, for browsers after `/\` too.
            [b'/', b'/' | b'\\', ..] => None,
            [b'/', ..] => self.prefixed(said),
            _ => self.published(said),
        }
    }

    fn prefixed(self, path: &[u8]) -> Option<HeaderValue> {
        let prefix = self.missing_prefix(path)?;
        let mut text = BytesMut::with_capacity(prefix.len().saturating_add(path.len()));
        text.put_slice(prefix.as_bytes());
        text.put_slice(path);
        HeaderValue::from_maybe_shared(text.freeze()).ok()
    }

    /// A URL of the application's own origin, at the origin that browsers see.
    fn published(self, url: &[u8]) -> Option<HeaderValue> {
        let (scheme, rest) = split_scheme(url)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
        let (authority, path) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        // After `\` readers disagree on where the host ends.
        if path.first() == Some(&b'\\') || !self.is_own(scheme, authority) {
            return None;
        }
        let mut text = BytesMut::with_capacity(url.len().saturating_add(64));
        text.put_slice(self.origin.to_string().as_bytes());
        text.put_slice(self.missing_prefix(path).unwrap_or_default().as_bytes());
        text.put_slice(path);
        HeaderValue::from_maybe_shared(text.freeze()).ok()
    }

    /// A server's own name; or the name that it was told, by a scheme that is not the public one:
    /// such an application overlooks `X-Forwarded-Proto`.
    fn is_own(self, scheme: Scheme, authority: &[u8]) -> bool {
        let named =
            |(own, server): &ServerOrigin| *own == scheme && same(scheme, server, authority);
        if self.servers.iter().any(named) {
            return true;
        }
        let shown = self.origin.port() != self.origin.scheme().default_port();
        let mut told = Text::default();
        told.authority(self.origin.host().as_str(), shown.then_some(self.origin.port()));
        self.route.preserve_host
            && scheme != self.origin.scheme()
            && told.bytes().eq_ignore_ascii_case(authority)
    }

    /// What was cut off, unless the application has put it there itself.
    fn missing_prefix(&self, path: &[u8]) -> Option<&str> {
        let prefix = self.route.strip_prefix.as_deref()?;
        let there = path
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b'/' | b'?' | b'#')));
        (!there).then_some(prefix)
    }
}

fn split_scheme(url: &[u8]) -> Option<(Scheme, &[u8])> {
    let starts = |scheme: Scheme| {
        let (start, rest) = url.split_at_checked(scheme.as_str().len())?;
        let named = start.eq_ignore_ascii_case(scheme.as_str().as_bytes());
        rest.strip_prefix(b"://").filter(|_| named).map(|rest| (scheme, rest))
    };
    starts(Scheme::Http).or_else(|| starts(Scheme::Https))
}

/// Case aside, and the port that the scheme has anyway.
fn same(scheme: Scheme, server: &str, authority: &[u8]) -> bool {
    let usual: &[u8] = match scheme {
        Scheme::Http => b":80",
        Scheme::Https => b":443",
    };
    let authority = authority.strip_suffix(usual).unwrap_or(authority);
    server.as_bytes().eq_ignore_ascii_case(authority)
}

#[cfg(test)]
mod tests;
