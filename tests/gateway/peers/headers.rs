//! Advisories about headers, continued.

use super::Pair;
use crate::support::Seen;

/// A path behind `optional`, which takes an identity when there is one, asked without.
fn anonymous(pair: &Pair, headers: &[(&str, &str)]) -> Seen {
    pair.gateway.get("/optional/x", headers).expect(200);
    pair.upstream.last()
}

/// Whatever of `forged` came through.
#[track_caller]
fn nothing_forged(seen: &Seen) {
    assert!(!seen.head.to_ascii_lowercase().contains("forged"), "{}", seen.head);
}

#[test]
fn cve_2024_21499_cve_2026_33495_a_scheme_of_the_clients_own_writing() {
    let pair = Pair::new();
    for name in
        ["X-Forwarded-Proto", "x-forwarded-proto", "X_Forwarded_Proto", "X-Forwarded-Scheme"]
    {
        for value in ["https", "javascript", "forged"] {
            let headers = [(name, value), ("X-Forwarded-Host", "forged.example")];
            let seen = pair.passes(&headers);
            assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "{name}: {}", seen.head);
            nothing_forged(&seen);
            pair.gateway.get("/admin/x", &headers).expect(401);
            let navigation = [
                ("Accept", "text/html"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "document"),
                headers[0],
                headers[1],
            ];
            let answer = pair.gateway.get("/admin/x", &navigation).expect(303);
            let location = answer.header("location").expect("a place to sign in");
            let fine =
                location.starts_with("/auth/login") || location.starts_with(&pair.gateway.origin());
            assert!(fine && !location.contains("forged"), "{location}");
        }
    }
}

#[test]
fn cve_2026_29054_connection_options_in_small_letters() {
    let pair = Pair::new();
    let token = format!("Bearer {}", pair.gateway.login("alice").access);
    for options in [
        "x-real-ip, x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, remote-user",
        "X-REAL-IP, X-FORWARDED-FOR, X-Forwarded-Proto, x-FORWARDED-host, X-Forwarded-PORT, REMOTE-user",
        "x-request-id, host, x-real-ip,x-forwarded-for",
    ] {
        for separate in [false, true] {
            let mut headers = vec![("Authorization", token.as_str())];
            match separate {
                true => headers.extend(options.split(',').map(|option| ("Connection", option))),
                false => headers.push(("Connection", options)),
            }
            pair.gateway.get("/x", &headers).expect(200);
            let seen = pair.upstream.last();
            for name in ["x-real-ip", "x-forwarded-for"] {
                assert_eq!(seen.header(name), Some("127.0.0.1"), "{name}: {}", seen.head);
            }
            assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "{}", seen.head);
            assert_eq!(seen.header("remote-user"), Some("alice"), "{}", seen.head);
            assert_eq!(seen.header("host"), Some(pair.gateway.host().as_str()), "{}", seen.head);
            assert!(seen.header("x-request-id").is_some(), "{}", seen.head);
        }
    }
}

#[test]
fn cve_2026_30851_an_identity_of_the_clients_own_writing_where_there_is_none() {
    let pair = Pair::new();
    let names = ["Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email", "X-Forwarded-User"];
    let headers: Vec<_> = names.iter().map(|name| (*name, "forged")).collect();
    nothing_forged(&pair.passes(&headers));
    let seen = anonymous(&pair, &headers);
    nothing_forged(&seen);
    assert_eq!(seen.header("remote-user"), None, "absent, not empty: {}", seen.head);
    assert_eq!(seen.header("remote-groups"), None, "{}", seen.head);
    pair.gateway.get("/admin/x", &headers).expect(401);
}

#[test]
fn cve_2026_39858_cve_2026_52845_and_cve_2026_54763_names_that_are_the_same_to_cgi() {
    let pair = Pair::new();
    let token = format!("Bearer {}", pair.gateway.login("alice").access);
    for name in [
        "Remote_User",
        "remote_USER",
        "Remote.User",
        "Remote!User",
        "Remote~User",
        "Remote+User",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "X.Forwarded.Host",
        "X_FORWARDED_URI",
        "X_Forwarded_Prefix",
        "X_Real.IP",
    ] {
        nothing_forged(&pair.passes(&[(name, "forged")]));
        nothing_forged(&anonymous(&pair, &[(name, "forged")]));
        pair.gateway.get("/x", &[(name, "forged"), ("Authorization", &token)]).expect(200);
        let seen = pair.upstream.last();
        nothing_forged(&seen);
        assert_eq!(seen.header("remote-user"), Some("alice"), "{name}: {}", seen.head);
    }
}

#[test]
fn cve_2026_34457_a_client_that_calls_itself_a_health_check() {
    let pair = Pair::new();
    for agent in ["GoogleHC/1.0", "kube-probe/1.29", "ELB-HealthChecker/2.0", "/ping", ""] {
        pair.guards("/admin/x", &[("User-Agent", agent)]);
        pair.guards("/x", &[("User-Agent", agent)]);
    }
}

#[test]
fn cve_2026_35051_a_prefix_of_the_clients_own_writing() {
    let pair = Pair::new();
    for value in ["/public", "/forged", "/../public"] {
        pair.guards("/admin/x", &[("X-Forwarded-Prefix", value)]);
    }
    let seen = pair.passes(&[("X-Forwarded-Prefix", "/forged")]);
    assert_eq!(seen.header("x-forwarded-prefix"), None, "{}", seen.head);
}

#[test]
fn cve_2026_40575_a_target_in_a_header() {
    let pair = Pair::new();
    let names = [
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Path",
        "X-Original-Uri",
        "X_Forwarded_Uri",
    ];
    for name in names {
        pair.guards("/admin/x", &[(name, "/public/x")]);
        pair.guards("/admin/x", &[(name, "OPTIONS")]);
    }
    nothing_forged(
        &pair.passes(&[("X-Forwarded-Uri", "/forged"), ("X-Forwarded-Path", "/forged")]),
    );
}

#[test]
fn cve_2026_54764_a_port_that_follows_from_a_forged_scheme() {
    let pair = Pair::new();
    let port = pair.gateway.address().port().to_string();
    for headers in [
        &[("X-Forwarded-Proto", "https")][..],
        &[("X-Forwarded-Port", "443")],
        &[("X-Forwarded-Proto", "wss"), ("X-Forwarded-Port", "1")],
        &[("X-Forwarded-Ssl", "on"), ("Front-End-Https", "on"), ("X-Forwarded-Proto", "https")],
    ] {
        let seen = pair.passes(headers);
        assert_eq!(seen.header("x-forwarded-port"), Some(port.as_str()), "{headers:?}");
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "{headers:?}");
        assert_eq!(seen.header("x-forwarded-ssl"), None, "{headers:?}");
    }
}
