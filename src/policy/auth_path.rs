//! What lies at and below `auth.path`: the gateway's endpoints, and nothing else.

use std::sync::Arc;

use super::{
    Access, Allowances, AnswerRules, BearerPolicy, CachePolicy, Cors, CorsPolicy, Endpoint,
    HeaderEdits, IdentityHeaders, OnDenied, PathPattern, Route, Rule, Target,
};

/// `auth.path`, compiled.
#[derive(Clone, Debug)]
pub(super) struct AuthPath {
    below: PathPattern,
    endpoints: Arc<[Arc<Route>]>,
    folded: Arc<[Box<[u8]>]>,
}

impl AuthPath {
    /// Reads `/auth`: a literal path other than `/`, without a final slash. `cors` is for every
    /// endpoint.
    pub(super) fn read(path: &str, cors: Option<&Arc<CorsPolicy>>) -> Option<Self> {
        let own = PathPattern::read(path).ok()?;
        if path.ends_with('/') || own.as_str().contains(['{', '*']) {
            return None;
        }
        let route = |endpoint: &Endpoint| {
            let cors = cors.cloned().map(Cors::Policy);
            Some(Arc::new(Route { cors, ..route(&own, *endpoint)? }))
        };
        let endpoints = Endpoint::ALL.iter().map(route);
        Some(Self {
            below: PathPattern::read(&format!("{own}/*")).ok()?,
            endpoints: endpoints.collect::<Option<_>>()?,
            folded: own.folded_shapes().into(),
        })
    }

    /// A route for each endpoint.
    pub(super) fn endpoints(&self) -> &[Arc<Route>] {
        &self.endpoints
    }

    /// The path itself and all below it.
    pub(super) fn below(&self) -> &PathPattern {
        &self.below
    }

    /// Whether a folded reading lies there.
    pub(super) fn holds(&self, reading: &[u8]) -> bool {
        let below = |rest: &[u8]| rest.is_empty() || rest.starts_with(b"/");
        self.folded.iter().any(|own| reading.strip_prefix(&**own).is_some_and(below))
    }

    /// Whether a route of the operator's could be met there.
    pub(super) fn meets(&self, pattern: &PathPattern) -> bool {
        pattern.folded_shapes().iter().any(|shape| self.holds(shape))
    }
}

/// Anybody may ask an endpoint; whom it answers is decided by the use case behind it.
fn route(auth: &PathPattern, endpoint: Endpoint) -> Option<Route> {
    let pattern = PathPattern::read(&format!("{auth}{}", endpoint.path())).ok()?;
    Some(Route {
        name: pattern.as_str().into(),
        hosts: Vec::new(),
        pattern,
        methods: Some(vec![endpoint.method()]),
        rule: Rule {
            access: Access::Public,
            roles: Vec::new(),
            users: Vec::new(),
            addresses: Vec::new(),
        },
        target: Target::Endpoint(endpoint),
        strict_paths: false,
        allow: Allowances::default(),
        bearer: BearerPolicy::Any,
        on_denied: OnDenied::Unauthorized,
        cors: None,
        identity: Arc::new(IdentityHeaders::default()),
        strip_prefix: None,
        app_cookies: None,
        preserve_host: true,
        upgrades: Vec::new(),
        headers: HeaderEdits::default(),
        answer: AnswerRules::default(),
        max_body: Some(MAX_BODY),
        timeouts: super::Timeouts::default(),
        access_log: true,
        cache: CachePolicy::Private,
        logout: Vec::new(),
        overrides: None,
    })
}

/// Bytes of a request to an endpoint.
const MAX_BODY: u64 = 8 * 1024;
