//! The request as the upstream gets it.
//!
//! Everything is decided by now; what is written here comes from the normal form, the route and
//! the caller, never from a header of the client's.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use thiserror::Error;

use super::terms::Terms;
use super::values::{Text, identity_value, joined};
use super::{HeaderRules, upgraded};
use crate::identity::{Caller, Identity};
use crate::policy::{Permitted, Route, Target, UpstreamId};
use crate::request::{
    self, DESTINATION, Destination, DestinationForm, Host, NormalRequest, Origin, Peer, Scheme,
    TraceId, Upgrade, readings,
};

/// Name and e-mail of a user, for identities that tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Full name.
    pub name: Option<String>,
    /// E-mail.
    pub email: Option<String>,
}

/// What rewriting needs beside the request.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Compiled rules.
    pub rules: &'a HeaderRules,
    /// For identities that tell it.
    pub profile: Option<&'a Profile>,
    /// `X-Request-Id`.
    pub request_id: HeaderValue,
    /// The trace that begins with this request; None: the caller's goes on.
    pub trace: Option<TraceId>,
    /// `Authorization` holds a credential of ours, which must not go on.
    pub own_credential: bool,
    /// For identities that tell it: who the caller is, signed.
    pub assertion: Option<HeaderValue>,
    /// Names of the application's cookies that were not set for this caller.
    pub withheld: &'a [Box<[u8]>],
}

/// A permitted request, rewritten.
#[derive(Debug)]
pub struct Outbound {
    head: Parts,
    upstream: UpstreamId,
    rules: HeaderRules,
    terms: Terms,
    upgrade: Option<Box<Upgrade>>,
}

/// Why a permitted request has no form in which it could be forwarded: 400.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unforwardable {
    /// The path without its prefix is none, or one that reads as a host (`//x`).
    #[error("nothing normal is left of the path without its prefix")]
    Prefix,
    /// The target is no URI.
    #[error("the target cannot be written as a URI")]
    Target,
    /// The route leads to one of our own endpoints.
    #[error("the route has no upstream")]
    Endpoint,
}

impl Outbound {
    /// Strips and writes headers. Consumes the proof.
    pub fn new(permitted: Permitted, facts: &Facts<'_>) -> Result<Self, Unforwardable> {
        Self::split(permitted, facts).map(|(outbound, _, _)| outbound)
    }

    /// The same, and what was permitted to whom, without its headers.
    pub fn split(
        permitted: Permitted,
        facts: &Facts<'_>,
    ) -> Result<(Self, NormalRequest, Caller), Unforwardable> {
        let (mut request, route, caller) = permitted.into_parts();
        let Target::Upstream(upstream) = route.target else {
            return Err(Unforwardable::Endpoint);
        };
        let mut headers = request.take_headers();
        strip(&mut headers, &route, facts);
        write_destination(&mut headers, &request, &route)?;
        write(
            &mut headers,
            &Sender { request: Asked::by(&request), caller: &caller },
            &route,
            facts,
        );
        let path = stripped_path(request.target(), route.strip_prefix.as_deref())?;
        let uri = target(path, request.target().query())?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = uri;
        head.headers = headers;
        let session = caller.identity().map(|identity| identity.session);
        let terms = Terms { client: Some(request.client()), session, timeouts: route.timeouts };
        let rules = facts.rules.clone();
        Ok((Self { head, upstream, rules, terms, upgrade: None }, request, caller))
    }

    /// The head as it will be sent (without the framing of its body), for `explain`.
    pub fn head(&self) -> &Parts {
        &self.head
    }

    pub(super) fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    /// The same request, asking for a tunnel.
    #[must_use]
    pub fn upgrading(mut self, upgrade: Upgrade) -> Self {
        upgraded::ask(&mut self.head.headers, &upgrade);
        self.upgrade = Some(Box::new(upgrade));
        self
    }

    pub(super) fn into_head(self) -> (Parts, HeaderRules, Option<Box<Upgrade>>) {
        (self.head, self.rules, self.upgrade)
    }

    /// A request that nobody permitted, for tests of what becomes of it.
    #[cfg(test)]
    pub(crate) fn of(head: Parts, upstream: UpstreamId, rules: HeaderRules) -> Self {
        Self { head, upstream, rules, terms: Terms::default(), upgrade: None }
    }
}

/// What of the request is told to the upstream.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    host: &'a Host,
    origin: Option<&'a Origin>,
    client: IpAddr,
}

impl<'a> Asked<'a> {
    fn by(request: &'a NormalRequest) -> Self {
        Self { host: request.host(), origin: request.origin(), client: request.client() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sender<'a> {
    request: Asked<'a>,
    caller: &'a Caller,
}

/// Steps 1 to 3: what the client must not say.
fn strip(headers: &mut HeaderMap, route: &Route, facts: &Facts<'_>) {
    facts.rules.strip_request(headers, route);
    if headers.contains_key(COOKIE) {
        facts.rules.cookies().strip(headers);
        withhold(headers, facts.withheld);
    }
    if facts.own_credential {
        headers.remove(AUTHORIZATION);
    }
}

/// What an application set for one user tells it who that was, whoever brings it back.
fn withhold(headers: &mut HeaderMap, names: &[Box<[u8]>]) {
    if !names.is_empty() {
        request::remove_cookies(headers, |name| {
            names.iter().any(|withheld| withheld.eq_ignore_ascii_case(name))
        });
    }
}

/// Steps 4 and 5: what the gateway says. The operator's own headers come last.
fn write(headers: &mut HeaderMap, sender: &Sender<'_>, route: &Route, facts: &Facts<'_>) {
    if let Caller::Known(identity) = sender.caller {
        write_identity(headers, route, identity, facts.profile);
        insert_all(headers, &route.identity.assertion, facts.assertion.clone());
    }
    if let Some((name, value)) = &route.identity.proof {
        headers.insert(name.clone(), value.clone());
    }
    write_host(headers, sender.request, route, facts.rules);
    write_forwarding(headers, sender.request, route);
    headers.insert(X_REQUEST_ID, facts.request_id.clone());
    if let Some(trace) = facts.trace {
        trace.begin(headers);
    }
    for (name, value) in &route.headers.set {
        headers.insert(name.clone(), value.clone());
    }
}

/// The second target, in normal form and without the prefix that the first one loses.
fn write_destination(
    headers: &mut HeaderMap,
    request: &NormalRequest,
    route: &Route,
) -> Result<(), Unforwardable> {
    let Some(destination) = Destination::read(headers, request.origin()) else {
        return Ok(());
    };
    let destination = destination.map_err(|_unpermitted| Unforwardable::Target)?;
    let path = stripped_path(destination.target(), route.strip_prefix.as_deref())?;
    let told = destination.form() == DestinationForm::Absolute && route.preserve_host;
    let origin = request.origin().filter(|_| told).map(ToString::to_string).unwrap_or_default();
    let target = target(path, destination.target().query())?;
    let value = HeaderValue::from_str(&format!("{origin}{target}"));
    headers.insert(DESTINATION, value.map_err(|_raw| Unforwardable::Target)?);
    Ok(())
}

fn write_identity(
    headers: &mut HeaderMap,
    route: &Route,
    identity: &Identity,
    profile: Option<&Profile>,
) {
    let names = &route.identity;
    insert_all(headers, &names.user, identity_value(identity.username.as_str()));
    for (name, separator) in &names.roles {
        insert_all(headers, std::slice::from_ref(name), joined(&identity.roles, separator));
    }
    let told = |field: Option<&String>| field.and_then(|text| identity_value(text));
    if names.wants_profile() {
        insert_all(headers, &names.name, told(profile.and_then(|profile| profile.name.as_ref())));
        insert_all(headers, &names.email, told(profile.and_then(|profile| profile.email.as_ref())));
    }
}

fn insert_all(headers: &mut HeaderMap, names: &[HeaderName], value: Option<HeaderValue>) {
    let Some(value) = value else { return };
    for name in names {
        headers.insert(name.clone(), value.clone());
    }
}

fn write_host(headers: &mut HeaderMap, request: Asked<'_>, route: &Route, rules: &HeaderRules) {
    if let (false, Target::Upstream(upstream)) = (route.preserve_host, &route.target)
        && let Some(authority) = rules.authority(*upstream)
    {
        headers.insert(HOST, authority.clone());
        return;
    }
    let mut text = Text::default();
    text.authority(request.host.name.as_str(), request.host.port);
    if headers.get(HOST).is_none_or(|sent| sent.as_bytes() != text.bytes()) {
        set(headers, HOST, text.value());
    }
}

/// Scheme, host and port are those of the served origin, never a header's.
fn write_forwarding(headers: &mut HeaderMap, request: Asked<'_>, route: &Route) {
    if let Some(origin) = request.origin {
        let (scheme, default_port) = match origin.scheme() {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        let shown = (origin.port() != default_port).then_some(origin.port());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(origin.port()));
        let mut text = Text::default();
        text.authority(origin.host().as_str(), shown);
        // Most often it is Host itself, whose bytes are there already.
        let same = headers.get(HOST).filter(|host| host.as_bytes() == text.bytes()).cloned();
        set(headers, X_FORWARDED_HOST, same.or_else(|| text.value()));
    }
    // By a Unix socket, from a proxy that does not say for whom: nobody's address.
    if request.client != Peer::UNIX.address {
        let mut text = Text::default();
        text.display(request.client);
        let address = text.value();
        set(headers, X_FORWARDED_FOR, address.clone());
        set(headers, X_REAL_IP, address);
    }
    if let Some(prefix) = &route.strip_prefix {
        set(headers, X_FORWARDED_PREFIX, HeaderValue::from_str(prefix).ok());
    }
}

/// A header of ours is what we say, or is absent.
fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

/// Cuts a prefix on a segment boundary. No reading of what is left may begin with `//`: URL parsers
/// take what follows for a host and drop it, which no reading of the whole path has foreseen.
fn stripped_path<'a>(
    target: &'a request::Target,
    prefix: Option<&str>,
) -> Result<&'a str, Unforwardable> {
    let path = target.path();
    let Some(prefix) = prefix else {
        return Ok(path);
    };
    match path.strip_prefix(prefix.trim_end_matches('/')) {
        Some("") => Ok("/"),
        Some(rest) if rest.starts_with('/') && !names_host(rest, target) => Ok(rest),
        _ => Err(Unforwardable::Prefix),
    }
}

fn names_host(path: &str, whole: &request::Target) -> bool {
    let leads_away = |readings: Vec<Vec<u8>>| readings.iter().any(|path| path.starts_with(b"//"));
    whole.is_ambiguous() && readings(path.as_bytes()).map_or(true, leads_away)
}

fn target(path: &str, query: Option<&str>) -> Result<Uri, Unforwardable> {
    let length = path.len().saturating_add(query.map_or(0, |query| query.len().saturating_add(1)));
    let mut text = BytesMut::with_capacity(length);
    text.put_slice(path.as_bytes());
    if let Some(query) = query {
        text.put_u8(b'?');
        text.put_slice(query.as_bytes());
    }
    let target = PathAndQuery::from_maybe_shared(text.freeze());
    let target = target.map_err(|_invalid| Unforwardable::Target)?;
    // The parser cuts at `#` without a word.
    if target.as_str().len() != length {
        return Err(Unforwardable::Target);
    }
    Ok(Uri::from(target))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests;
