//! The admin listener: `/healthz`, `/readyz` and `/metrics`, and nothing else.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::support::{
    Account, Answer, Client, Gateway, House, Upstream, eventually, request, routes,
};

const ON: &str = r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
workers = 2
"#;

#[track_caller]
fn ask(address: SocketAddr, line: &str, host: &str) -> Answer {
    Client::connect(address).ask(request(line, &[("Host", host)], ""))
}

#[track_caller]
fn get(gateway: &Gateway, path: &str) -> Answer {
    ask(gateway.admin_address(), &format!("GET {path}"), "localhost")
}

#[test]
fn it_tells_life_and_readiness() {
    let gateway = Gateway::start(ON);
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = get(&gateway, path).expect(200);
        assert_eq!(answer.text(), text);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let head = ask(gateway.admin_address(), &format!("HEAD {path}"), "localhost");
        assert_eq!((head.status, head.text()), (200, String::new()));
    }
    let metrics = get(&gateway, "/metrics").expect(200);
    let kind = metrics.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn nothing_else_is_there() {
    let gateway = Gateway::start(ON);
    for path in ["/", "/auth/login", "/auth/me", "/metrics/", "/healthz/x", "/debug/pprof", "/x"] {
        get(&gateway, path).expect(404);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        let line = format!("{method} /metrics");
        ask(gateway.admin_address(), &line, "localhost").expect(405);
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        gateway.get(path, &[]).expect(404);
    }
}

#[test]
fn on_loopback_it_answers_only_to_addresses_and_localhost() {
    let gateway = Gateway::start(ON);
    let port = gateway.admin_address().port();
    for host in ["127.0.0.1", "[::1]", "192.0.2.7", "localhost", "LOCALHOST"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            ask(gateway.admin_address(), "GET /readyz", &host).expect(200);
        }
    }
    for host in ["rebind.example", "localhost.example", "", "127.0.0.1.example", "a b"] {
        ask(gateway.admin_address(), "GET /metrics", host).expect(421);
    }
    let two = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: rebind.example\r\n\r\n";
    Client::connect(gateway.admin_address()).ask(two).expect(421);
    let none = "GET /metrics HTTP/1.0\r\n\r\n";
    Client::connect(gateway.admin_address()).ask(none).expect(421);
}

#[test]
fn without_users_it_says_how_to_add_one() {
    let file = "[server]\nlisten = \"127.0.0.1:PORT\"\ndata_dir = \"FOLDER/data\"\nadmin = \"127.0.0.1:ADMIN\"\n";
    let house = House::with_file(Account::Own, file);
    let gateway = house.start();
    let said = "no users yet: portcullis user add NAME --role admin\n";
    eventually("the console says it", || gateway.said().contains(said).then_some(()));
    assert_eq!(house.ask_admin("/readyz").expect(200).text(), said);
    house.run(&["user", "add", "me", "--role", "admin", "--generate"]).expect(0);
    assert_eq!(house.ask_admin("/readyz").expect(200).text(), "ready\n");
    gateway.stop();
}

/// The metrics, once every request so far is counted: that happens after its answer was sent.
fn settled(gateway: &Gateway) -> String {
    eventually("no request is active", || {
        let metrics = get(gateway, "/metrics").text();
        (counted(&metrics, "http_server_active_requests") == 0).then_some(())
    });
    get(gateway, "/metrics").text()
}

/// What was counted; a series that is not there has counted nothing.
fn counted(metrics: &str, series: &str) -> u32 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().expect("a number"))
}

#[test]
fn the_metrics_count_what_was_done() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&(ON.to_owned() + &routes(&upstream.url())));
    let (one, two) = (gateway.login("alice"), gateway.login("admin"));
    gateway.try_password("alice", "wrong").expect(401);
    let next = gateway.refresh(&one.refresh).expect(200);
    gateway.refresh("garbage").expect(401);
    gateway.refresh(&one.refresh).expect(401);
    for path in ["/x", "/y", "/admin/x"] {
        gateway.get_as(path, &two.access).expect(200);
    }
    gateway.get_as("/x", &next.member("access_token")).expect(401);
    gateway.get("/x", &[]).expect(401);
    let forged = two.access.rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
    gateway.get_as("/x", &forged).expect(401);
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let alice = gateway.get("/admin/x", &[("Cookie", &cookies)]).expect(403);
    assert_eq!(alice.member("code"), "forbidden");
    let foreign = [("Cookie", cookies.as_str()), ("Origin", "https://evil.example")];
    gateway.ask("POST /x", &foreign, "").expect(403);
    gateway.get("/public/x", &[]).expect(200);
    let elsewhere = request("GET /x", &[("Host", "evil.example")], "");
    gateway.connect().ask(elsewhere).expect(421);
    let throttled = (0..13).filter(|_| gateway.try_password("nobody", "wrong").status == 429);
    assert_eq!(throttled.count(), 3, "the name's bucket holds ten");

    let metrics = settled(&gateway);
    for (series, count) in [
        (r#"login_total{outcome="success"}"#, 3),
        (r#"login_total{outcome="failure"}"#, 11),
        (r#"login_total{outcome="throttled"}"#, 3),
        (r#"throttled_total{limit="login_per_username"}"#, 3),
        (r#"refresh_total{outcome="rotated"}"#, 1),
        (r#"refresh_total{outcome="invalid"}"#, 1),
        (r#"refresh_total{outcome="reuse"}"#, 1),
        (r#"session_revoked_total{reason="reuse"}"#, 1),
        (r#"csrf_rejected_total{why="origin"}"#, 1),
        (r#"authz_decisions_total{route="/*",decision="permitted",reason="rule"}"#, 2),
        (r#"authz_decisions_total{route="/admin/*",decision="permitted",reason="rule"}"#, 1),
        (r#"authz_decisions_total{route="/admin/*",decision="refused",reason="forbidden"}"#, 1),
        (r#"authz_decisions_total{route="/public/*",decision="permitted",reason="rule"}"#, 1),
        (r#"authz_decisions_total{route="/*",decision="refused",reason="csrf_rejected"}"#, 1),
        (r#"authz_decisions_total{route="/*",decision="refused",reason="token_missing"}"#, 1),
        (r#"authz_decisions_total{route="/*",decision="refused",reason="token_invalid"}"#, 1),
        (r#"authz_decisions_total{route="/*",decision="refused",reason="session_revoked"}"#, 1),
        (
            r#"authz_decisions_total{route="none",decision="refused",reason="misdirected_request"}"#,
            1,
        ),
        // Fourteen tries, and two users of the configuration.
        (r#"password_hash_seconds_count{alg="argon2id"}"#, 16),
        ("sessions_active", 2),
        ("revocation_set_size", 1),
        ("store_up", 1),
    ] {
        let series = format!("portcullis_{series}");
        assert_eq!(counted(&metrics, &series), count, "{series}\n{metrics}");
    }
    let served = r#"http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/*"}"#;
    assert_eq!(counted(&metrics, served), 2);
}

#[test]
fn the_metrics_are_written_as_prometheus_reads_them() {
    let upstream = Upstream::hello();
    let route = "[[routes]]\nname = 'of \"quotes\" and \\ more'\npath = \"/q/*\"\naccess = \"public\"\nupstream = \"UP\"\n";
    let gateway = Gateway::start(&(ON.to_owned() + &route.replace("UP", &upstream.url())));
    gateway.get("/q/x", &[]).expect(200);
    gateway.ask("BREW /q/x", &[], "").expect(405);
    gateway.login("alice");
    let metrics = settled(&gateway);
    assert!(metrics.ends_with('\n'));
    assert!(metrics.contains(r#"http_request_method="_OTHER""#), "{metrics}");
    assert!(!metrics.contains("BREW"), "a client made a series: {metrics}");
    let mut families = BTreeSet::new();
    let mut family = "";
    let mut series = BTreeSet::new();
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} has two heads");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let kind = rest.strip_prefix(family).unwrap_or_else(|| panic!("{line}"));
            assert!([" counter", " gauge", " histogram"].contains(&kind), "{line}");
        } else {
            let (one, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(one.starts_with(family), "{line} below the head of {family}");
            assert!(number.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(one), "{one} is there twice");
            assert!(labels_are_well_formed(one), "{line}");
        }
    }
}

/// `name` or `name{label="value",…}`, with quotes and backslashes escaped.
fn labels_are_well_formed(series: &str) -> bool {
    let name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
    };
    let Some((metric, labels)) = series.split_once('{') else {
        return name(series);
    };
    let Some(mut rest) = labels.strip_suffix('}') else {
        return false;
    };
    while !rest.is_empty() {
        let Some((label, value)) = rest.split_once("=\"") else {
            return false;
        };
        let mut escaped = false;
        let end = value.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end.filter(|_| name(label)) else {
            return false;
        };
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    name(metric)
}
