//! Which route a request takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::auth_path::AuthPath;
use super::conflict::conflicts;
use super::cors::asked_method;
use super::destination;
use super::method::{allowed, method_overrides, route_for};
use super::paths::{Found, Group, Paths};
use super::{Access, Conflict, Cors, CorsPolicy, Denied, Endpoint, Route, Target};
use crate::request::{HostName, HostPattern, NormalRequest};

/// Every route, compiled.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Arc<Route>>,
    exact: HashMap<HostName, Paths>,
    wildcards: HashMap<HostName, Paths>,
    /// Of served hosts that have no table of their own.
    shared: Paths,
}

impl Table {
    /// Compiles the operator's routes and the gateway's endpoints at `auth_path`.
    pub fn compile(routes: &[Route], auth_path: &str) -> Result<Self, Vec<Conflict>> {
        Self::compile_with(routes, auth_path, None)
    }

    /// The same, with the CORS policy of the gateway's endpoints.
    pub fn compile_with(
        routes: &[Route],
        auth_path: &str,
        auth_cors: Option<&Arc<CorsPolicy>>,
    ) -> Result<Self, Vec<Conflict>> {
        let auth = AuthPath::read(auth_path, auth_cors);
        let auth = auth.ok_or_else(|| vec![Conflict::BadAuthPath])?;
        let routes: Vec<_> = routes.iter().cloned().map(Arc::new).collect();
        let mut own: HashMap<_, Vec<_>> = HashMap::new();
        for route in &routes {
            for host in named_hosts(route) {
                own.entry(host).or_default().push(Arc::clone(route));
            }
        }
        let shared = own.remove(&HostPattern::Any).unwrap_or_default();
        let mut table = Self {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            shared: Paths::new(&[], &shared, &auth),
            routes,
        };
        let found = conflicts(&table.routes, &auth, &table.shared);
        if !found.is_empty() {
            return Err(found);
        }
        for (host, own) in own {
            let paths = Paths::new(&own, &shared, &auth);
            match host {
                HostPattern::Exact(name) => table.exact.insert(name, paths),
                HostPattern::Wildcard(parent) => table.wildcards.insert(parent, paths),
                HostPattern::Any => None,
            };
        }
        Ok(table)
    }

    /// The route of a request's literal path. Host first (421), then path (404), then method (405).
    pub fn find(&self, request: NormalRequest) -> Result<Matched, (NormalRequest, Unmatched)> {
        match self.decide(&request) {
            Ok(found) => Ok(Matched { request, found }),
            Err(unmatched) => Err((request, unmatched)),
        }
    }

    /// Every operator's route, for `routes` and for the headers that must never come from a client.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The table of a host: exact before wildcard, and nothing falls through from it to a wider one.
    pub(super) fn paths(&self, host: &HostName) -> &Paths {
        let wildcard = || self.wildcards.get(host.parent()?);
        self.exact.get(host).or_else(wildcard).unwrap_or(&self.shared)
    }

    fn decide(&self, request: &NormalRequest) -> Result<Found, Unmatched> {
        let paths = self.paths(&request.host().name);
        let group = paths.find(request.target().path());
        let route = group.map(|group| take(group, request.method()));
        let is_ping = matches!(&route, Some(Ok(r)) if r.target == Target::Endpoint(Endpoint::Ping));
        if request.origin().is_none() && !is_ping {
            return Err(Unmatched::Misdirected);
        }
        let (Some(group), Some(route)) = (group, route) else {
            return Err(Unmatched::NotFound);
        };
        if let Some(found) = preflight(paths, group, request) {
            return Ok(found);
        }
        let route = route?;
        let mut found = Found::new(route);
        if !matches!(route.target, Target::Endpoint(_)) {
            let overriding = overriding(request, group, &mut found);
            for method in [request.method()].into_iter().chain(&overriding) {
                paths.look_up_readings(request.target(), method, &mut found);
            }
            destination::look_up(paths, request, &mut found);
        }
        Ok(found)
    }
}

/// A request with its route, and the routes of its other readings.
#[derive(Debug)]
pub struct Matched {
    request: NormalRequest,
    found: Found,
}

impl Matched {
    /// The request.
    pub fn request(&self) -> &NormalRequest {
        &self.request
    }

    /// The route of the literal path.
    pub fn route(&self) -> &Arc<Route> {
        &self.found.route
    }

    /// Whether it matters who the caller is: to the route, or to that of another reading. Nobody
    /// sends a preflight: browsers do, without the user's cookies.
    pub fn takes_identity(&self) -> bool {
        let mut routes = self.found.routes();
        self.found.preflight.is_none() && routes.any(|route| route.rule.access != Access::Public)
    }

    /// For a preflight that the gateway is to answer: the policy, and the method asked for.
    pub fn preflight(&self) -> Option<(&CorsPolicy, &Method)> {
        let policy = self.found.route.cors.as_ref().and_then(Cors::policy)?;
        Some((policy, self.found.preflight.as_ref()?))
    }

    /// For an endpoint: the request itself, to be answered here.
    pub fn into_endpoint(self) -> Result<(Endpoint, NormalRequest), Self> {
        match self.found.route.target {
            Target::Endpoint(endpoint) => Ok((endpoint, self.request)),
            Target::Upstream(_) | Target::Answer(_) => Err(self),
        }
    }

    pub(super) fn found(&self) -> &Found {
        &self.found
    }

    pub(super) fn into_parts(self) -> (NormalRequest, Arc<Route>) {
        (self.request, self.found.route)
    }
}

/// Why no route takes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// 421: not a host of ours.
    Misdirected,
    /// 404.
    NotFound,
    /// 405, with `Allow`.
    Method {
        /// What the path takes.
        allow: Vec<Method>,
    },
}

/// The hosts of a route, each once; where it names none, all are meant.
fn named_hosts(route: &Route) -> HashSet<HostPattern> {
    let every = route.hosts.is_empty().then_some(HostPattern::Any);
    route.hosts.iter().cloned().chain(every).collect()
}

/// A true preflight, matched by the method it asks for, where somebody answers it: the gateway by a
/// policy, or the application where the routes of all its readings leave it to it. Any other is an
/// OPTIONS request like all others.
fn preflight(paths: &Paths, group: &Group, request: &NormalRequest) -> Option<Found> {
    let method = asked_method(request)?;
    let route = route_for(&group.routes, &method)?;
    let mut found = Found::new(route);
    if *route.cors.as_ref()? == Cors::Upstream {
        paths.look_up_readings(request.target(), &method, &mut found);
        if !found.leaves_cors_to_upstream() {
            return None;
        }
    }
    found.preflight = Some(method);
    Some(found)
}

fn take<'a>(group: &'a Group, method: &Method) -> Result<&'a Arc<Route>, Unmatched> {
    if group.routes.is_empty() {
        return Err(Unmatched::NotFound);
    }
    let missing = || Unmatched::Method { allow: allowed(&group.routes) };
    route_for(&group.routes, method).ok_or_else(missing)
}

/// The methods that the application would take the request for, where its route lets them pass.
fn overriding(request: &NormalRequest, group: &Group, found: &mut Found) -> Vec<Method> {
    if !found.route.allow.method_override {
        return Vec::new();
    }
    let mut methods = Vec::new();
    for value in method_overrides(request.headers()) {
        let method = Method::from_bytes(&value.to_ascii_uppercase()).ok();
        match method.as_ref().and_then(|method| route_for(&group.routes, method)) {
            Some(route) => found.must_permit(Some(route)),
            None => found.lost = Some(Denied::Method { allow: allowed(&group.routes) }),
        }
        methods.extend(method);
    }
    methods
}
