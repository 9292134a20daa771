//! Upgrades: which requests become tunnels, what each side is told, and that nothing else passes
//! by that way (`docs/http.md`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Client, Gateway, House, Seen, Then, Tokens, Upstream, eventually, routes};

/// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The headers of a client's opening handshake.
const OPENING: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "WebSocket"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
];

fn switching(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n").into_bytes()
}

fn good() -> Vec<u8> {
    switching(&format!(
        "upgrade: websocket\r\nconnection: upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\nX-App: yes\r\n"
    ))
}

/// Answers with these bytes what asks for an upgrade, and then sends back what comes; `bye` ends
/// its own half.
fn echo(answer: Vec<u8>) -> Upstream {
    Upstream::scripted(move |seen, stream| {
        if seen.header("upgrade").is_none() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain");
            return Then::KeepOpen;
        }
        let _ = stream.write_all(&answer);
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..count]);
            if bytes[..count].ends_with(b"bye") {
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
        }
        Then::Close
    })
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&OPENING[..], more].concat()
}

/// Asks for a tunnel, and gives the client with the status and the headers of the answer.
#[track_caller]
fn ask(
    gateway: &Gateway,
    path: &str,
    headers: &[(&str, &str)],
) -> (Client, u16, Vec<(String, String)>) {
    let mut client = gateway.connect();
    client.send(gateway.request(&format!("GET {path}"), headers, ""));
    let (status, headers) = client.head().expect("an answer");
    (client, status, headers)
}

#[track_caller]
fn open(gateway: &Gateway, path: &str, tokens: &Tokens) -> Client {
    let bearer = format!("Bearer {}", tokens.access);
    let (client, status, _) = ask(gateway, path, &with(&[("Authorization", &bearer)]));
    assert_eq!(status, 101);
    client
}

#[track_caller]
fn expect(client: &Client, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    client.stream().read_exact(&mut got).expect("it comes");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
}

fn one(headers: &[(String, String)], name: &str) -> Vec<String> {
    let found = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.clone()).collect()
}

#[test]
fn a_websocket_goes_through_with_the_identity_and_a_handshake_written_anew() {
    let upstream = echo(good());
    let gateway = Gateway::before(&upstream.url());
    let alice = gateway.login("alice");
    let bearer = format!("Bearer {}", alice.access);
    let hostile = [
        ("Authorization", bearer.as_str()),
        ("Remote-User", "admin"),
        ("Connection", "remote-user, x-secret"),
        ("X-Secret", "1"),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    let (client, status, headers) = ask(&gateway, "/ws?x=1", &with(&hostile));
    assert_eq!(status, 101);
    assert_eq!(one(&headers, "upgrade"), ["websocket"]);
    assert_eq!(one(&headers, "connection"), ["Upgrade"]);
    assert_eq!(one(&headers, "sec-websocket-accept"), [ACCEPT]);
    assert_eq!(one(&headers, "x-app"), ["yes"]);
    assert_eq!(one(&headers, "content-length").len() + one(&headers, "transfer-encoding").len(), 0);
    let seen = upstream.only();
    assert_eq!(seen.line(), "GET /ws?x=1");
    assert_eq!(seen.header("connection"), Some("Upgrade"));
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("sec-websocket-key"), Some(KEY));
    assert_eq!(seen.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert_eq!((seen.header("x-secret"), seen.header("authorization")), (None, None));

    let mut stream = client.stream();
    for text in ["one", "two"] {
        stream.write_all(text.as_bytes()).unwrap();
        expect(&client, text.as_bytes());
    }
    // The upstream ends its half; ours is still read.
    stream.write_all(b"bye").unwrap();
    expect(&client, b"bye");
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "a clean end");
    client.shutdown_write();
    let line = eventually("the access line", || {
        gateway.access_log().lines().find(|line| line.contains("\"/ws\"")).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    let told = ["status", "bytes_in", "bytes_out", "aborted"].map(|name| line[name].clone());
    assert_eq!(told, [101.into(), 9.into(), 9.into(), Value::Null], "{line}");
}

#[test]
fn bytes_that_come_with_a_handshake_are_kept_on_both_sides() {
    let upstream = echo([good(), b"early from upstream".to_vec()].concat());
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    let opening = gateway.request("GET /public/ws", &OPENING, "");
    client.send(format!("{opening}early from client"));
    assert_eq!(client.head().expect("an answer").0, 101);
    client.shutdown_write();
    let all = String::from_utf8(client.rest()).unwrap();
    assert_eq!(all, "early from upstreamearly from client");
}

#[test]
fn row_44_an_upgrade_by_cookie_needs_the_own_origin() {
    let upstream = echo(good());
    let gateway = Gateway::before(&upstream.url());
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let own = gateway.origin();
    let cases: [(&[(&str, &str)], u16); 8] = [
        (&[("Origin", "https://evil.example")], 403),
        (&[("Origin", "null")], 403),
        (&[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)], 403),
        (&[("Sec-Fetch-Site", "same-site")], 403),
        (&[("Sec-Fetch-Mode", "websocket")], 403),
        (&[("Origin", &own)], 101),
        (&[("Sec-Fetch-Site", "same-origin"), ("Origin", &own)], 101),
        (&[], 101),
    ];
    for (headers, expected) in cases {
        let before = upstream.seen().len();
        let all = with(&[&[("Cookie", cookies.as_str())], headers].concat());
        let (_client, status, _) = ask(&gateway, "/ws", &all);
        assert_eq!(status, expected, "{headers:?}");
        let reached = upstream.seen().len() - before;
        assert_eq!(reached, usize::from(expected == 101), "{headers:?}");
    }
    let (_client, status, _) = ask(&gateway, "/ws", &OPENING);
    assert_eq!(status, 401, "nobody is signed in");
    let alice = gateway.login("alice");
    let foreign = format!("Bearer {}", alice.access);
    let all = with(&[("Authorization", &foreign), ("Origin", "https://other.example")]);
    assert_eq!(ask(&gateway, "/ws", &all).1, 101, "a token of ours is no cookie");
}

#[test]
fn a_handshake_that_is_none_is_refused() {
    let upstream = echo(good());
    let gateway = Gateway::before(&upstream.url());
    let ask = |line: &str, drop: &str, more: &[(&str, &str)]| {
        let kept = OPENING.iter().filter(|(name, _)| *name != drop);
        let headers: Vec<_> = kept.chain(more).copied().collect();
        gateway.ask(line, &headers, "")
    };
    let get = "GET /public/ws";
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let bad: [Case<'_>; 10] = [
        ("POST /public/ws", "", &[]),
        (get, "Sec-WebSocket-Key", &[]),
        (get, "", &[("Sec-WebSocket-Key", KEY)]),
        (get, "Sec-WebSocket-Key", &[("Sec-WebSocket-Key", "c2hvcnQ=")]),
        (get, "Sec-WebSocket-Key", &[("Sec-WebSocket-Key", "not base64 of anything==")]),
        (get, "Sec-WebSocket-Version", &[]),
        (get, "", &[("Sec-WebSocket-Version", "13")]),
        (get, "Upgrade", &[("Upgrade", "h2c, websocket")]),
        (get, "", &[("Upgrade", "websocket")]),
        (get, "", &[("Content-Length", "3")]),
    ];
    for (line, drop, more) in bad {
        assert_eq!(ask(line, drop, more).status, 400, "{line} without {drop:?} with {more:?}");
    }
    let old = ask(get, "Sec-WebSocket-Version", &[("Sec-WebSocket-Version", "8")]).expect(426);
    assert_eq!(old.header("sec-websocket-version"), Some("13"));
    assert_eq!(old.header("upgrade"), Some("websocket"));
    let http_1_0 = gateway.request(get, &OPENING, "").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(gateway.connect().ask(http_1_0).status, 400);
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn what_nobody_named_goes_on_as_plain_http() {
    let upstream = echo(good());
    let named = "[[routes]]\npath = \"/exec\"\naccess = \"public\"\nupgrades = [\"spdy/3.1\"]\nupstream = \"UP\"\n";
    let gateway =
        Gateway::start(&(routes(&upstream.url()) + &named.replace("UP", &upstream.url())));
    let ask = |path: &str, protocol: &str| {
        let headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", protocol)];
        let answer = gateway.ask(&format!("POST {path}"), &headers, "").expect(200);
        assert_eq!(answer.text(), "plain", "{path} {protocol}");
        let seen = upstream.last();
        assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None));
    };
    for protocol in ["h2c", "spdy/3.1", "TLS/1.0", "irc", "h2c, spdy/3.1", "", "\u{7f}"] {
        if protocol != "\u{7f}" {
            ask("/public/x", protocol);
        }
    }
    for protocol in ["h2c", "websocket", "spdy/3.1, h2c", "spdy/3", "spdy/3.1/x"] {
        ask("/exec", protocol);
    }
}

#[test]
fn a_named_protocol_becomes_a_tunnel() {
    let upstream = echo(switching("Upgrade: SPDY/3.1\r\nConnection: Upgrade\r\n"));
    let route = format!(
        "[[routes]]\npath = \"/exec\"\naccess = \"public\"\nupgrades = [\"spdy/3.1\"]\nupstream = \"{}\"\n",
        upstream.url()
    );
    let gateway = Gateway::start(&route);
    let mut client = gateway.connect();
    let headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("Content-Length", "0")];
    client.send(gateway.request("POST /exec", &headers, ""));
    let (status, headers) = client.head().expect("an answer");
    assert_eq!((status, one(&headers, "upgrade")), (101, vec!["SPDY/3.1".to_owned()]));
    client.send("frames");
    expect(&client, b"frames");
    assert_eq!(upstream.only().header("upgrade"), Some("SPDY/3.1"));
}

#[test]
fn a_101_that_does_not_answer_what_was_asked_is_a_502_and_closes_the_connection() {
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    let bad = [
        format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{accept}"),
        format!("Connection: Upgrade\r\n{accept}"),
        format!("Upgrade: websocket\r\n{accept}"),
        "Upgrade: websocket\r\nConnection: Upgrade\r\n".to_owned(),
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"
            .to_owned(),
        format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{accept}{accept}"),
        format!("Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n{accept}"),
    ];
    for lines in bad {
        let upstream = echo([switching(&lines), b"HTTP/1.1 200 OK\r\n\r\nevil".to_vec()].concat());
        let gateway = Gateway::before(&upstream.url());
        let (mut client, status, _) = ask(&gateway, "/public/ws", &OPENING);
        assert_eq!(status, 502, "{lines}");
        client.shutdown_write();
        assert!(!String::from_utf8_lossy(&client.rest()).contains("evil"), "{lines}");
        let plain = gateway.get("/public/x", &[]).expect(200);
        assert_eq!((plain.text().as_str(), upstream.connections()), ("plain", 2), "{lines}");
    }
    // And one that nobody asked for.
    let upstream = Upstream::answering(good());
    let gateway = Gateway::before(&upstream.url());
    for _ in 0..2 {
        gateway.get("/public/x", &[]).expect(502);
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn an_answer_that_opens_no_tunnel_stays_http_and_its_connection_is_not_used_again() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let upstream = Upstream::scripted(move |seen: &Seen, stream: &mut TcpStream| {
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain";
        let answer = if seen.header("upgrade").is_some() { refusal } else { plain };
        let _ = stream.write_all(answer.as_bytes());
        Then::KeepOpen
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    let answer = client.ask(gateway.request("GET /public/ws", &OPENING, ""));
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    let again = client.ask(gateway.request("GET /public/x", &[], ""));
    assert_eq!((again.status, again.text().as_str()), (200, "plain"));
    assert_eq!(upstream.connections(), 2);
    client.ask(gateway.request("GET /public/x", &[], ""));
    assert_eq!(upstream.connections(), 2, "the second is an ordinary one");
}

#[test]
fn a_renewal_sets_its_cookies_on_the_101() {
    let upstream = echo(good());
    let gateway = Gateway::before(&upstream.url());
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    gateway.advance(Duration::from_secs(61 * 60));
    let (client, status, headers) = ask(&gateway, "/ws", &with(&[("Cookie", &cookies)]));
    assert_eq!(status, 101);
    let set = one(&headers, "set-cookie");
    assert!(set.iter().any(|line| line.contains("pc_at")), "{set:?}");
    assert!(set.iter().any(|line| line.contains("pc_rt")), "{set:?}");
    assert!(!upstream.only().head.contains("pc_rt"));
    client.stream().write_all(b"x").unwrap();
    expect(&client, b"x");
}

#[test]
fn row_32_logging_out_everywhere_resets_an_open_websocket_on_both_sides() {
    let upstream = echo(good());
    let gateway = Gateway::before(&upstream.url());
    let (alice, other) = (gateway.login("alice"), gateway.login("admin"));
    let mut cut = open(&gateway, "/ws", &alice);
    let spared = open(&gateway, "/ws", &other);
    let bearer = format!("Bearer {}", alice.access);
    gateway.ask("POST /auth/logout-all", &[("Authorization", &bearer)], "").expect(200);
    assert!(cut.ended_by_reset(), "no frame is put into what others frame");
    spared.stream().write_all(b"x").unwrap();
    expect(&spared, b"x");
}

#[test]
fn a_websocket_whose_client_does_not_read_is_cut_with_its_session() {
    let upstream = Upstream::scripted(|_, stream| {
        let _ = stream.write_all(&good());
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        Then::Close
    });
    let gateway = Gateway::before(&upstream.url());
    let alice = gateway.login("alice");
    let mut client = open(&gateway, "/ws", &alice);
    let body = format!(r#"{{"refresh_token":"{}"}}"#, alice.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    assert!(client.ended_by_reset());
}

#[test]
fn tunnels_count_among_the_connections_of_their_upstream_and_silent_ones_end() {
    let upstream = echo(good());
    let file = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
        [upstreams.app]\nservers = [\"{}\"]\nmax_connections = 2\ntimeouts = {{ connect = \"100ms\", idle = \"2s\" }}\n\
        [[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"app\"\n",
        upstream.url()
    );
    let gateway = Gateway::start(&file);
    let (mut first, one, _) = ask(&gateway, "/ws", &OPENING);
    let (_second, two, _) = ask(&gateway, "/ws", &OPENING);
    let third = gateway.get("/x", &[]);
    assert_eq!((one, two, third.status), (101, 101, 503));
    assert!(first.ended_by_reset(), "neither side has said a word");
    eventually("a place", || (gateway.get("/x", &[]).status == 200).then_some(()));
}

#[test]
fn a_websocket_to_a_server_of_http_2_has_a_connection_of_http_1() {
    let upstream = echo(good());
    let url = upstream.url().replace("http://", "h2c://");
    let gateway = Gateway::before(&url);
    let count = |text: &str| {
        upstream.seen().iter().filter(|seen: &&Seen| seen.head.starts_with(text)).count()
    };
    for turn in 1..=2 {
        // Which this one does not speak.
        gateway.get("/public/x", &[]).expect(502);
        let (client, status, _) = ask(&gateway, "/public/ws", &OPENING);
        assert_eq!(status, 101);
        client.stream().write_all(b"x").unwrap();
        expect(&client, b"x");
        assert_eq!((count("PRI * HTTP/2.0"), count("GET /public/ws ")), (turn, turn));
    }
}

#[test]
fn the_routes_own_time_out_ends_a_silent_tunnel() {
    let upstream = echo(good());
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"{}\"\ntimeouts = {{ idle = \"1s\" }}\n",
        upstream.url()
    ));
    let (mut client, status, _) = ask(&gateway, "/ws", &OPENING);
    assert_eq!(status, 101);
    assert!(client.ended_by_reset(), "neither side has said a word");
}

#[test]
fn a_drain_lets_a_tunnel_be_until_its_end() {
    let upstream = echo(good());
    let server = "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\ntimeouts = { drain = \"1s\" }\n";
    let mut gateway = Gateway::start(&(server.to_owned() + &routes(&upstream.url())));
    let (mut client, status, _) = ask(&gateway, "/public/ws", &OPENING);
    assert_eq!(status, 101);
    gateway.drain();
    assert!(client.ended_by_reset(), "what was broken off is not to look like an end");
}

#[test]
fn a_client_that_vanishes_takes_the_upstreams_side_along() {
    let (told, hears) = std::sync::mpsc::channel();
    let upstream = Upstream::scripted(move |_, stream| {
        let _ = stream.write_all(&good());
        let ended = stream.read(&mut [0; 16]);
        told.send(ended.map_err(|error| error.kind())).unwrap();
        Then::Close
    });
    let gateway = Gateway::before(&upstream.url());
    let (client, status, _) = ask(&gateway, "/public/ws", &OPENING);
    assert_eq!(status, 101);
    socket2::SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(hears.recv().unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_silent_tunnel_is_small() {
    let upstream = echo(good());
    let house = House::new(&routes(&upstream.url()));
    let gateway = house.start();
    let open = |count: usize| -> Vec<Client> {
        let one = |_| {
            let mut client = house.connect();
            client.send(house.request("GET /public/ws", &OPENING, ""));
            assert_eq!(client.head().expect("an answer").0, 101);
            client.send([b'x'; 3000]);
            expect(&client, &[b'x'; 3000]);
            client
        };
        (0..count).map(one).collect()
    };
    let _warm = open(20);
    let before = gateway.resident();
    let _open = open(400);
    let each = gateway.resident().saturating_sub(before) / 400;
    println!("{each} bytes for a silent tunnel");
    assert!(each <= 24_000, "{each} bytes each");
}
