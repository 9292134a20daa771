//! What a route does to the answers of its application, and answers in its place.

use crate::support::{Gateway, Upstream, request};

fn one_route(upstream: &Upstream, more: &str) -> Gateway {
    let url = upstream.url();
    Gateway::start(&format!(
        "[[routes]]\npath = \"/cal/*\"\nupstream = \"{url}\"\naccess = \"public\"\n{more}\n"
    ))
}

fn saying(headers: &str) -> Upstream {
    Upstream::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{headers}\r\nok"))
}

#[test]
fn what_the_operator_says_of_answers_holds_whatever_the_upstream_nominates() {
    let upstream = saying(
        "X-Frame-Options: ALLOWALL\r\nX-Frame-Options: x\r\nServer: old/1\r\nX-Kept: 1\r\n\
         Connection: X-Frame-Options, X-Kept\r\n",
    );
    let gateway = one_route(
        &upstream,
        r#"headers = { set_response = { "X-Frame-Options" = "DENY" }, remove_response = ["Server"] }"#,
    );
    let answer = gateway.get("/cal/x", &[]).expect(200);
    assert_eq!(answer.all("x-frame-options").collect::<Vec<_>>(), ["DENY"]);
    assert_eq!(answer.header("server"), None);
    assert_eq!(answer.header("x-kept"), None);
}

#[test]
fn no_edit_lets_a_shared_cache_keep_what_is_somebodys() {
    let upstream = saying("ETag: \"x\"\r\n");
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
upstream = "{url}"
headers = {{ set_response = {{ "Cache-Control" = "public, max-age=60", "CDN-Cache-Control" = "max-age=60" }} }}
[[routes]]
path = "/public/*"
access = "public"
upstream = "{url}"
headers = {{ set_response = {{ "Cache-Control" = "public, max-age=60" }} }}
"#,
        url = upstream.url()
    ));
    let access = gateway.login("alice").access;
    let answer = gateway.get_as("/x", &access).expect(200);
    assert_eq!(answer.header("cache-control"), Some("max-age=60, private"));
    assert_eq!(answer.header("cdn-cache-control"), None);
    let public = gateway.get("/public/x", &[]).expect(200);
    assert_eq!(public.header("cache-control"), Some("public, max-age=60"));
}

#[test]
fn a_redirect_of_the_upstreams_own_origin_leads_to_the_public_one() {
    let upstream = Upstream::scripted(|seen, stream| {
        use std::io::Write;
        let said = seen.header("x-say").unwrap_or_default();
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {said}\r\nContent-Location: {said}\r\n\r\n"
        );
        crate::support::Then::KeepOpen
    });
    let gateway = one_route(&upstream, "strip_prefix = \"/cal\"");
    let own = gateway.origin();
    let url = upstream.url();
    for (said, expected) in [
        (format!("{url}/x?y"), format!("{own}/cal/x?y")),
        (format!("{url}/cal/x"), format!("{own}/cal/x")),
        (format!("{url}//elsewhere.example"), format!("{own}/cal//elsewhere.example")),
        ("/x".to_owned(), "/cal/x".to_owned()),
        ("x".to_owned(), "x".to_owned()),
        (format!("{url}.elsewhere.example/"), format!("{url}.elsewhere.example/")),
        (format!("{url}@elsewhere.example/"), format!("{url}@elsewhere.example/")),
        ("//elsewhere.example/".to_owned(), "//elsewhere.example/".to_owned()),
        ("https://elsewhere.example/".to_owned(), "https://elsewhere.example/".to_owned()),
    ] {
        let answer = gateway.get("/cal/x", &[("X-Say", &said)]).expect(302);
        assert_eq!(answer.header("location"), Some(expected.as_str()), "{said}");
        assert_eq!(answer.header("content-location"), Some(expected.as_str()), "{said}");
    }
    let off = one_route(&upstream, "strip_prefix = \"/cal\"\nrewrite_location = \"off\"");
    let said = format!("{url}/x");
    let answer = off.get("/cal/x", &[("X-Say", &said)]).expect(302);
    assert_eq!(answer.header("location"), Some(said.as_str()));
}

#[test]
fn a_service_worker_stays_within_its_route() {
    for (scope, stays) in [
        ("/cal/", true),
        ("/cal/sub/", true),
        ("/cal/sub", true),
        ("/cal", false),
        ("/", false),
        ("/calendar/", false),
        ("/cal/../", false),
        ("/cal/%2e%2e/", false),
        ("https://elsewhere.example/cal/", false),
        ("", false),
    ] {
        let upstream = saying(&format!("Service-Worker-Allowed: {scope}\r\n"));
        let gateway = one_route(&upstream, "");
        let answer = gateway.get("/cal/sw.js", &[]).expect(200);
        let expected = stays.then_some(scope);
        assert_eq!(answer.header("service-worker-allowed"), expected, "{scope}");
    }
}

const FIXED: &str = r#"
[[routes]]
path = "/robots.txt"
access = "public"
respond = { body = "User-agent: *\nDisallow: /\n" }
[[routes]]
path = "/gone/*"
methods = ["GET"]
access = "public"
respond = { status = 410, body = "<p>gone</p>", content_type = "text/html" }
headers = { set_response = { "Link" = "</>; rel=home" } }
[[routes]]
path = "/staff/*"
roles = ["admin"]
respond = { status = 204 }
[[routes]]
path = "/hello"
respond = { body = "hello" }
headers = { set_response = { "Cache-Control" = "public" } }
"#;

#[test]
fn a_route_can_answer_by_itself() {
    let gateway = Gateway::start(FIXED);
    let answer = gateway.get("/robots.txt", &[]).expect(200);
    assert_eq!(answer.text(), "User-agent: *\nDisallow: /\n");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("content-length"), Some("26"));
    let host = gateway.host();
    let head =
        gateway.connect().ask(request("HEAD /robots.txt", &[("Host", &host)], "")).expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("26"), 0));
    let gone = gateway.get("/gone/x?y", &[]).expect(410);
    assert_eq!((gone.text().as_str(), gone.header("link")), ("<p>gone</p>", Some("</>; rel=home")));
    assert_eq!(gone.header("content-type"), Some("text/html"));
    gateway.ask("POST /gone/x", &[], "").expect(405);
}

#[test]
fn an_answer_of_the_file_is_guarded_like_any_route() {
    let gateway = Gateway::start(FIXED);
    let (alice, admin) = (gateway.login("alice").access, gateway.login("admin").access);
    gateway.get("/staff/x", &[]).expect(401);
    gateway.get_as("/staff/x", &alice).expect(403);
    let answer = gateway.get_as("/staff/x", &admin).expect(204);
    assert_eq!(answer.header("content-type"), None);
    for path in ["/gone/%2e%2e/staff/x", "/gone/..;/staff/x"] {
        gateway.get(path, &[]).expect(400);
    }
    gateway.get("/gone/a%2F%2Fstaff", &[]).expect(410);
    gateway.get("/robots.txt;x", &[]).expect(404);
    let hello = gateway.get_as("/hello", &alice).expect(200);
    assert_eq!(hello.header("cache-control"), Some("private"));
    gateway.get("/hello", &[]).expect(401);
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection() {
    let gateway = Gateway::start(FIXED);
    let mut client = gateway.connect();
    let host = gateway.host();
    let smuggled = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let headers = [("Host", host.as_str()), ("Content-Length", "100000")];
    client.send(request("POST /robots.txt", &headers, smuggled));
    let answer = client.answer().unwrap().expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
    client.shutdown_write();
    assert_eq!(client.rest(), b"");
}

#[test]
fn an_answer_of_our_own_tells_the_id_of_its_log_line_and_an_application_what_it_likes() {
    let upstream = saying("X-Request-Id: of the application\r\n");
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
access = "public"
upstream = "{url}"
[[routes]]
path = "/private/*"
upstream = "{url}"
[[routes]]
path = "/gone"
access = "public"
respond = {{ status = 410 }}
[[routes]]
path = "/shared"
cors = "spa"
upstream = "{url}"
[cors.spa]
origins = ["https://spa.example"]
"#
    ));
    let page = ("Accept", "text/html");
    let preflight = [("Origin", "https://spa.example"), ("Access-Control-Request-Method", "GET")];
    for (line, headers, status) in [
        ("GET /auth/login", &[page][..], 200),
        ("GET /auth/ping", &[], 200),
        ("GET /auth/jwks.json", &[], 200),
        ("POST /auth/login", &[], 400),
        ("GET /private/x", &[page], 303),
        ("GET /private/x", &[], 401),
        ("GET /gone", &[], 410),
        ("GET /a%2", &[], 400),
        ("OPTIONS /shared", &preflight, 204),
    ] {
        let answer = gateway.ask(line, headers, "").expect(status);
        let told = answer.header("x-request-id").expect(line);
        let log = gateway.access_log();
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains(&format!(r#""request_id":"{told}""#)), "{line} {told} {last}");
        if answer.header("content-type") == Some("application/problem+json") {
            assert_eq!(answer.member("request_id"), told, "{line}");
        }
    }
    let answer = gateway.get("/x", &[]).expect(200);
    assert_eq!(answer.all("x-request-id").collect::<Vec<_>>(), ["of the application"]);
}

#[test]
fn no_list_is_told_of_where_none_is_allowed() {
    let gateway = Gateway::start(FIXED);
    for line in ["TRACE /hello", "CONNECT x:443"] {
        let answer = gateway.ask(line, &[], "").expect(405);
        assert_eq!(answer.header("allow"), Some(""), "{line}");
        assert_eq!(answer.member("detail"), "This method is not allowed here.");
    }
}
