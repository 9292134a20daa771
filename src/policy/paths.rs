//! The routes of one host, by path.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::auth_path::AuthPath;
use super::method::route_for;
use super::pattern::REST;
use super::trie::Trie;
use super::{Cors, Denied, PathPattern, Route};
use crate::request::Target;

/// The routes of one path pattern, which differ in their methods. Empty: what lies at or below
/// `auth.path` and is no endpoint, where nothing is ever found.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) routes: Vec<Arc<Route>>,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) struct Found {
    /// The route of the literal path.
    pub(super) route: Arc<Route>,
    /// The routes of its other readings, each of which must permit the request too.
    others: Vec<Arc<Route>>,
    /// Refuses whoever it is, after all of these.
    pub(super) lost: Option<Denied>,
    /// The method that a preflight asks for; it is not the request's own.
    pub(super) preflight: Option<Method>,
}

/// The table of one host.
#[derive(Debug)]
pub(super) struct Paths {
    literal: Trie<Arc<Group>>,
    /// Each pattern under every one of its readings; where that makes patterns equal, all count.
    folded: Trie<Vec<Arc<Group>>>,
    auth: AuthPath,
    kind: Kind,
}

/// What can be known of the readings of a path without looking them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Every path has a route and all rules, methods and CORS policies are alike.
    Alike,
    /// Each pattern is its own only folded reading, so that a plain path has nothing but its route.
    Plain,
    /// Neither.
    Mixed,
}

impl Paths {
    /// A host's `own` routes and those `shared` by all hosts; of equal patterns the own ones hold.
    pub(super) fn new(own: &[Arc<Route>], shared: &[Arc<Route>], auth: &AuthPath) -> Self {
        let mut groups = by_shape(own);
        for (shape, routes) in by_shape(shared) {
            groups.entry(shape).or_insert(routes);
        }
        let kind = kind(&groups, auth);
        let mut paths =
            Self { literal: Trie::default(), folded: Trie::default(), auth: auth.clone(), kind };
        for routes in groups.into_values() {
            paths.add(Group { routes });
        }
        for (shape, routes) in by_shape(auth.endpoints()) {
            *paths.literal.place(&shape) = Some(Arc::new(Group { routes }));
        }
        paths.reserve(auth.below());
        paths
    }

    /// The routes of the most specific pattern that matches.
    pub(super) fn find(&self, path: &str) -> Option<&Group> {
        self.literal.find(path.as_bytes()).map(Arc::as_ref)
    }

    /// The routes of each pattern that matches, most specific first.
    pub(super) fn find_all(&self, path: &[u8]) -> Vec<&Group> {
        self.literal.find_all(path).into_iter().map(Arc::as_ref).collect()
    }

    /// Adds what the readings of a path lead to.
    pub(super) fn look_up_readings(&self, target: &Target, method: &Method, found: &mut Found) {
        match self.kind {
            Kind::Plain if target.readings().is_empty() => {}
            Kind::Alike if folded(target).any(|reading| self.auth.holds(reading)) => {
                found.must_permit(None);
            }
            Kind::Alike => {}
            Kind::Plain | Kind::Mixed => folded(target)
                .flat_map(|reading| self.routes_of(reading, method))
                .for_each(|route| found.must_permit(route)),
        }
    }

    /// What one folded reading leads to; None: nowhere, or to us.
    pub(super) fn routes_of<'a>(
        &'a self,
        reading: &[u8],
        method: &'a Method,
    ) -> impl Iterator<Item = Option<&'a Arc<Route>>> + use<'a> {
        let groups = self.folded.find(reading).map(Vec::as_slice);
        let groups = groups.unwrap_or_default();
        let nowhere = groups.is_empty().then_some(None);
        groups.iter().map(|group| route_for(&group.routes, method)).chain(nowhere)
    }

    fn add(&mut self, group: Group) {
        let group = Arc::new(group);
        let Some(pattern) = group.routes.first().map(|route| &route.pattern) else {
            return;
        };
        *self.literal.place(&pattern.shape()) = Some(Arc::clone(&group));
        for shape in pattern.folded_shapes() {
            self.folded.place(&shape).get_or_insert_default().push(Arc::clone(&group));
        }
    }

    fn reserve(&mut self, below: &PathPattern) {
        let nothing = Arc::new(Group { routes: Vec::new() });
        *self.literal.place(&below.shape()) = Some(Arc::clone(&nothing));
        for shape in below.folded_shapes() {
            *self.folded.place(&shape) = Some(vec![Arc::clone(&nothing)]);
        }
    }
}

impl Found {
    pub(super) fn new(route: &Arc<Route>) -> Self {
        Self { route: Arc::clone(route), others: Vec::new(), lost: None, preflight: None }
    }

    /// Adds what another reading leads to.
    pub(super) fn must_permit(&mut self, route: Option<&Arc<Route>>) {
        match route {
            None if self.lost.is_none() => self.lost = Some(Denied::NotFound),
            Some(route) if !self.routes().any(|known| Arc::ptr_eq(known, route)) => {
                self.others.push(Arc::clone(route));
            }
            None | Some(_) => {}
        }
    }

    /// Whether every reading leads to a route whose application answers preflights itself.
    pub(super) fn leaves_cors_to_upstream(&self) -> bool {
        self.lost.is_none() && self.routes().all(|route| route.cors == Some(Cors::Upstream))
    }

    /// Every route that must permit the request, that of the literal path first.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        [&self.route].into_iter().chain(&self.others)
    }
}

/// Every folded reading, that of a plain path being the path itself.
pub(super) fn folded(target: &Target) -> impl Iterator<Item = &[u8]> {
    let plain = target.readings().is_empty().then_some(target.path().as_bytes());
    target.readings().iter().map(AsRef::as_ref).chain(plain)
}

type Groups = HashMap<Vec<u8>, Vec<Arc<Route>>>;

fn by_shape(routes: &[Arc<Route>]) -> Groups {
    let mut groups = Groups::new();
    for route in routes {
        groups.entry(route.pattern.shape()).or_default().push(Arc::clone(route));
    }
    groups
}

fn kind(groups: &Groups, auth: &AuthPath) -> Kind {
    let mut routes = groups.values().flatten();
    let everything = groups.get([b'/', REST].as_slice()).and_then(|routes| routes.first());
    let alike = |one: &Route, other: &Route| {
        one.rule == other.rule && one.methods == other.methods && one.cors == other.cors
    };
    if everything.is_some_and(|everything| routes.all(|route| alike(route, everything))) {
        return Kind::Alike;
    }
    let mut patterns = groups.values().flatten().map(|route| &route.pattern).chain([auth.below()]);
    let plain = patterns.all(|pattern| *pattern.folded_shapes() == [pattern.shape().into()]);
    if plain { Kind::Plain } else { Kind::Mixed }
}
