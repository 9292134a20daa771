use super::*;

fn conflicts(routes: &[Route]) -> Vec<Conflict> {
    Table::compile(routes, "/auth").err().unwrap_or_default()
}

fn at(hosts_of: &[&str], path: &str, rule: Rule, methods_of: &[&str]) -> Route {
    let mut route = route(path, rule);
    route.name = format!("{hosts_of:?}{path}").into();
    route.hosts = hosts(hosts_of);
    route.methods = if methods_of.is_empty() { None } else { methods(methods_of) };
    route
}

#[test]
fn routes_that_want_the_same_request_tie() {
    let cases: [(&[&str], &str, &[&str], bool); 8] = [
        (&[], "/a/{x}", &[], true),
        (&[], "/a/{other}", &[], true),
        (&[], "/a/{x}", &["GET"], false),
        (&[], "/a/b", &[], false),
        (&[], "/A/{x}", &[], false),
        (&[], "/a/{x}/", &[], false),
        (&[], "/a/*", &[], false),
        (&[], "/%61/{x}", &[], true),
    ];
    for (hosts_of, path, methods_of, ties) in cases {
        let routes = [at(&[], "/a/{x}", public(), &[]), at(hosts_of, path, public(), methods_of)];
        let expected = if ties { vec![Conflict::Tie { first: 0, second: 1 }] } else { vec![] };
        assert_eq!(conflicts(&routes), expected, "{path} {methods_of:?}");
    }
    let gets = |more: &'static str| at(&[], "/a", public(), &["GET", more]);
    assert_eq!(conflicts(&[gets("PUT"), gets("POST")]), [Conflict::Tie { first: 0, second: 1 }]);
    let hosted = |names: &[&str]| at(names, "/a", public(), &[]);
    assert_eq!(
        conflicts(&[hosted(&["a.example.com"]), hosted(&["b.example.com", "*.example.com", "*"])]),
        []
    );
    let shared =
        [hosted(&["a.example.com", "b.example.com"]), hosted(&["b.example.com", "a.example.com"])];
    assert_eq!(conflicts(&shared), [Conflict::Tie { first: 0, second: 1 }]);
}

#[test]
fn either_no_route_names_a_host_or_every_route_does() {
    let routes = [
        at(&[], "/a", public(), &[]),
        at(&["*"], "/b", public(), &[]),
        at(&[], "/c", public(), &[]),
        at(&["a.example.com"], "/d", public(), &[]),
    ];
    let expected = [
        Conflict::MixedHosts { without: 0, with: 1 },
        Conflict::MixedHosts { without: 2, with: 1 },
    ];
    assert_eq!(conflicts(&routes), expected);
}

#[test]
fn nothing_stands_at_or_below_the_path_of_the_endpoints() {
    for (path, on) in [
        ("/auth", true),
        ("/auth/", true),
        ("/auth/*", true),
        ("/auth/x", true),
        ("/auth/{x}", true),
        ("/Auth/x", true),
        ("/auth%2Fx", true),
        ("/auth;x", true),
        ("/authors/*", false),
        ("/{x}/login", false),
        ("/x/auth", false),
    ] {
        let expected = if on { vec![Conflict::OnAuthPath { route: 0 }] } else { vec![] };
        assert_eq!(conflicts(&[at(&[], path, public(), &[])]), expected, "{path}");
    }
}

#[test]
fn the_path_of_the_endpoints_is_literal() {
    let compile = |path: &str| Table::compile(&[], path).err();
    for path in ["/auth", "/_gate/auth", "/Auth", "/my auth"] {
        assert_eq!(compile(path), None, "{path}");
    }
    for path in ["", "/", "auth", "/auth/", "/auth/*", "/{x}", "/a//b", "/a/../b"] {
        assert_eq!(compile(path), Some(vec![Conflict::BadAuthPath]), "{path:?}");
    }
}

#[test]
fn a_route_of_a_host_is_not_more_lenient_than_the_shared_one_that_covers_it() {
    let named = |name: &str| Rule { users: vec![Username::new(name).unwrap()], ..role("admin") };
    type Side = (Rule, &'static [&'static str]);
    let cases: [(Side, Side, bool); 14] = [
        ((public(), &[]), (signed_in(), &[]), true),
        ((optional(), &[]), (signed_in(), &[]), true),
        ((public(), &[]), (optional(), &[]), false),
        ((signed_in(), &[]), (signed_in(), &[]), false),
        ((signed_in(), &[]), (role("admin"), &[]), true),
        ((role("user"), &[]), (role("admin"), &[]), true),
        ((role("admin"), &[]), (role("admin"), &[]), false),
        ((role("admin"), &[]), (signed_in(), &[]), false),
        ((named("bob"), &[]), (role("admin"), &[]), true),
        ((role("admin"), &[]), (named("bob"), &[]), false),
        ((role("admin"), &[]), (role("admin"), &["GET"]), true),
        ((role("admin"), &["GET", "POST"]), (role("admin"), &["GET"]), true),
        ((role("admin"), &["GET", "HEAD"]), (role("admin"), &["GET"]), false),
        ((role("admin"), &["GET"]), (role("admin"), &[]), false),
    ];
    for ((own, own_methods), (shared, shared_methods), lenient) in cases {
        let routes = [
            at(&["a.example.com"], "/x/y", own.clone(), own_methods),
            at(&["*"], "/x/*", shared.clone(), shared_methods),
        ];
        let expected = if lenient { vec![Conflict::Lenient { route: 0, than: 1 }] } else { vec![] };
        assert_eq!(
            conflicts(&routes),
            expected,
            "{own:?} {own_methods:?} {shared:?} {shared_methods:?}"
        );
    }
}

#[test]
fn leniency_is_against_the_shared_route_that_would_have_taken_the_request() {
    let shared = || [at(&["*"], "/*", role("admin"), &[]), at(&["*"], "/pub/*", public(), &[])];
    let with =
        |path: &str| [&shared()[..], &[at(&["a.example.com"], path, public(), &[])]].concat();
    assert_eq!(conflicts(&with("/pub/x")), []);
    assert_eq!(conflicts(&with("/pub/{x}")), []);
    assert_eq!(conflicts(&with("/other")), [Conflict::Lenient { route: 2, than: 0 }]);
    let mut overriding = with("/other");
    overriding[2].overrides = Some(overriding[0].name.clone());
    assert_eq!(conflicts(&overriding), []);
    overriding[2].overrides = Some("nobody".into());
    assert_eq!(conflicts(&overriding), [Conflict::Lenient { route: 2, than: 0 }]);
}

#[test]
fn every_conflict_is_told_at_once() {
    let routes = [
        at(&[], "/a", public(), &[]),
        at(&[], "/a", public(), &[]),
        at(&[], "/auth", public(), &[]),
    ];
    assert_eq!(
        conflicts(&routes),
        [Conflict::Tie { first: 0, second: 1 }, Conflict::OnAuthPath { route: 2 }]
    );
}
