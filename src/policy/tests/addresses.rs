use super::*;

/// A rule with `allow_ips`.
fn from(networks: &[&str], rule: Rule) -> Rule {
    Rule { addresses: networks.iter().map(|text| text.parse().unwrap()).collect(), ..rule }
}

/// Requests of the tests come from 192.0.2.1.
const HERE: &[&str] = &["192.0.2.0/24"];
const ELSEWHERE: &[&str] = &["198.51.100.0/24", "2001:db8::/32"];

#[test]
fn whoever_is_elsewhere_is_refused_before_a_login_is_asked_for() {
    let table = table(&[
        route("/here/*", from(HERE, role("admin"))),
        route("/there/*", from(ELSEWHERE, role("admin"))),
        route("/open/*", from(ELSEWHERE, public())),
        route("/optional/*", from(ELSEWHERE, optional())),
    ]);
    assert_eq!(statuses(&table, "/here/x"), [401, 403, 200]);
    for path in ["/there/x", "/open/x", "/optional/x"] {
        assert_eq!(statuses(&table, path), [403, 403, 403], "{path}");
    }
}

#[test]
fn no_spelling_reaches_past_an_address() {
    let table = table(&[
        route("/*", public()),
        route("/there/*", from(ELSEWHERE, public())),
        route("/dav/*", Rule { ..from(ELSEWHERE, public()) }),
    ]);
    for path in [
        "/there/x",
        "//there/x",
        "/%74here/x",
        "/There/x",
        "/a%2F..%2Fthere",
        "/there%2Fx",
        "/there;a/x",
    ] {
        let [anonymous, ..] = statuses(&table, path);
        assert!(matches!(anonymous, 400 | 403), "{path}: {anonymous}");
    }
    assert_eq!(statuses(&table, "/elsewhere"), [200; 3]);
}

#[test]
fn routes_that_differ_in_their_addresses_alone_are_not_alike() {
    let table = table(&[route("/*", public()), route("/a", from(ELSEWHERE, public()))]);
    assert_eq!(statuses(&table, "/b%2F..;/A"), [400; 3]);
    assert_eq!(statuses(&table, "/A"), [403; 3]);
}

#[test]
fn a_hosts_route_must_not_open_addresses_that_every_hosts_route_closes() {
    let compile = |own: &[&str], shared: &[&str]| {
        let own = Route { hosts: hosts(&["a.example.com"]), ..route("/x", from(own, public())) };
        let shared = Route { hosts: hosts(&["*"]), ..route("/*", from(shared, public())) };
        Table::compile(&[own, shared], "/auth").map(drop)
    };
    let lenient = Err(vec![Conflict::Lenient { route: 0, than: 1 }]);
    assert_eq!(compile(&[], &["10.0.0.0/8"]), lenient);
    assert_eq!(compile(&["10.0.0.0/7"], &["10.0.0.0/8"]), lenient);
    assert_eq!(compile(&["10.1.0.0/16", "192.0.2.1/32"], &["10.0.0.0/8"]), lenient);
    assert_eq!(compile(&["10.1.0.0/16"], &["10.0.0.0/8"]), Ok(()));
    assert_eq!(compile(&["10.1.0.0/16"], &[]), Ok(()));
}
