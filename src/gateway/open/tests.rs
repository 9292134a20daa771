use http::{Method, Request};

use super::*;
use crate::identity::{Role, UserId, Username};
use crate::policy::{Access, Route};
use crate::request::{CookieNames, CookiePrefix, Origin, Peer, Reader, ServedOrigins, Trust};
use crate::revocation::{Cut, Streams};
use crate::upstream::tests::route;

fn table(routes: &[Route]) -> Table {
    Table::compile(routes, "/auth").unwrap()
}

fn asking_for(role: &str, path: &str) -> Route {
    let mut route = route(path);
    route.rule.roles = vec![Role::new(role).unwrap()];
    route
}

/// Of alice, an editor.
fn claim(target: &str) -> Claim {
    claim_with(target, ("accept", "*/*"))
}

fn claim_with(target: &str, (name, value): (&str, &str)) -> Claim {
    let public = Origin::read("https://apps.example.com").unwrap();
    let reader = Reader {
        served: ServedOrigins::new(std::slice::from_ref(&public), &[], &[]),
        cookies: CookieNames::new(&public, CookiePrefix::HostHttp),
        target_limit: 1024,
        field_limit: 100,
        trust: Trust::default(),
    };
    let head = Request::get(target).header("host", "apps.example.com").header(name, value);
    let head = head.body(()).unwrap();
    let peer = Peer { address: [192, 0, 2, 7].into(), port: 4711 };
    let request = NormalRequest::read(head.into_parts().0, peer, &reader).unwrap();
    let identity = Identity {
        user: UserId::from_bytes([1; 16]),
        username: Username::new("alice").unwrap(),
        roles: [Role::new("editor").unwrap()].into(),
        session: SessionId::from_bytes([2; 16]),
    };
    Claim { request: Some(request), identity, term: Term::New }
}

#[test]
fn a_stream_is_decided_again_by_the_table_that_is_in_force() {
    let mut claim = claim("/edit/x?y=1");
    let editors = table(&[asking_for("editor", "/edit/*")]);
    for _ in 0..2 {
        assert_eq!(claim.judge(&editors), Fate::Goes, "deciding takes nothing away");
    }
    let mut public = route("/edit/*");
    public.rule.access = Access::Public;
    assert_eq!(claim.judge(&table(&[public])), Fate::Goes);
    assert_eq!(claim.judge(&table(&[asking_for("admin", "/edit/*")])), Fate::Ends);
}

#[test]
fn a_stream_whose_route_is_gone_or_that_cannot_be_decided_ends() {
    assert_eq!(claim("/edit/x").judge(&table(&[route("/other")])), Fate::Ends);
    let mut undecided = Claim { request: None, ..claim("/edit/x") };
    assert_eq!(undecided.judge(&table(&[route("/*")])), Fate::Ends);
}

#[test]
fn another_method_and_another_target_are_asked_for_again_too() {
    let overridden = || claim_with("/edit/x", ("x-http-method-override", "DELETE"));
    let mut open = route("/edit/*");
    open.allow.method_override = true;
    let mut guarded = asking_for("admin", "/edit/*");
    guarded.methods = Some(vec![Method::DELETE]);
    assert_eq!(overridden().judge(&table(std::slice::from_ref(&open))), Fate::Goes);
    assert_eq!(overridden().judge(&table(&[open, guarded])), Fate::Ends);
    assert_eq!(overridden().judge(&table(&[route("/edit/*")])), Fate::Ends, "it has gone out");

    let copied = || claim_with("/edit/x", ("destination", "/admin/x"));
    assert_eq!(copied().judge(&table(&[route("/*")])), Fate::Goes);
    let guarded = [route("/*"), asking_for("admin", "/admin/*")];
    assert_eq!(copied().judge(&table(&guarded)), Fate::Ends);
}

#[test]
fn another_reading_of_the_path_is_asked_for_again_too() {
    let guarded = [route("/*"), asking_for("admin", "/admin/*")];
    assert_eq!(claim("/ADMIN/x").judge(&table(&[route("/*")])), Fate::Goes);
    assert_eq!(claim("/ADMIN/x").judge(&table(&guarded)), Fate::Ends);
}

#[test]
fn all_streams_are_decided_again_and_only_those_not_permitted_are_cut() {
    let streams = Streams::default();
    let enter = |target: &str| {
        let cut = Rc::<Cut>::default();
        let session = SessionId::from_bytes([2; 16]);
        let claim = claim(target);
        let stream = Stream { session, version: 0, cut: Rc::clone(&cut), claim };
        (cut, streams.enter(stream))
    };
    let (stays, _one) = enter("/edit/x");
    let (goes, _other) = enter("/admin/x");
    let now = table(&[asking_for("editor", "/edit/*"), asking_for("admin", "/admin/*")]);
    assert_eq!(streams.judge(&Concerned::Anybody, |stream| stream.claim.judge(&now)), 1);
    assert_eq!((stays.is_made(), goes.is_made()), (false, true));
}
