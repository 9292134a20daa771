//! Every way to spell a path, tried by an anonymous, a known user of the wrong role and an
//! administrator (`docs/http.md`).

use crate::support::{Gateway, Upstream, request};

struct House {
    gateway: Gateway,
    upstream: Upstream,
    user: String,
    admin: String,
}

impl House {
    fn new(routes: &[(&str, &str)]) -> Self {
        let upstream = Upstream::hello();
        let mut toml = String::new();
        for (path, rule) in routes {
            toml += &format!(
                "[[routes]]\npath = \"{path}\"\nupstream = \"{}\"\n{rule}\n",
                upstream.url()
            );
        }
        let gateway = Gateway::start(&toml);
        let user = gateway.login("alice").access;
        let admin = gateway.login("admin").access;
        Self { gateway, upstream, user, admin }
    }

    /// Statuses for an anonymous, alice (role user) and an administrator.
    fn ask(&self, target: &str) -> [u16; 3] {
        let host = self.gateway.host();
        [None, Some(&self.user), Some(&self.admin)].map(|token| {
            let before = self.upstream.seen().len();
            let bearer = format!("Bearer {}", token.map_or("", String::as_str));
            let mut headers = vec![("Host", host.as_str())];
            if token.is_some() {
                headers.push(("Authorization", &bearer));
            }
            let answer =
                self.gateway.connect().ask(request(&format!("GET {target}"), &headers, ""));
            let reached = self.upstream.seen().len() - before;
            assert_eq!(reached, usize::from(answer.status == 200), "{target} {}", answer.status);
            if answer.status == 200 {
                let forwarded = self.upstream.last();
                assert_eq!(forwarded.line(), format!("GET {}", normal(target)), "{target}");
            }
            answer.status
        })
    }
}

/// The normal form, for the few escapes that these tests use.
fn normal(target: &str) -> String {
    target.replace("%61", "a").replace("%2f", "%2F").replace("%5c", "%5C").replace("%3b", "%3B")
}

const PUBLIC: &str = "access = \"public\"";
const ADMIN: &str = "roles = [\"admin\"]";

#[test]
fn no_spelling_reaches_past_a_rule() {
    let house = House::new(&[("/*", PUBLIC), ("/admin/*", ADMIN), ("/app/*", "")]);
    for target in [
        "/admin",
        "/admin/",
        "/admin/u",
        "/Admin/u",
        "/ADMIN/u",
        "/%61dmin/u",
        "/admin;x/u",
        "/admin;/u",
        "/;x/admin/u",
        "/admin%2Fu",
        "/admin%2fu",
        "/%5Cadmin/u",
        "/%5cadmin%5cu",
        "/admin./u",
        "/admin%20/u",
        "/admin%252Fu",
        "/admin%25252Fu",
        "//admin/u",
        "///admin/u",
        "//x/admin/u",
        "/x//admin/../u",
        "/admin%3Fx",
        "/admin%23x",
        "/admin%3bx/u",
        "/%2561dmin/u",
        "/admin//u",
    ] {
        let statuses = house.ask(target);
        let fine = match statuses {
            // Dot segments are refused whoever asks.
            [400, 400, 400] => target.contains(".."),
            // Where a reading is an administrator's alone; a slash first can be a host to some.
            [401, 403, 200] => true,
            _ => false,
        };
        let elsewhere = target == "/;x/admin/u" || target == "/x//admin/../u";
        assert!(fine || elsewhere, "{target}: {statuses:?}");
    }
}

#[test]
fn what_no_reading_can_make_harmless_is_refused_for_everybody() {
    let house = House::new(&[("/*", PUBLIC), ("/admin/*", ADMIN)]);
    for target in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/.%2e/b",
        "/a/..%2Fb",
        "/a/..;/b",
        "/a/..%20/b",
        "/a/%20../b",
        "/./x",
        "/a/..%5Cb",
        "/a%00",
        "/a%0d%0ab",
        "/a%zz",
        "/a%",
        "/a%2",
        "/%c0%ae%c0%ae/admin",
        "/%c0%af/x",
        "/a/%252e%252e%252fb",
        "/%ff",
        "/a/%2e",
        "/...;/x",
        "/a/....%20/x",
    ] {
        assert_eq!(house.ask(target), [400; 3], "{target}");
    }
}

#[test]
fn paths_that_real_applications_need_pass_under_one_rule() {
    let house = House::new(&[("/*", "")]);
    for target in [
        "/api/v4/projects/group%2Fname",
        "/api/queues/%2F/q",
        "/job/a%252Fb/",
        "/app;jsessionid=AB12/x",
        "/proxy/https://x.org/y",
        "/@scope%2fpkg",
        "/Report%20Final.pdf",
        "/a%20/b",
    ] {
        assert_eq!(house.ask(target), [401, 200, 200], "{target}");
    }
}

#[test]
fn a_path_takes_the_most_specific_route_and_never_falls_through() {
    let house = House::new(&[
        ("/*", PUBLIC),
        ("/a/*", ADMIN),
        ("/a/{id}/open", PUBLIC),
        ("/a/7/open", ADMIN),
        ("/m/*", PUBLIC),
        ("/m/x", "methods = [\"POST\"]\naccess = \"public\""),
    ]);
    assert_eq!(house.ask("/other"), [200; 3]);
    assert_eq!(house.ask("/a"), [401, 403, 200]);
    assert_eq!(house.ask("/ab"), [200; 3]);
    assert_eq!(house.ask("/a/x"), [401, 403, 200]);
    assert_eq!(house.ask("/a/8/open"), [200; 3]);
    assert_eq!(house.ask("/a/7/open"), [401, 403, 200]);
    assert_eq!(house.ask("/a//open"), [401, 403, 200], "a segment is never empty");
    assert_eq!(house.ask("/m/x"), [405; 3]);
    assert_eq!(house.ask("/m/y"), [200; 3]);
}

#[test]
fn nothing_is_open_that_was_not_opened() {
    let house = House::new(&[("/app/*", "")]);
    assert_eq!(house.ask("/"), [404; 3]);
    assert_eq!(house.ask("/application"), [404; 3]);
    assert_eq!(house.ask("/auth/unknown"), [404; 3]);
    assert_eq!(house.ask("/app%2F..%2Fx"), [400; 3]);
    assert_eq!(house.ask("/app"), [401, 200, 200]);
}

#[test]
fn our_endpoints_cannot_be_reached_as_an_applications() {
    let house = House::new(&[("/*", PUBLIC)]);
    for target in [
        "/auth%2Flogin",
        "/AUTH/login",
        "//auth/login",
        "/auth;x/login",
        "/x/..;/auth/login",
        "/auth/",
    ] {
        let statuses = house.ask(target);
        assert!(matches!(statuses, [404, 404, 404] | [400, 400, 400]), "{target}: {statuses:?}");
    }
}

#[test]
fn a_strict_route_refuses_every_path_with_two_readings() {
    let house = House::new(&[("/*", "access = \"public\"\nstrict_paths = true")]);
    assert_eq!(house.ask("/plain/path"), [200; 3]);
    for target in ["/a%2Fb", "/a//b", "/a;b", "/a%5Cb", "/a."] {
        assert_eq!(house.ask(target), [400; 3], "{target}");
    }
}

#[test]
fn the_query_is_untouched_and_never_matters() {
    let house = House::new(&[("/*", PUBLIC), ("/admin/*", ADMIN)]);
    for query in ["?a=%2e%2e/../admin", "?", "?x=//admin&y=%zz", "?/../admin"] {
        assert_eq!(house.ask(&format!("/x{query}")), [200; 3], "{query}");
    }
}

#[test]
fn letters_that_become_ascii_in_another_case_reach_past_no_rule() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
access = "public"
upstream = "{url}"
[[routes]]
path = "/kiosks/*"
roles = ["admin"]
upstream = "{url}"
[[routes]]
path = "/büro/*"
roles = ["admin"]
upstream = "{url}"
"#
    ));
    // KELVIN SIGN, LATIN SMALL LETTER LONG S, and the I with a dot and the i without one.
    for path in ["%E2%84%AAiosks", "kio%C5%BFks", "kiosk%C5%BF", "k%C4%B0osks", "K%C4%B1OSKS"] {
        gateway.get(&format!("/{path}/x"), &[]).expect(401);
    }
    gateway.get("/B%C3%9CRO/x", &[]).expect(401);
    assert_eq!(upstream.seen().len(), 0);
    gateway.get("/k%C3%AEosks/x", &[]).expect(200);
}
