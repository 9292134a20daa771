//! Scripts of other origins: who may ask, who may read, and for whom a cookie decides.

use crate::support::{Answer, Gateway, Upstream};

const SPA: &str = "http://localhost:5173";
const EVIL: &str = "http://evil.example";

struct House {
    gateway: Gateway,
    upstream: Upstream,
    cookies: String,
}

/// `/api/*` by a policy with credentials, `/open/*` by one for everybody, `/own/*` by the
/// application's, `/private/*` without any.
fn house() -> House {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVary: Accept\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: PATCH\r\n\r\nhello",
    );
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[auth]
roles = ["admin", "editor", "user"]
cors = "spa"
[cors.spa]
origins = ["{SPA}", "http://localhost:5174"]
credentials = true
[cors.everybody]
origins = "*"
methods = ["GET"]
expose = []
[[routes]]
path = "/api/*"
upstream = "{url}"
cors = "spa"
[[routes]]
path = "/api/admin/*"
methods = ["GET"]
roles = ["admin"]
upstream = "{url}"
cors = "spa"
[[routes]]
path = "/api/closed"
upstream = "{url}"
[[routes]]
path = "/open/*"
access = "public"
upstream = "{url}"
cors = "everybody"
[[routes]]
path = "/own/*"
upstream = "{url}"
cors = "upstream"
[[routes]]
path = "/own/private"
upstream = "{url}"
[[routes]]
path = "/private/*"
upstream = "{url}"
[[routes]]
path = "/optional/*"
access = "optional"
upstream = "{url}"
"#
    ));
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    House { gateway, upstream, cookies }
}

impl House {
    fn preflight(&self, path: &str, origin: &str, method: &str) -> Answer {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        self.gateway.ask(&format!("OPTIONS {path}"), &headers, "")
    }

    /// A request by cookie from a page of another origin, as browsers send it.
    fn from(&self, line: &str, origin: &str, site: &str) -> Answer {
        let headers =
            [("Cookie", self.cookies.as_str()), ("Origin", origin), ("Sec-Fetch-Site", site)];
        self.gateway.ask(line, &headers, "")
    }

    fn reached(&self) -> usize {
        self.upstream.seen().len()
    }
}

/// Every header that tells a browser of sharing, sorted.
fn sharing(answer: &Answer) -> Vec<String> {
    let told = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut told: Vec<_> = told
        .filter_map(|(name, value)| {
            Some(format!("{}: {value}", name.strip_prefix("access-control-")?))
        })
        .collect();
    told.sort();
    told
}

fn varies_by_origin(answer: &Answer) -> bool {
    answer.all("vary").flat_map(|line| line.split(',')).any(|name| name.trim() == "Origin")
}

#[test]
fn a_preflight_is_answered_by_the_gateway_without_a_login() {
    let house = house();
    for path in ["/api/x", "/auth/login", "/auth/me"] {
        let method = if path == "/auth/me" { "GET" } else { "POST" };
        let answer = house.preflight(path, SPA, method).expect(204);
        let expected = [
            "allow-credentials: true",
            "allow-headers: authorization, content-type, idempotency-key",
            &format!("allow-methods: {method}"),
            &format!("allow-origin: {SPA}"),
            "max-age: 600",
        ];
        assert_eq!(sharing(&answer), expected, "{path}");
        assert!(varies_by_origin(&answer), "{path} {:?}", answer.headers);
        assert_eq!(answer.body, b"");
    }
    assert_eq!(house.reached(), 0);
}

#[test]
fn a_preflight_is_matched_by_the_method_it_asks_for() {
    let house = house();
    house.preflight("/api/admin/x", SPA, "GET").expect(204);
    house.preflight("/api/admin/x", SPA, "HEAD").expect(204);
    // No route takes what it asks for: an OPTIONS request like any other.
    let other = house.preflight("/api/admin/x", SPA, "POST").expect(405);
    assert_eq!(sharing(&other), [""; 0]);
    house.preflight("/auth/login", SPA, "DELETE").expect(405);
    house.preflight("/auth/nothing", SPA, "GET").expect(404);
    assert_eq!(house.reached(), 0);
}

#[test]
fn an_origin_that_is_not_listed_is_told_nothing() {
    let house = house();
    let own = house.gateway.origin();
    for origin in [
        EVIL,
        "null",
        "*",
        "",
        "http://localhost",
        "http://localhost:51730",
        "https://localhost:5173",
        "http://localhost:5173.evil.example",
        "http://localhost:5173/",
        "http://localhost.:5173",
        "http://localhost:5173 http://evil.example",
        "http://localhost:5173, http://evil.example",
        own.as_str(),
    ] {
        for answer in [
            house.preflight("/api/x", origin, "GET"),
            house.from("GET /api/x", origin, "cross-site"),
        ] {
            assert_eq!(sharing(&answer), [""; 0], "{origin}");
            assert!(varies_by_origin(&answer), "{origin} {:?}", answer.headers);
        }
    }
    let two = [("Origin", SPA), ("Origin", EVIL), ("Access-Control-Request-Method", "GET")];
    let answer = house.gateway.ask("OPTIONS /api/x", &two, "").expect(401);
    assert_eq!(sharing(&answer), [""; 0]);
}

#[test]
fn what_is_no_true_preflight_needs_a_login_like_anything_else() {
    let house = house();
    let ask = |headers: &[(&str, &str)], body| house.gateway.ask("OPTIONS /own/x", headers, body);
    let method = ("Access-Control-Request-Method", "GET");
    ask(&[("Origin", SPA)], "").expect(401);
    ask(&[method], "").expect(401);
    ask(&[("Origin", SPA), method], "body").expect(401);
    ask(&[("Origin", SPA), method, ("Transfer-Encoding", "chunked")], "0\r\n\r\n").expect(401);
    ask(&[("Origin", SPA), method, method], "").expect(401);
    ask(&[("Origin", SPA), ("Access-Control-Request-Method", "G T")], "").expect(401);
    let upgrade = [("Origin", SPA), method, ("Connection", "upgrade"), ("Upgrade", "websocket")];
    ask(&upgrade, "").expect(401);
    house.gateway.ask("GET /own/x", &[("Origin", SPA), method], "").expect(401);
    assert_eq!(house.reached(), 0);
    house.preflight("/own/x", SPA, "GET").expect(200);
}

#[test]
fn a_preflight_that_stands_for_another_method_needs_a_login() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/own/*"
upstream = "{}"
cors = "upstream"
allow = ["method_override", "underscore_headers"]
"#,
        upstream.url()
    ));
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X_Method_Override"] {
        let headers = [("Origin", SPA), ("Access-Control-Request-Method", "GET"), (name, "DELETE")];
        gateway.ask("OPTIONS /own/x", &headers, "").expect(401);
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn answers_and_refusals_of_the_route_can_be_read() {
    let house = house();
    let expected = [
        "allow-credentials: true".to_owned(),
        format!("allow-origin: {SPA}"),
        "expose-headers: x-request-id, retry-after, www-authenticate".to_owned(),
    ];
    let read = |answer: Answer, status: u16| {
        let answer = answer.expect(status);
        assert_eq!(sharing(&answer), expected, "{status}");
        assert!(varies_by_origin(&answer), "{status} {:?}", answer.headers);
        answer
    };
    let answer = read(house.from("GET /api/x", SPA, "same-site"), 200);
    assert_eq!(answer.all("vary").collect::<Vec<_>>(), ["Accept", "Origin"]);
    read(house.from("GET /api/admin/x", SPA, "same-site"), 403);
    read(house.gateway.get("/api/x", &[("Origin", SPA)]), 401);
    read(house.gateway.get("/auth/me", &[("Origin", SPA)]), 401);
    let wrong = r#"{"username":"alice","password":"not the passphrase"}"#;
    let login = || house.gateway.post_json("/auth/login", &[("Origin", SPA)], wrong);
    read(login(), 401);
    while login().status == 401 {}
    let throttled = read(login(), 429);
    assert!(throttled.header("retry-after").is_some());
}

#[test]
fn a_login_from_a_trusted_origin_sets_cookies_that_count_from_there() {
    let house = house();
    let body = r#"{"username":"alice","password":"a long passphrase"}"#;
    let from = |origin| [("Origin", origin), ("Sec-Fetch-Site", "same-site")];
    let answer = house.gateway.post_json("/auth/login", &from(SPA), body).expect(200);
    let cookies = answer.cookie_header();
    let headers = [("Cookie", cookies.as_str()), ("Origin", SPA), ("Sec-Fetch-Site", "same-site")];
    house.gateway.ask("POST /api/x", &headers, "").expect(200);
    house.gateway.ask("POST /auth/refresh", &headers, "").expect(200);
    house.gateway.ask("POST /auth/logout", &headers, "").expect(200);
    house.gateway.post_json("/auth/login", &from(EVIL), body).expect(403);
}

#[test]
fn credentials_are_trusted_on_the_routes_of_the_policy_alone() {
    let house = house();
    for site in ["same-site", "cross-site"] {
        house.from("POST /api/x", SPA, site).expect(200);
        house.from("POST /private/x", SPA, site).expect(403);
        house.from("POST /optional/x", SPA, site).expect(403);
        house.from("POST /own/x", SPA, site).expect(403);
        house.from("POST /api/x", EVIL, site).expect(403);
        house.from("POST /api/x", "null", site).expect(403);
    }
    let ask = |path: &str, origin| {
        let headers = [("Cookie", house.cookies.as_str()), ("Origin", origin)];
        house.gateway.ask(&format!("POST {path}"), &headers, "").status
    };
    assert_eq!(ask("/api/x", SPA), 200, "a browser without Sec-Fetch");
    assert_eq!(ask("/private/x", SPA), 403);
    assert_eq!(ask("/api/x", EVIL), 403);
}

#[test]
fn credentials_are_trusted_only_where_every_reading_trusts_them() {
    let house = house();
    for path in
        ["/api/closed", "/api/CLOSED", "/api//closed", "/api/closed;x", "/api/x%2f..%2fclosed"]
    {
        let answer = house.from(&format!("POST {path}"), SPA, "same-site");
        assert!(matches!(answer.status, 400 | 403), "{path} {}", answer.status);
    }
    assert_eq!(house.reached(), 0);
}

#[test]
fn everybodys_policy_names_nobody_and_sends_no_credentials() {
    let house = house();
    let answer = house.from("GET /open/x", EVIL, "cross-site").expect(200);
    assert_eq!(sharing(&answer), ["allow-origin: *"]);
    assert_eq!(house.upstream.only().header("remote-user"), None);
    let answer = house.preflight("/open/x", EVIL, "GET").expect(204);
    assert!(sharing(&answer).contains(&"allow-origin: *".to_owned()));
    assert!(!sharing(&answer).iter().any(|line| line.contains("credentials")));
    // A method that the policy does not list.
    assert_eq!(sharing(&house.preflight("/open/x", EVIL, "DELETE").expect(204)), [""; 0]);
    assert_eq!(sharing(&house.preflight("/open/x", "null", "GET").expect(204)), [""; 0]);
}

#[test]
fn an_applications_own_cors_gets_preflights_without_identity() {
    let house = house();
    let headers = [
        ("Origin", EVIL),
        ("Access-Control-Request-Method", "PUT"),
        ("Cookie", &format!("{}; theirs=1", house.cookies)),
        ("Remote-User", "mallory"),
    ];
    let answer = house.gateway.ask("OPTIONS /own/x", &headers, "").expect(200);
    assert_eq!(sharing(&answer), ["allow-methods: PATCH", "allow-origin: *"]);
    let seen = house.upstream.only();
    assert_eq!(seen.line(), "OPTIONS /own/x");
    assert_eq!(seen.header("remote-user"), None);
    assert_eq!(seen.header("cookie"), Some("theirs=1"));
    assert_eq!(seen.header("access-control-request-method"), Some("PUT"));
    assert_eq!(answer.cookies(), []);
}

#[test]
fn a_preflight_reaches_the_application_only_where_every_reading_says_so() {
    let house = house();
    for path in
        ["/own/private", "/own/%70rivate", "/own/PRIVATE", "/own/private;x", "/own//private"]
    {
        let answer = house.preflight(path, SPA, "GET");
        assert_eq!(answer.status, 401, "{path}");
    }
    house.preflight("/private/x", SPA, "GET").expect(401);
    assert_eq!(house.reached(), 0);
    house.preflight("/own/a;b/c", SPA, "GET").expect(200);
}

#[test]
fn without_a_policy_the_applications_headers_pass() {
    let house = house();
    let answer = house.from("GET /private/x", EVIL, "cross-site").expect(200);
    assert_eq!(sharing(&answer), ["allow-methods: PATCH", "allow-origin: *"]);
    assert!(!varies_by_origin(&answer));
}
