//! The request as the upstream gets it.
//!
//! Everything is decided by now; what is written here comes from the normal form, the route and
//! the caller, never from a header of the client's.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};
use thiserror::Error;

use super::terms::Terms;
use super::values::Text;
use super::{HeaderRules, TrailerRules, upgraded};
use crate::identity::{Caller, Identity};
use crate::policy::{Permitted, Route, Target, UpstreamId, is_method_override};
use crate::request::{
    self, DESTINATION, Destination, DestinationForm, Host, NormalRequest, Origin, Peer, Scheme,
    TRACEPARENT, TRACESTATE, TraceId, Upgrade, readings,
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
    pub request_id: &'a str,
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
    rules: TrailerRules,
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

    /// The same, and what was permitted to whom, of its headers with those alone that name another
    /// method or target.
    pub fn split(
        permitted: Permitted,
        facts: &Facts<'_>,
    ) -> Result<(Self, NormalRequest, Caller), Unforwardable> {
        let (mut request, route, caller) = permitted.into_parts();
        let Target::Upstream(upstream) = route.target else {
            return Err(Unforwardable::Endpoint);
        };
        let mut headers = request.take_headers(|name| {
            *name == DESTINATION || (route.allow.method_override && is_method_override(name))
        });
        strip(&mut headers, &route, facts);
        write_destination(&mut headers, &request, &route)?;
        let mut writer = Writer::new(&mut headers, &route);
        writer.write(&Sender { request: Asked::by(&request), caller: &caller }, facts);
        let uri = writer.target(request.target())?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = uri;
        head.headers = headers;
        let session = caller.identity().map(|identity| identity.session);
        let terms = Terms { client: Some(request.client()), session, timeouts: route.timeouts };
        let rules = TrailerRules::new(facts.rules, route);
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

    pub(super) fn into_head(self) -> (Parts, TrailerRules, Option<Box<Upgrade>>) {
        (self.head, self.rules, self.upgrade)
    }

    /// A request that nobody permitted, for tests of what becomes of it.
    #[cfg(test)]
    pub(crate) fn of(head: Parts, upstream: UpstreamId, rules: TrailerRules) -> Self {
        let client = Some(IpAddr::from([127, 0, 0, 1]));
        let terms = Terms { client, ..Terms::default() };
        Self { head, upstream, rules, terms, upgrade: None }
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

/// Steps 4 and 5: what the gateway says.
struct Writer<'a> {
    headers: &'a mut HeaderMap,
    route: &'a Route,
    text: Text,
}

impl<'a> Writer<'a> {
    fn new(headers: &'a mut HeaderMap, route: &'a Route) -> Self {
        // At once, or the map grows twice.
        headers.reserve(MOST_WRITTEN);
        Self { headers, route, text: Text::default() }
    }

    /// The operator's own headers come last.
    fn write(&mut self, sender: &Sender<'_>, facts: &Facts<'_>) {
        let route = self.route;
        if let Caller::Known(identity) = sender.caller {
            self.identity(identity, facts.profile);
            self.insert_all(&route.identity.assertion, facts.assertion.clone());
        }
        if let Some((name, value)) = &route.identity.proof {
            self.headers.insert(name.clone(), value.clone());
        }
        self.host(sender.request, facts.rules);
        self.forwarding(sender.request);
        self.text.push(facts.request_id);
        self.set(X_REQUEST_ID);
        if let Some(trace) = facts.trace {
            self.text.push(trace.traceparent());
            self.set(TRACEPARENT);
            self.headers.remove(TRACESTATE);
        }
        for (name, value) in &route.headers.set {
            self.headers.insert(name.clone(), value.clone());
        }
    }

    fn identity(&mut self, identity: &Identity, profile: Option<&Profile>) {
        let names = &self.route.identity;
        self.text.identity(identity.username.as_str());
        self.tell(&names.user);
        for (name, separator) in &names.roles {
            self.text.roles(&identity.roles, separator);
            self.tell(std::slice::from_ref(name));
        }
        let Some(profile) = profile else { return };
        for (names, field) in [(&names.name, &profile.name), (&names.email, &profile.email)] {
            self.text.identity(field.as_deref().unwrap_or_default());
            self.tell(names);
        }
    }

    /// What was written, if anything was, by each of these names.
    fn tell(&mut self, names: &[HeaderName]) {
        let value = self.text.value();
        self.insert_all(names, value);
    }

    fn insert_all(&mut self, names: &[HeaderName], value: Option<HeaderValue>) {
        let Some(value) = value else { return };
        for name in names {
            self.headers.insert(name.clone(), value.clone());
        }
    }

    fn host(&mut self, request: Asked<'_>, rules: &HeaderRules) {
        if let (false, Target::Upstream(upstream)) = (self.route.preserve_host, &self.route.target)
            && let Some(authority) = rules.authority(*upstream)
        {
            self.headers.insert(HOST, authority.clone());
            return;
        }
        self.text.authority(request.host.name.as_str(), request.host.port);
        if self.headers.get(HOST).is_none_or(|sent| sent.as_bytes() != self.text.bytes()) {
            self.set(HOST);
        }
        self.text.clear();
    }

    /// Scheme, host and port are those of the served origin, never a header's.
    fn forwarding(&mut self, request: Asked<'_>) {
        if let Some(origin) = request.origin {
            let (scheme, default_port) = match origin.scheme() {
                Scheme::Http => ("http", 80),
                Scheme::Https => ("https", 443),
            };
            let shown = (origin.port() != default_port).then_some(origin.port());
            self.headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
            self.text.number(origin.port());
            self.set(X_FORWARDED_PORT);
            self.text.authority(origin.host().as_str(), shown);
            self.set(X_FORWARDED_HOST);
        }
        // By a Unix socket, from a proxy that does not say for whom: nobody's address.
        if request.client != Peer::UNIX.address {
            self.text.address(request.client);
            self.tell(&[X_FORWARDED_FOR, X_REAL_IP]);
        }
        if let Some(prefix) = &self.route.strip_prefix {
            self.text.push(prefix);
            self.set(X_FORWARDED_PREFIX);
        }
    }

    /// A header of ours is what was written, or is absent.
    fn set(&mut self, name: HeaderName) {
        match self.text.value() {
            Some(value) => self.headers.insert(name, value),
            None => self.headers.remove(name),
        };
    }

    fn target(&mut self, target: &request::Target) -> Result<Uri, Unforwardable> {
        match self.route.strip_prefix.as_deref() {
            None => Ok(Uri::from(target.path_and_query().clone())),
            prefix => rewritten(&mut self.text, stripped_path(target, prefix)?, target.query()),
        }
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
    let target = rewritten(&mut Text::default(), path, destination.target().query())?;
    let value = HeaderValue::from_str(&format!("{origin}{target}"));
    headers.insert(DESTINATION, value.map_err(|_raw| Unforwardable::Target)?);
    Ok(())
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

fn rewritten(text: &mut Text, path: &str, query: Option<&str>) -> Result<Uri, Unforwardable> {
    text.push(path);
    if let Some(query) = query {
        text.push("?");
        text.push(query);
    }
    text.target().map(Uri::from).ok_or(Unforwardable::Target)
}

/// Headers that the gateway writes of its own, at most but for a route's.
const MOST_WRITTEN: usize = 12;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests;
