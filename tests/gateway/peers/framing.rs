//! Advisories about framing, continued.

use super::{Pair, SMUGGLED, post};
use crate::support::{Gateway, Then, Upstream};
use std::io::Write;

#[test]
fn cve_2026_2833_rustsec_2026_0033_bytes_after_an_upgrade_that_was_not_granted() {
    let pair = Pair::new();
    let smuggled = SMUGGLED.replace("HOST", &pair.gateway.host());
    for upgrade in ["websocket", "h2c", "foo", "TLS/1.0"] {
        let head = format!(
            "GET /public/x HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            pair.gateway.host()
        );
        let before = pair.upstream.seen().len();
        let mut client = pair.gateway.connect();
        // What comes after the head may be a request of its own, decided on as one: under a rule
        // that it does not keep, it must not arrive.
        let guarded = smuggled.replace("/public/smuggled", "/admin/smuggled");
        client.send(format!("{head}{guarded}"));
        let answer = client.answer();
        let seen = pair.upstream.seen();
        assert!(answer.is_none_or(|answer| answer.status != 101), "{upgrade}");
        assert!(seen.len() <= before + 1, "{upgrade}: {seen:?}");
        assert!(
            seen.iter().all(|seen| !seen.head.contains("smuggled") && seen.body.is_empty()),
            "{seen:?}"
        );
    }
}

#[test]
fn cve_2026_2835_rustsec_2026_0034_a_body_on_http_1_0_without_a_length() {
    let pair = Pair::new();
    let host = pair.gateway.host();
    let smuggled = SMUGGLED.replace("HOST", &host);
    for headers in [
        "",
        "Connection: close\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        for method in ["GET", "POST"] {
            let bytes =
                format!("{method} /public/x HTTP/1.0\r\nHost: {host}\r\n{headers}\r\n{smuggled}");
            let before = pair.upstream.seen().len();
            let answer = pair.send(bytes.as_bytes()).expect("an answer");
            let seen = &pair.upstream.seen()[before..];
            if headers.contains("Transfer") {
                assert_eq!(answer.status, 400, "{bytes}");
                assert_eq!(seen.len(), 0, "{bytes}");
            }
            assert!(seen.iter().all(|seen| seen.body.is_empty()), "no length is no body: {seen:?}");
            let smuggled = seen.iter().any(|seen| seen.head.contains("smuggled"));
            assert!(!smuggled, "{bytes}: {seen:?}");
        }
    }
    for coding in
        ["chunked, chunked", "chunked\r\nTransfer-Encoding: chunked", "xchunked", "chunked;q=1"]
    {
        pair.smuggles_nothing(post(&format!("Transfer-Encoding: {coding}"), SMUGGLED));
    }
}

#[test]
fn cve_2026_71324_a_connect_that_shares_connections_with_other_clients() {
    let pair = Pair::new();
    let host = pair.gateway.host();
    let smuggled = SMUGGLED.replace("HOST", &host);
    for target in [host.as_str(), "/public/x", "127.0.0.1:1", "evil.example:443"] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n{smuggled}");
        let mut client = pair.gateway.connect();
        client.send(&bytes);
        let status = client.answer().map(|answer| answer.status);
        assert!(matches!(status, Some(400 | 405)), "{target}: {status:?}");
        assert_eq!(pair.upstream.connections(), 0, "{target}");
    }
}

/// The other side of the same advisory: what a server says beyond its answer is nobody's.
#[test]
fn cve_2026_71324_an_answer_too_many_reaches_nobody_else() {
    let upstream = Upstream::scripted(|_, stream| {
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
        let _ = stream.write_all(two.as_bytes());
        Then::KeepOpen
    });
    let gateway = Gateway::before(&upstream.url());
    for _ in 0..20 {
        let answer = gateway.get("/public/x", &[]).expect(200);
        assert_eq!(answer.text(), "mine");
    }
    assert_eq!(upstream.connections(), 20, "none was used again");
}
