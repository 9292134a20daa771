//! `[[routes]]`: one table to one [`Route`], each key on its own. What routes mean to each other
//! is judged by `conflicts` and `dangers`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use super::app_cookies;
use super::app_logout;
use super::codes;
use super::cors::Policies;
use super::forms::SIZE_OR_OFF;
use super::identities::Identities;
use super::keys;
use super::model::Server;
use super::people::{Roles, username};
use super::problem::{Place, Problem};
use super::proxies;
use super::respond;
use super::route_headers::{self, Edit};
use super::section::Section;
use super::upgrades;
use super::upstreams::{Upstreams, timeouts};
use super::value::{Text, bad_value};
use crate::policy::{
    Access, Allowances, BearerPolicy, CachePolicy, OnDenied, PathPattern, RewriteLocation, Route,
    Rule,
};
use crate::request::{HostName, HostPattern};

/// What routes refer to.
pub(super) struct World<'w> {
    pub(super) server: &'w Server,
    pub(super) roles: &'w Roles,
    pub(super) cors: &'w Policies<'w>,
    pub(super) identities: &'w Identities,
    pub(super) upstreams: &'w mut Upstreams,
}

/// A route with the places of what others may quarrel with.
pub(super) struct Draft {
    pub(super) route: Route,
    pub(super) place: Place,
    pub(super) path: Place,
    pub(super) host: Place,
    pub(super) access: Place,
    pub(super) overrides: Place,
    pub(super) edits: Vec<Edit>,
    pub(super) logout: Vec<(PathPattern, Place)>,
}

pub(super) fn read(sections: &[Section<'_>], world: &mut World<'_>) -> Vec<Draft> {
    let drafts: Vec<Draft> = sections.iter().filter_map(|section| draft(section, world)).collect();
    if let Some(first) = sections.first() {
        check_names(first, &drafts);
        if drafts.len() == sections.len() {
            check_overrides(first, &drafts);
        }
        route_headers::check(first, &drafts);
        app_logout::check(first, &drafts);
    }
    drafts
}

fn draft(section: &Section<'_>, world: &mut World<'_>) -> Option<Draft> {
    let path = section.needed("path", "a route is for a path");
    let pattern = path.as_ref().and_then(|text| pattern(section, text));
    let name = name(section).or_else(|| path.map(|text| text.value.into()));
    let target = respond::target(section, world.upstreams);
    let hosts = hosts(section);
    let rule = rule(section, world.roles);
    let logout = app_logout::read(section, (pattern.as_ref(), rule.access));
    let (headers, answer, edits) = route_headers::read(section);
    let identity = world.identities.of(section);
    let route = Route {
        methods: methods(section),
        max_body: section
            .form("max_body", &SIZE_OR_OFF)
            .unwrap_or_else(|| max_body(world.server, rule.access)),
        rule,
        strict_paths: section.flag("strict_paths", world.server.strict_paths),
        allow: allow(section),
        bearer: section.choice("bearer", BearerPolicy::Any, &BEARER),
        on_denied: section.choice("on_denied", OnDenied::Auto, &ON_DENIED),
        cors: world.cors.of_route(section),
        app_cookies: app_cookies::read(section).or_else(|| identity.app_cookies.clone()),
        identity,
        strip_prefix: strip_prefix(section, pattern.as_ref()),
        preserve_host: section.flag("preserve_host", true),
        upgrades: upgrades::read(section),
        headers,
        answer,
        timeouts: timeouts(&section.section("timeouts", &keys::ROUTE_TIMEOUTS)),
        access_log: section.flag("access_log", true),
        cache: section.choice("cache", CachePolicy::Private, &CACHE),
        logout: logout.iter().map(|(path, _)| path.clone()).collect(),
        overrides: section.text("overrides").map(|text| text.value.into()),
        // Last, so that a route without them has all its other problems told.
        name: name?,
        hosts: hosts?,
        pattern: pattern?,
        target: target?,
    };
    Some(Draft {
        route,
        place: section.place,
        path: section.place_of("path"),
        host: section.place_of("host"),
        access: section.place_of("access"),
        overrides: section.place_of("overrides"),
        logout,
        edits,
    })
}

/// The words of `access`.
pub(super) const ACCESS: [(&str, Access); 3] =
    [("signed in", Access::SignedIn), ("optional", Access::Optional), ("public", Access::Public)];
/// The words of `bearer`.
pub(super) const BEARER: [(&str, BearerPolicy); 2] =
    [("any", BearerPolicy::Any), ("ours", BearerPolicy::Ours)];
/// The words of `rewrite_location`.
pub(super) const REWRITE_LOCATION: [(&str, RewriteLocation); 2] =
    [("auto", RewriteLocation::Auto), ("off", RewriteLocation::Off)];
/// The words of `on_denied`.
pub(super) const ON_DENIED: [(&str, OnDenied); 3] =
    [("auto", OnDenied::Auto), ("401", OnDenied::Unauthorized), ("login", OnDenied::Login)];

/// The words of `cache`.
pub(super) const CACHE: [(&str, CachePolicy); 3] = [
    ("private", CachePolicy::Private),
    ("no-store", CachePolicy::NoStore),
    ("upstream", CachePolicy::Upstream),
];

fn max_body(server: &Server, access: Access) -> Option<u64> {
    match access {
        Access::Public => server.max_body.public,
        Access::Optional | Access::SignedIn => server.max_body.signed_in,
    }
}

fn name(section: &Section<'_>) -> Option<Arc<str>> {
    let text = section.text("name")?;
    if text.value.is_empty() || text.value.chars().any(char::is_control) {
        section
            .tell(bad_value("name", &text, "a name").help("leave it out to be named by the path"));
    }
    Some(text.value.into())
}

fn pattern(section: &Section<'_>, text: &Text) -> Option<PathPattern> {
    let tell = |cause: crate::policy::BadPattern| {
        let problem = Problem::new(&codes::BAD_PATH, text.place, format!("`path` cannot be \"{}\"", text.shown))
            .label(cause.to_string())
            .help("for example \"/\", \"/about\", \"/api/{version}/users\", or \"/admin/*\" for /admin and all below it");
        section.tell(problem);
    };
    PathPattern::read(&text.value).map_err(tell).ok()
}

fn rule(section: &Section<'_>, roles: &Roles) -> Rule {
    let access = section.choice("access", Access::SignedIn, &ACCESS);
    let users = section.texts("users").unwrap_or_default();
    let rule = Rule {
        access,
        roles: roles.read(section, "roles").unwrap_or_default(),
        users: users.iter().filter_map(|text| username(section, "users", text)).collect(),
        addresses: proxies::networks(section, "allow_ips"),
    };
    for key in ["roles", "users"] {
        check_people(section, key, access);
    }
    rule
}

/// A list of people that lets everybody in, or that is empty, does not say what its writer meant.
fn check_people<'a>(section: &Section<'a>, key: &'a str, access: Access) {
    let Some(list) = section.value(key) else {
        return;
    };
    let problem = if access != Access::SignedIn {
        Problem::new(
            &codes::ACCESS,
            section.place_of("access"),
            format!("a route that asks nobody to sign in has `{key}`"),
        )
        .label("nobody is asked")
        .also(list.place, "who would be let in")
        .help(format!("take `access` out to admit these {key} alone, or take `{key}` out"))
    } else if list.is_empty_list() {
        Problem::new(&codes::ACCESS, list.place, format!("`{key}` names nobody"))
            .label("an empty list")
            .because("it could mean nobody or everybody")
            .help(format!("leave `{key}` out to admit everyone who is signed in"))
    } else {
        return;
    };
    section.tell(problem);
}

/// None when there is a host and none of it can be read.
fn hosts(section: &Section<'_>) -> Option<Vec<HostPattern>> {
    let Some(value) = section.value("host") else {
        return Some(Vec::new());
    };
    if value.is_empty_list() {
        let problem = Problem::new(&codes::BAD_VALUE, value.place, "`host` names none");
        section.tell(problem.label("an empty list").help("write `host = \"*\"` for every host"));
    }
    let texts = section.texts("host").unwrap_or_default();
    let hosts: Vec<_> = texts.iter().filter_map(|text| host(section, text)).collect();
    (!hosts.is_empty()).then_some(hosts)
}

fn host(section: &Section<'_>, text: &Text) -> Option<HostPattern> {
    if text.value == "*" {
        return Some(HostPattern::Any);
    }
    let read = match text.value.strip_prefix("*.") {
        Some(parent) => HostName::new(parent).map(HostPattern::Wildcard),
        None => HostName::new(&text.value).map(HostPattern::Exact),
    };
    let tell = |cause: crate::request::BadHost| {
        let problem = bad_value("host", text, "the name of a host")
            .because(cause.to_string())
            .help("for example \"cal.example.com\", \"*.example.com\" (one label more), or \"*\"; the port is that of `public_url`");
        section.tell(problem);
    };
    read.map_err(tell).ok()
}

fn methods(section: &Section<'_>) -> Option<Vec<Method>> {
    let texts = section.texts("methods")?;
    if texts.is_empty() && section.value("methods").is_some_and(|value| value.is_empty_list()) {
        let problem =
            Problem::new(&codes::METHODS, section.place_of("methods"), "`methods` names none")
                .label("an empty list")
                .help("leave `methods` out for every usual method");
        section.tell(problem);
    }
    Some(texts.iter().filter_map(|text| method(section, text)).collect())
}

pub(super) fn method(section: &Section<'_>, text: &Text) -> Option<Method> {
    let written = text.value.as_str();
    let (label, help) = if matches!(written, "CONNECT" | "TRACE" | "TRACK") {
        ("never forwarded", "take it out: CONNECT, TRACE and TRACK end at the gateway".to_owned())
    } else if written.bytes().any(|byte| byte.is_ascii_lowercase()) {
        ("methods are compared exactly", format!("write \"{}\"", written.to_ascii_uppercase()))
    } else {
        match Method::from_bytes(written.as_bytes()) {
            Ok(method) => return Some(method),
            Err(_) => ("not a method", "for example \"GET\", \"POST\", \"PROPFIND\"".to_owned()),
        }
    };
    let problem = Problem::new(
        &codes::METHODS,
        text.place,
        format!("\"{}\" cannot be a method here", text.shown),
    );
    section.tell(problem.label(label).help(help));
    None
}

fn allow(section: &Section<'_>) -> Allowances {
    let words = [("underscore_headers", 0), ("method_override", 1), ("non_utf8", 2)];
    let allowed = section.choices("allow", &words);
    Allowances {
        underscore_headers: allowed.contains(&0),
        method_override: allowed.contains(&1),
        non_utf8: allowed.contains(&2),
    }
}

fn strip_prefix(section: &Section<'_>, pattern: Option<&PathPattern>) -> Option<String> {
    let text = section.text("strip_prefix")?;
    let prefix = PathPattern::read(&text.value).ok().map(|prefix| prefix.as_str().to_owned());
    let prefix = prefix.filter(|prefix| {
        prefix.len() > 1 && !prefix.ends_with('/') && !prefix.contains(['{', '*'])
    });
    let pattern = pattern?.as_str();
    let literal = prefix.filter(|prefix| {
        pattern
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if literal.is_none() {
        let problem = Problem::new(
            &codes::STRIP_PREFIX,
            text.place,
            format!("`strip_prefix` \"{}\" does not begin this route's path", text.shown),
        )
        .label("not a literal prefix of the path, on whole segments")
        .also(section.place_of("path"), "the path")
        .because("what is cut off must be there in every request of the route")
        .help("for example path = \"/cal/*\" with strip_prefix = \"/cal\"");
        section.tell(problem);
    }
    literal
}

fn check_names(section: &Section<'_>, drafts: &[Draft]) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for draft in drafts {
        if let Some(first) = seen.insert(&draft.route.name, draft.place) {
            let problem = Problem::new(
                &codes::DUPLICATE,
                draft.place,
                format!("two routes are named `{}`", draft.route.name),
            )
            .label("again")
            .also(first, "first here")
            .because(
                "names tell routes apart in logs, metrics and `explain`; the default is the path",
            )
            .help("give one of them another `name`");
            section.tell(problem);
        }
    }
}

fn check_overrides(section: &Section<'_>, drafts: &[Draft]) {
    for draft in drafts {
        let Some(name) = &draft.route.overrides else {
            continue;
        };
        if !drafts
            .iter()
            .any(|other| other.route.name == *name && other.route.hosts.contains(&HostPattern::Any))
        {
            let problem = Problem::new(
                &codes::UNDEFINED_ROUTE,
                draft.overrides,
                format!("there is no route `{name}` for every host"),
            )
            .label("no such route")
            .help("`overrides` names a route with `host = \"*\"`");
            section.tell(problem);
        }
    }
}
