//! Routes that are for some addresses alone (`allow_ips`), and routes with a bound of their own on
//! bodies (`max_body`).

use crate::client_address::server;
use crate::support::{Gateway, Upstream};

const PROXY: [u8; 4] = [127, 0, 0, 9];

fn guarded(upstream: &Upstream) -> Gateway {
    let url = upstream.url();
    let routes = format!(
        r#"
[[routes]]
path = "/*"
access = "public"
upstream = "{url}"
[[routes]]
name = "office"
path = "/office/*"
access = "public"
allow_ips = ["203.0.113.0/24", "127.0.0.2"]
upstream = "{url}"
[[routes]]
path = "/staff/*"
allow_ips = "203.0.113.0/24"
upstream = "{url}"
[[routes]]
path = "/small/*"
access = "public"
max_body = "4 B"
upstream = "{url}"
"#
    );
    Gateway::start(&(server("max_body = { public = \"8 B\" }") + &routes))
}

#[test]
fn a_route_for_some_addresses_refuses_all_others_whoever_they_are() {
    let upstream = Upstream::hello();
    let gateway = guarded(&upstream);
    let token = format!("Bearer {}", gateway.login("alice").access);
    let signed_in = [("Authorization", token.as_str())];
    for (from, headers, path, status) in [
        ([127, 0, 0, 2], &[][..], "/office/x", 200),
        ([127, 0, 0, 3], &[], "/office/x", 403),
        ([127, 0, 0, 3], &signed_in, "/office/x", 403),
        ([127, 0, 0, 3], &[("X-Forwarded-For", "203.0.113.7")], "/office/x", 403),
        (PROXY, &[("X-Forwarded-For", "203.0.113.7")], "/office/x", 200),
        (PROXY, &[("X-Forwarded-For", "203.0.113.7, 198.51.100.1")], "/office/x", 403),
        (PROXY, &[("X-Forwarded-For", "nonsense")], "/office/x", 403),
        (PROXY, &[], "/office/x", 403),
        (PROXY, &[("X-Forwarded-For", "203.0.113.7")], "/staff/x", 401),
        ([127, 0, 0, 3], &[], "/staff/x", 403),
        ([127, 0, 0, 3], &signed_in, "/staff/x", 403),
    ] {
        let before = upstream.seen().len();
        let answer = gateway.ask_from(from, (&format!("GET {path}"), ""), headers);
        assert_eq!(answer.status, status, "{from:?} {headers:?} {path}: {}", answer.text());
        let passed = upstream.seen().len() - before;
        assert_eq!(passed, usize::from(status == 200), "{from:?} {headers:?} {path}");
        if status == 403 {
            assert_eq!(answer.member("code"), "address_refused");
        }
    }
    for path in ["//office/x", "/Office/x", "/office%2Fx", "/office;v=1/x", "/a/..%2Foffice/x"] {
        let answer = gateway.ask_from([127, 0, 0, 3], (&format!("GET {path}"), ""), &[]);
        assert!(matches!(answer.status, 400 | 403), "{path}: {}", answer.status);
    }
    let person = [("Accept", "text/html")];
    let page = gateway.ask_from([127, 0, 0, 3], ("GET /staff/x", ""), &person).expect(403);
    assert!(page.text().contains("Not from here"), "{}", page.text());
}

#[test]
fn a_bound_on_bodies_is_the_routes_own_where_it_has_one() {
    let upstream = Upstream::hello();
    let gateway = guarded(&upstream);
    for (path, body, status) in [
        ("/small/x", "12345", 413),
        ("/small/x", "1234", 200),
        ("/x", "12345", 200),
        ("/x", "123456789", 413),
    ] {
        gateway.ask(&format!("POST {path}"), &[], body).expect(status);
    }
    let chunked = |path: &str, size: usize| {
        let host = gateway.host();
        let body = "x".repeat(size);
        gateway.connect().ask(format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
        ))
    };
    chunked("/small/x", 5).expect(413);
    chunked("/small/x", 4).expect(200);
}

#[test]
fn a_route_can_be_left_out_of_the_access_log() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/probe"
access = "public"
access_log = false
upstream = "{url}"
[[routes]]
path = "/told"
access = "public"
upstream = "{url}"
"#
    ));
    for path in ["/probe", "/told"] {
        gateway.get(path, &[]).expect(200);
    }
    let log = gateway.access_log();
    assert!(log.contains(r#""path":"/told""#) && !log.contains("/probe"), "{log}");
}
