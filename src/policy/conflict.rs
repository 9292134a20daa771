//! Routes that cannot stand beside each other.

use std::collections::HashMap;
use std::sync::Arc;

use super::auth_path::AuthPath;
use super::method::{overlap, registered, route_for};
use super::paths::{Group, Paths};
use super::{Access, Route, Rule, Target};
use crate::request::HostPattern;

/// Two routes that cannot stand beside each other: indices into the list that was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The same host, path and method.
    Tie {
        /// The earlier one.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// Some routes name a host and some do not.
    MixedHosts {
        /// It names none.
        without: usize,
        /// It names one.
        with: usize,
    },
    /// More lenient than the `"*"` route that covers it.
    Lenient {
        /// The route of a host.
        route: usize,
        /// The `"*"` route.
        than: usize,
    },
    /// At or below `auth.path`, under some reading.
    OnAuthPath {
        /// It would never be met.
        route: usize,
    },
    /// `auth.path` is not a literal path other than `/`, without a final slash.
    BadAuthPath,
}

/// Every conflict among these routes. `shared`: the table of the `"*"` routes alone.
pub(super) fn conflicts(routes: &[Arc<Route>], auth: &AuthPath, shared: &Paths) -> Vec<Conflict> {
    let mut found = mixed_hosts(routes);
    found.extend(ties(routes));
    for (index, route) in routes.iter().enumerate() {
        if auth.meets(&route.pattern) {
            found.push(Conflict::OnAuthPath { route: index });
        }
        if let Some(stricter) = stricter(route, shared) {
            let than = routes.iter().position(|other| Arc::ptr_eq(other, stricter));
            found.extend(than.map(|than| Conflict::Lenient { route: index, than }));
        }
    }
    found
}

fn mixed_hosts(routes: &[Arc<Route>]) -> Vec<Conflict> {
    let Some(with) = routes.iter().position(|route| !route.hosts.is_empty()) else {
        return Vec::new();
    };
    let without = routes.iter().enumerate().filter(|(_, route)| route.hosts.is_empty());
    without.map(|(without, _)| Conflict::MixedHosts { without, with }).collect()
}

fn ties(routes: &[Arc<Route>]) -> Vec<Conflict> {
    let mut places: HashMap<_, Vec<(usize, &Route)>> = HashMap::new();
    let mut found = Vec::new();
    for (second, route) in routes.iter().enumerate() {
        let nameless = route.hosts.is_empty().then_some(None);
        for host in route.hosts.iter().map(Some).chain(nameless) {
            let place = places.entry((host, route.pattern.shape())).or_default();
            for (first, other) in place.iter().filter(|(first, _)| *first != second) {
                let tie = Conflict::Tie { first: *first, second };
                if overlap(other, route) && !found.contains(&tie) {
                    found.push(tie);
                }
            }
            place.push((second, route));
        }
    }
    found
}

/// The `"*"` route that would have taken requests of this route of a host, and asks for more.
fn stricter<'a>(route: &Route, shared: &'a Paths) -> Option<&'a Arc<Route>> {
    if route.hosts.is_empty() || route.hosts.contains(&HostPattern::Any) {
        return None;
    }
    let covering = |group: &&Group| {
        group.routes.first().is_some_and(|other| {
            !matches!(other.target, Target::Endpoint(_)) && other.pattern.covers(&route.pattern)
        })
    };
    let group = shared.find_all(&route.pattern.shape()).into_iter().find(covering)?;
    if group.routes.iter().any(|other| route.overrides.as_ref() == Some(&other.name)) {
        return None;
    }
    let methods = route.methods.clone().unwrap_or_else(|| registered().collect());
    methods.iter().find_map(|method| match route_for(&group.routes, method) {
        Some(other) => admits_more(&route.rule, &other.rule).then_some(other),
        None => group.routes.first(),
    })
}

fn admits_more(rule: &Rule, than: &Rule) -> bool {
    if rule.is_wider_than(than) {
        return true;
    }
    if than.access != Access::SignedIn {
        return false;
    }
    if rule.access != Access::SignedIn {
        return true;
    }
    let everyone = |rule: &Rule| rule.roles.is_empty() && rule.users.is_empty();
    !everyone(than)
        && (everyone(rule)
            || rule.roles.iter().any(|role| !than.roles.contains(role))
            || rule.users.iter().any(|user| !than.users.contains(user)))
}
