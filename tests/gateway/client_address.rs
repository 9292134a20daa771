//! For whom a request counts when proxies stand before the gateway (`docs/http.md`): whose word is
//! taken, for what, and what becomes of everybody else's.

use crate::support::{Answer, Client, Gateway, House, Seen, Upstream, routes};

const PROXY: [u8; 4] = [127, 0, 0, 9];
const STRANGER: [u8; 4] = [127, 0, 0, 66];

/// `[server]` with a trusted proxy at 127.0.0.9, and `more`.
pub fn server(more: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
workers = 2
trusted_proxies = ["127.0.0.9", "127.0.1.0/24"]
{more}
"#
    )
}

fn behind_a_proxy(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::start(&(server(more) + &routes(&upstream.url())))
}

fn get_from(gateway: &Gateway, from: [u8; 4], headers: &[(&str, &str)]) -> Answer {
    gateway.ask_from(from, ("GET /public/x", ""), headers).expect(200)
}

/// The values of every forwarding header that an upstream got.
fn told(seen: &Seen) -> Vec<(String, String)> {
    let forwarding = |name: &str| {
        name.starts_with("x-forwarded")
            || matches!(name, "forwarded" | "x-real-ip" | "cf-connecting-ip" | "true-client-ip")
    };
    let mut told: Vec<_> = seen
        .fields()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| forwarding(name))
        .collect();
    told.sort();
    told
}

#[test]
fn a_trusted_proxys_word_is_taken_from_the_one_source_and_written_anew() {
    for (source, given) in [
        ("x-forwarded-for", ("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 127.0.1.5")),
        (
            "forwarded",
            ("Forwarded", "for=6.6.6.6, for=\"203.0.113.7:99\";host=evil, for=127.0.1.5"),
        ),
        ("x-real-ip", ("X-Real-IP", "203.0.113.7")),
        ("cf-connecting-ip", ("CF-Connecting-IP", "::ffff:203.0.113.7")),
    ] {
        let upstream = Upstream::hello();
        let gateway = behind_a_proxy(&upstream, &format!("client_ip = \"{source}\""));
        let forged = [
            ("X-Forwarded-For", "198.51.100.1"),
            ("Forwarded", "for=198.51.100.1"),
            ("X-Real-IP", "198.51.100.1"),
            ("CF-Connecting-IP", "198.51.100.1"),
            ("True-Client-IP", "198.51.100.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Port", "1"),
            ("X-Forwarded-Prefix", "/evil"),
            ("X-Forwarded-Server", "evil"),
            ("X_Forwarded_For", "198.51.100.1"),
        ];
        let mut headers: Vec<_> =
            forged.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case(source)).collect();
        headers.push(given);
        get_from(&gateway, PROXY, &headers);
        let port = gateway.address().port().to_string();
        let wanted = [
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-host", &gateway.host()),
            ("x-forwarded-port", &port),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "203.0.113.7"),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told(&upstream.only()), wanted, "{source}");
        assert!(gateway.access_log().contains(r#""client":"203.0.113.7""#), "{source}");
    }
}

#[test]
fn a_strangers_word_changes_nothing_and_is_counted() {
    let upstream = Upstream::hello();
    let gateway = behind_a_proxy(&upstream, "");
    let counted = || {
        let answer = Client::connect(gateway.admin_address()).ask(crate::support::request(
            "GET /metrics",
            &[("Host", "127.0.0.1")],
            "",
        ));
        let text = answer.expect(200).text();
        let line =
            text.lines().find(|line| line.starts_with("portcullis_untrusted_forwarding_total"));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
    };
    get_from(&gateway, STRANGER, &[]);
    get_from(&gateway, PROXY, &[("X-Forwarded-For", "203.0.113.7")]);
    assert_eq!(counted(), 0);
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP"] {
        get_from(&gateway, STRANGER, &[(header, "203.0.113.7"), ("X-Request-Id", "forged")]);
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.66"), "{header}");
        assert_eq!(seen.header("x-real-ip"), Some("127.0.0.66"), "{header}");
        assert_eq!(seen.header("x-request-id").map(str::len), Some(26), "{header}");
    }
    assert_eq!(counted(), 4);
}

#[test]
fn the_operator_is_told_of_a_proxy_that_is_not_trusted_with_the_remedy() {
    let upstream = Upstream::hello();
    let house = House::new(&routes(&upstream.url()));
    let gateway = house.start();
    for _ in 0..3 {
        let asked =
            house.ask_from(STRANGER, ("GET /public/x", ""), &[("X-Forwarded-For", "203.0.113.7")]);
        asked.expect(200);
    }
    let log = crate::support::eventually("the operator is told", || {
        Some(gateway.said()).filter(|log| log.contains("no trusted proxy"))
    });
    assert_eq!(log.matches("trusted_proxies = [\"127.0.0.66\"]").count(), 1, "{log}");
}

#[test]
fn the_operator_is_told_of_a_proxy_that_changes_the_host_with_the_remedy() {
    let house = House::new(&routes(&Upstream::hello().url()));
    let gateway = house.start();
    let ask = |line: &str| {
        let asked = crate::support::request(line, &[("Host", "App.internal:3000")], "");
        Client::connect_from(STRANGER.into(), house.address()).ask(asked)
    };
    ask("GET /auth/ping").expect(200);
    assert!(!gateway.said().contains("app.internal"));
    for _ in 0..3 {
        ask("GET /public/x").expect(421);
    }
    let log = crate::support::eventually("the operator is told", || {
        Some(gateway.said()).filter(|log| log.contains("let it keep Host"))
    });
    assert_eq!(log.matches("127.0.0.66 asks for app.internal:3000").count(), 1, "{log}");
}

#[test]
fn limits_and_audit_lines_go_by_the_address_that_a_proxy_vouches_for() {
    let gateway = Gateway::start(&server(""));
    let login = |client: &str, password: &str| {
        let json = format!(r#"{{"username":"alice","password":"{password}"}}"#);
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", client)];
        gateway.ask_from(PROXY, ("POST /auth/login", &json), &headers)
    };
    // Twenty guesses a minute for an address, more than ten for a name make it wait.
    let name = |at: usize| format!(r#"{{"username":"nobody{at}","password":"a guess"}}"#);
    for at in 0..20 {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", "203.0.113.7")];
        gateway.ask_from(PROXY, ("POST /auth/login", &name(at)), &headers).expect(401);
    }
    login("203.0.113.7", "a guess").expect(429);
    login("6.6.6.6, 203.0.113.7", "a guess").expect(429);
    login("203.0.113.7, 198.51.100.7", "a long passphrase").expect(200);
    let audit = gateway.audit();
    assert!(audit.contains("203.0.113.7"), "{audit}");
    assert!(audit.contains("198.51.100."), "{audit}");
    assert!(!audit.contains("127.0.0.9") && !audit.contains("6.6.6.6"), "{audit}");
}

#[test]
fn a_request_that_cannot_be_read_counts_for_its_client_too() {
    let upstream = Upstream::hello();
    let gateway = behind_a_proxy(&upstream, "");
    let bad = gateway.ask_from(PROXY, ("GET /a/../b", ""), &[("X-Forwarded-For", "203.0.113.7")]);
    bad.expect(400);
    let log = gateway.access_log();
    assert!(log.contains(r#""status":400"#) && log.contains(r#""client":"203.0.113.7""#), "{log}");
}

#[test]
fn a_request_id_is_taken_over_from_trusted_proxies_alone() {
    let upstream = Upstream::hello();
    let gateway = behind_a_proxy(&upstream, "");
    let longest = "x".repeat(48);
    for given in ["3f1b9b1e-5a0d-4f3e-9d6b-0a4f2f3b7c11", &longest] {
        get_from(&gateway, PROXY, &[("X-Request-Id", given)]);
        assert_eq!(upstream.last().header("x-request-id"), Some(given));
        assert!(gateway.access_log().contains(&format!(r#""request_id":"{given}""#)));
    }
    let too_long = "x".repeat(49);
    for given in [&[("X-Request-Id", "a b")][..], &[("X-Request-Id", "a"), ("X-Request-Id", "b")]] {
        get_from(&gateway, PROXY, given);
        assert_eq!(upstream.last().header("x-request-id").map(str::len), Some(26), "{given:?}");
    }
    get_from(&gateway, PROXY, &[("X-Request-Id", &too_long)]);
    assert_eq!(upstream.last().header("x-request-id").map(str::len), Some(26));
}

#[test]
fn a_trace_goes_on_or_begins_here_and_is_in_the_access_line() {
    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let upstream = Upstream::hello();
    let gateway = behind_a_proxy(&upstream, "");
    get_from(&gateway, STRANGER, &[("traceparent", GIVEN), ("tracestate", "a=b")]);
    let seen = upstream.last();
    assert_eq!(seen.header("traceparent"), Some(GIVEN));
    assert_eq!(seen.header("tracestate"), Some("a=b"));
    let line = r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736""#;
    assert!(gateway.access_log().contains(line), "{}", gateway.access_log());

    for bad in ["", "00-x-y-z", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"] {
        get_from(&gateway, STRANGER, &[("traceparent", bad), ("tracestate", "a=b")]);
        let seen = upstream.last();
        let begun: Vec<&str> = seen.header("traceparent").unwrap().split('-').collect();
        let lengths: Vec<_> = begun.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{begun:?}");
        assert_eq!(seen.header("tracestate"), None, "{bad}");
        let line = format!(r#""trace_id":"{}""#, begun[1]);
        assert!(gateway.access_log().contains(&line), "{line} {}", gateway.access_log());
    }
    get_from(&gateway, STRANGER, &[("traceparent", GIVEN), ("traceparent", GIVEN)]);
    let twice = upstream.last();
    let lines: Vec<_> = twice.fields().filter(|(name, _)| *name == "traceparent").collect();
    assert!(lines.len() == 1 && lines[0].1 != GIVEN, "{lines:?}");
}
