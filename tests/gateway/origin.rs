//! No site but ours acts for a user: the origin rule, wherever a cookie decides.

use crate::support::{Gateway, Upstream};

struct House {
    gateway: Gateway,
    upstream: Upstream,
    cookies: String,
}

impl House {
    fn new() -> Self {
        let upstream = Upstream::hello();
        let gateway = Gateway::before(&upstream.url());
        let cookies = gateway.login_by_cookie("alice").cookie_header();
        Self { gateway, upstream, cookies }
    }

    /// The status of a request by cookie; whether the upstream was reached must fit it.
    fn ask(&self, line: &str, headers: &[(&str, &str)]) -> u16 {
        let before = self.upstream.seen().len();
        let mut all = vec![("Cookie", self.cookies.as_str())];
        all.extend(headers);
        let answer = self.gateway.ask(line, &all, "");
        let reached = self.upstream.seen().len() - before;
        assert_eq!(reached, usize::from(answer.status == 200), "{line} {headers:?}");
        if answer.status == 403 {
            assert_eq!(answer.member("code"), "csrf_rejected");
        }
        answer.status
    }
}

#[test]
fn row_42_sec_fetch_site_decides_for_browsers_that_send_it() {
    let house = House::new();
    for (site, status) in [
        ("cross-site", 403),
        ("same-site", 403),
        ("same-origin", 200),
        ("none", 200),
        ("garbage", 403),
    ] {
        assert_eq!(house.ask("POST /x", &[("Sec-Fetch-Site", site)]), status, "{site}");
        assert_eq!(house.ask("DELETE /x", &[("Sec-Fetch-Site", site)]), status, "{site}");
        // It is the browser's word: an Origin beside it changes nothing.
        let origin = house.gateway.origin();
        let both = [("Sec-Fetch-Site", site), ("Origin", origin.as_str())];
        assert_eq!(house.ask("POST /x", &both), status, "{site}");
        assert_eq!(house.ask("GET /x", &[("Sec-Fetch-Site", site)]), 200, "{site}");
    }
    let twice = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(house.ask("POST /x", &twice), 403);
}

#[test]
fn row_43_origin_decides_for_those_that_do_not() {
    let house = House::new();
    let own = house.gateway.origin();
    let https = own.replace("http:", "https:");
    let port = format!("http://localhost:{}", house.gateway.address().port() ^ 1);
    for (origin, status) in [
        ("http://evil.example", 403),
        (https.as_str(), 403),
        (port.as_str(), 403),
        ("null", 403),
        (&format!("{own}/"), 403),
        (&own.replace("localhost", "localhost."), 403),
        (own.as_str(), 200),
    ] {
        assert_eq!(house.ask("POST /x", &[("Origin", origin)]), status, "{origin}");
    }
    assert_eq!(house.ask("POST /x", &[]), 200, "no browser");
    assert_eq!(house.ask("POST /x", &[("Origin", &own), ("Origin", "http://evil.example")]), 403);
    // The own origin is that of Host, so another spelling of it is another origin.
    let spelled = format!("http://127.0.0.1:{}", house.gateway.address().port());
    assert_eq!(house.ask("POST /x", &[("Origin", &spelled)]), 403);
}

#[test]
fn row_44_a_request_for_a_tunnel_by_cookie_must_come_from_us() {
    let house = House::new();
    let upgrade = |more: &[(&'static str, &str)]| {
        // That no route names it makes it no less a request for a tunnel.
        let mut headers = vec![("Connection", "Upgrade"), ("Upgrade", "spdy/3.1")];
        headers.extend(more.iter().copied());
        house.ask("GET /x", &headers)
    };
    let own = house.gateway.origin();
    assert_eq!(upgrade(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(upgrade(&[("Origin", "null")]), 403);
    assert_eq!(
        upgrade(&[("Sec-Fetch-Mode", "websocket")]),
        403,
        "a browser that hides where it is"
    );
    assert_eq!(upgrade(&[("Origin", &own)]), 200);
    assert_eq!(upgrade(&[]), 200, "no browser");
    assert!(house.upstream.seen().iter().all(|seen| seen.header("upgrade").is_none()));
}

#[test]
fn row_45_a_bearer_of_ours_is_no_browsers_doing_and_a_foreign_one_excuses_nothing() {
    let house = House::new();
    let bearer = format!("Bearer {}", house.gateway.login("alice").access);
    let evil = ("Origin", "http://evil.example");
    let answer = house.gateway.ask("POST /x", &[("Authorization", &bearer), evil], "");
    assert_eq!(answer.status, 200);
    assert_eq!(house.ask("POST /x", &[("Authorization", &bearer), evil]), 200);
    assert_eq!(house.ask("POST /x", &[("Authorization", "Bearer foreign"), evil]), 403);
}

#[test]
fn login_refresh_and_logout_are_covered_with_or_without_a_cookie() {
    let house = House::new();
    let body = r#"{"username":"alice","password":"a long passphrase"}"#;
    for path in ["/auth/login", "/auth/refresh", "/auth/logout"] {
        for headers in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            let answer = house.gateway.post_json(path, &[headers], body);
            assert_eq!(answer.status, 403, "{path} {headers:?}");
            assert_eq!(answer.cookies(), []);
        }
    }
    assert_eq!(house.ask("GET /x", &[]), 200, "nobody was signed out");
}

#[test]
fn ending_a_session_by_cookie_is_covered() {
    let house = House::new();
    let list = house.gateway.get("/auth/sessions", &[("Cookie", &house.cookies)]).expect(200);
    let id = list.json()["sessions"][0]["id"].as_str().unwrap().to_owned();
    let line = format!("DELETE /auth/sessions/{id}");
    assert_eq!(house.ask(&line, &[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(house.ask("GET /x", &[]), 200);
}

#[test]
fn a_public_route_is_decided_by_no_cookie() {
    let house = House::new();
    assert_eq!(house.ask("POST /public/x", &[("Sec-Fetch-Site", "cross-site")]), 200);
    assert_eq!(house.upstream.only().header("remote-user"), None);
    assert_eq!(house.ask("POST /optional/x", &[("Sec-Fetch-Site", "cross-site")]), 403);
}

#[test]
fn a_browser_gets_its_tokens_in_cookies_alone() {
    let house = House::new();
    let login = |headers: &[(&str, &str)], more: &str| {
        let json = format!(r#"{{"username":"alice","password":"a long passphrase"{more}}}"#);
        house.gateway.post_json("/auth/login", headers, &json)
    };
    let own = house.gateway.origin();
    for headers in [[("Origin", own.as_str())], [("Sec-Fetch-Site", "same-origin")]] {
        let answer = login(&headers, "").expect(200);
        assert!(!answer.text().contains("token"), "{}", answer.text());
        assert_eq!(answer.member("username"), "alice");
        assert_eq!(answer.member("role"), "user");
        assert!(answer.cookie("pc_at").is_some() && answer.cookie("pc_rt").is_some());
        login(&headers, r#","transport":"body""#).expect(400);
    }
    let node = login(&[("Sec-Fetch-Mode", "cors")], "").expect(200);
    assert!(node.text().contains("refresh_token"), "Node's fetch is no browser");
}

#[test]
fn rows_2_and_6_cookies_are_written_exactly() {
    let house = House::new();
    let port = house.gateway.address().port();
    let attributes = |line: &str| {
        let mut parts: Vec<_> = line.split("; ").skip(1).map(str::to_owned).collect();
        parts.sort();
        parts
    };
    for (remember, with_age) in [("true", true), ("false", false)] {
        let more = format!(r#","transport":"cookie","remember":{remember}"#);
        let answer = house.gateway.login_with("alice", &more).expect(200);
        let lines: Vec<_> =
            answer.all("set-cookie").filter(|line| !line.contains("pc_dev")).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, name, age) in
            [(lines[0], "pc_at", 720..=900), (lines[1], "pc_rt", 1_209_599..=1_209_600)]
        {
            assert!(line.starts_with(&format!("__Host-Http-{name}_{port}=")), "{line}");
            let mut attributes = attributes(line);
            if with_age {
                let at =
                    attributes.iter().position(|part| part.starts_with("Max-Age=")).expect(line);
                let given: u64 = attributes.remove(at)["Max-Age=".len()..].parse().unwrap();
                assert!(age.contains(&given), "{line}");
            }
            assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"], "{line}");
        }
    }
}

#[test]
fn a_safe_method_that_stands_for_another_is_not_safe() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
upstream = "{}"
allow = ["method_override"]
"#,
        upstream.url()
    ));
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let ask = |site: &str| {
        let headers = [
            ("Cookie", cookies.as_str()),
            ("Sec-Fetch-Site", site),
            ("X-HTTP-Method-Override", "DELETE"),
        ];
        gateway.ask("GET /x", &headers, "").status
    };
    assert_eq!([ask("cross-site"), ask("same-origin")], [403, 200]);
}
