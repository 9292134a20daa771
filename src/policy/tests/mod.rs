mod addresses;
mod conflicts;
mod examples;
mod explaining;
mod naive;
mod origin;
mod patterns;
mod readers;
mod rules;

use std::sync::Arc;

use http::{Method, Request};

use super::*;
use crate::identity::{Caller, Identity, Role, SessionId, UserId, Username, Why};
use crate::request::{
    CookieNames, CookiePrefix, HostPattern, NormalRequest, Origin, Peer, Reader, ServedOrigins,
    Trust,
};

const HOST: &str = "apps.example.com";

/// A route as a test writes it; `change` what matters.
fn route(path: &str, rule: Rule) -> Route {
    Route {
        name: path.into(),
        hosts: Vec::new(),
        pattern: PathPattern::read(path).unwrap(),
        methods: None,
        rule,
        target: Target::Upstream(UpstreamId(0)),
        strict_paths: false,
        allow: Allowances::default(),
        bearer: BearerPolicy::Any,
        on_denied: OnDenied::Auto,
        identity: Arc::new(IdentityHeaders::default()),
        strip_prefix: None,
        app_cookies: None,
        preserve_host: true,
        upgrades: Vec::new(),
        headers: HeaderEdits::default(),
        answer: AnswerRules::default(),
        max_body: None,
        timeouts: Timeouts::default(),
        access_log: true,
        cors: None,
        cache: CachePolicy::Private,
        logout: Vec::new(),
        overrides: None,
    }
}

fn public() -> Rule {
    Rule { access: Access::Public, roles: Vec::new(), users: Vec::new(), addresses: Vec::new() }
}

fn optional() -> Rule {
    Rule { access: Access::Optional, ..public() }
}

fn signed_in() -> Rule {
    Rule { access: Access::SignedIn, ..public() }
}

fn role(name: &str) -> Rule {
    Rule { roles: vec![Role::new(name).unwrap()], ..signed_in() }
}

fn methods(names: &[&str]) -> Option<Vec<Method>> {
    Some(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn hosts(names: &[&str]) -> Vec<HostPattern> {
    names.iter().map(|name| HostPattern::read(name).unwrap()).collect()
}

fn table(routes: &[Route]) -> Table {
    Table::compile(routes, "/auth").unwrap()
}

fn known(roles: &[&str]) -> Caller {
    Caller::Known(Identity {
        user: UserId::from_bytes([1; 16]),
        username: Username::new("alice").unwrap(),
        roles: roles.iter().map(|name| Role::new(name).unwrap()).collect(),
        session: SessionId::from_bytes([2; 16]),
    })
}

fn anonymous() -> Caller {
    Caller::Anonymous(Why::NoCredential)
}

/// A request for `target` at `host`, with further header lines; None: it is refused before it is matched.
fn request(
    method: &str,
    host: &str,
    target: &str,
    lines: &[(&str, &str)],
) -> Option<NormalRequest> {
    let public = Origin::read("https://apps.example.com").unwrap();
    let further = hosts(&["a.example.com", "b.example.com", "*.wild.example.com"]);
    let reader = Reader {
        cookies: CookieNames::new(&public, CookiePrefix::HostHttp),
        served: ServedOrigins::new(&[public], &[], &further),
        target_limit: 16 * 1024,
        trust: Trust::default(),
        field_limit: 100,
    };
    let mut head = Request::builder().method(method).uri(target).header("host", host);
    for (name, value) in lines {
        head = head.header(*name, *value);
    }
    let head = head.body(()).ok()?.into_parts().0;
    NormalRequest::read(head, Peer { address: [192, 0, 2, 1].into(), port: 1 }, &reader).ok()
}

fn get(target: &str) -> NormalRequest {
    request("GET", HOST, target, &[]).unwrap()
}

/// The name of the route that takes the literal path, or the status of the refusal.
fn found(table: &Table, request: NormalRequest) -> Result<String, u16> {
    match table.find(request) {
        Ok(matched) => Ok(matched.route().name.to_string()),
        Err((_, Unmatched::Misdirected)) => Err(421),
        Err((_, Unmatched::NotFound)) => Err(404),
        Err((_, Unmatched::Method { .. })) => Err(405),
    }
}

/// The status that a caller gets; 200: it would be forwarded.
fn status(table: &Table, request: Option<NormalRequest>, caller: Caller, by_cookie: bool) -> u16 {
    let Some(request) = request else {
        return 400;
    };
    let path = request.target().path().to_owned();
    match table.find(request) {
        Err((_, Unmatched::Misdirected)) => 421,
        Err((_, Unmatched::NotFound)) => 404,
        Err((_, Unmatched::Method { .. })) => 405,
        Ok(matched) => match authorise(matched, caller, by_cookie) {
            Ok(permitted) => {
                assert_eq!(
                    permitted.request().target().path(),
                    path,
                    "forwarded is what was matched"
                );
                200
            }
            Err((_, Denied::SignIn(_))) => 401,
            Err((
                _,
                Denied::Forbidden | Denied::CrossOrigin | Denied::Address | Denied::Destination(_),
            )) => 403,
            Err((_, Denied::NotFound)) => 404,
            Err((_, Denied::Method { .. })) => 405,
            Err((_, Denied::AmbiguousPath)) => 400,
        },
    }
}

/// The status of a GET for an anonymous caller, a user and an administrator.
fn statuses(table: &Table, target: &str) -> [u16; 3] {
    [anonymous(), known(&["user"]), known(&["admin"])]
        .map(|caller| status(table, request("GET", HOST, target, &[]), caller, false))
}
