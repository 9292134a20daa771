//! WebSockets by HTTP/2's CONNECT (RFC 8441): which become tunnels, what reaches the upstream of
//! them, how each side learns of an end, and that nothing else passes by that way.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::http2::{Door, PROTOCOL};
use crate::support::frames::*;
use crate::support::{Gateway, Seen, Then, Tokens, Upstream, routes};

const CANCEL: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer to a key (RFC 6455 section 4.2.2).
pub fn accept_of(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn switching(seen: &Seen) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nX-App: yes\r\n\r\n",
        accept_of(seen.header("sec-websocket-key").expect("a key"))
    )
}

/// Sends back what comes; `bye` ends its own half. Tells how each tunnel ends.
fn echo() -> (Upstream, Receiver<std::io::Result<usize>>) {
    let (tell, told) = channel();
    let upstream = Upstream::scripted(move |seen, stream| {
        let _ = stream.write_all(switching(seen).as_bytes());
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(count @ 1..) => {
                    let _ = stream.write_all(&bytes[..count]);
                    if bytes[..count].ends_with(b"bye") {
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                    }
                }
                end => {
                    let _ = tell.send(end);
                    return Then::Close;
                }
            }
        }
    });
    (upstream, told)
}

/// How a tunnel has ended for the upstream.
fn ended(told: &Receiver<std::io::Result<usize>>) -> Result<usize, ErrorKind> {
    told.recv().unwrap().map_err(|error| error.kind())
}

/// An upstream that answers with these bytes.
fn before(answer: &'static str) -> Door {
    let upstream = Upstream::answering(answer);
    Door { gateway: Gateway::before(&upstream.url()), upstream }
}

fn house(server: &str) -> (Door, Receiver<std::io::Result<usize>>) {
    let (upstream, told) = echo();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         {server}\n{}",
        routes(&upstream.url())
    ));
    (Door { gateway, upstream }, told)
}

/// The block of a request; a pseudo-header that is given takes the place of the usual one.
fn asking(door: &Door, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let host = door.gateway.host();
    let usual = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", host.as_str()),
        (":path", path),
        ("sec-websocket-version", "13"),
    ];
    let given = |name: &str| fields.iter().find(|(other, _)| *other == name);
    let usual = usual.iter().map(|field| given(field.0).unwrap_or(field));
    let usual: Vec<_> = usual.copied().collect();
    let more = fields.iter().filter(|(name, _)| usual.iter().all(|(other, _)| name != other));
    block(&[&usual[..], &more.copied().collect::<Vec<_>>()].concat())
}

fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PING, ACK, 0, payload)
}

fn open(client: &mut Frames, stream: u32, block: &[u8]) -> Told {
    client.send(frame(HEADERS, END_HEADERS, stream, block));
    client.told()
}

/// Opens a tunnel on a stream.
#[track_caller]
fn opened(door: &Door, client: &mut Frames, stream: u32, tokens: &Tokens) {
    let bearer = format!("Bearer {}", tokens.access);
    let asked = asking(door, "/ws", &[("authorization", &bearer)]);
    assert_eq!(open(client, stream, &asked), Told::Status(200));
}

#[track_caller]
fn echoes(client: &mut Frames, stream: u32, text: &[u8]) {
    client.send(frame(DATA, 0, stream, text));
    let came = client.until(DATA);
    assert_eq!((came.stream, &came.payload[..]), (stream, text));
}

#[test]
fn a_websocket_by_connect_is_a_get_with_the_identity_and_a_key_of_ours() {
    let (upstream, _) = echo();
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let bearer = format!("Bearer {}", door.gateway.login("alice").access);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let story = async {
        let tcp = tokio::net::TcpStream::connect(door.gateway.address()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = http::Request::connect(format!("http://{}/ws?x=1", door.gateway.host()))
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("authorization", bearer)
            .header("remote-user", "admin")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "chat")
            .body(())
            .unwrap();
        let (answer, mut sending) = client.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-app"], "yes");
        for name in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
            assert!(!answer.headers().contains_key(name), "{answer:?}");
        }
        let mut coming = answer.into_body();
        for text in ["one", "two", "bye"] {
            sending.send_data(Bytes::from_static(text.as_bytes()), false).unwrap();
            assert_eq!(coming.data().await.unwrap().unwrap(), text);
        }
        // A clean end, which is told by an empty frame.
        while let Some(data) = coming.data().await {
            assert_eq!(data.unwrap(), "");
        }
        sending.send_data(Bytes::new(), true).unwrap();
        let told = || {
            let log = door.gateway.access_log();
            log.lines().find(|line| line.contains("\"/ws\"")).map(str::to_owned)
        };
        let told = loop {
            match told() {
                Some(line) => break line,
                None => tokio::task::yield_now().await,
            }
        };
        let line: Value = serde_json::from_str(&told).unwrap();
        let told = ["status", "bytes_in", "bytes_out", "aborted"].map(|name| line[name].clone());
        assert_eq!(told, [200.into(), 9.into(), 9.into(), Value::Null], "{line}");
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, story).await.expect("it hangs") });
    let seen = door.upstream.only();
    assert_eq!(seen.line(), "GET /ws?x=1");
    assert_eq!(seen.header("host"), Some(door.gateway.host().as_str()));
    assert_eq!(seen.header("connection"), Some("Upgrade"));
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("sec-websocket-version"), Some("13"));
    assert_eq!(seen.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert_eq!((seen.header("authorization"), seen.header("transfer-encoding")), (None, None));
    let key = seen.header("sec-websocket-key").unwrap();
    assert_ne!(key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(BASE64_STANDARD.decode(key).unwrap().len(), 16);
}

#[test]
fn row_44_a_websocket_by_connect_and_cookie_needs_the_own_origin() {
    let (upstream, _) = echo();
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let cookies = door.gateway.login_by_cookie("alice").cookie_header();
    let own = door.gateway.origin();
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", &own)], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-mode", "websocket")], 403),
        (&[("origin", &own)], 200),
        (&[("sec-fetch-site", "same-origin"), ("origin", &own)], 200),
    ];
    for (fields, expected) in cases {
        let before = door.upstream.seen().len();
        let asked = asking(&door, "/ws", &[&[("cookie", cookies.as_str())], fields].concat());
        assert_eq!(open(&mut door.connect(), 1, &asked), Told::Status(expected), "{fields:?}");
        let reached = door.upstream.seen().len() - before;
        assert_eq!(reached, usize::from(expected == 200), "{fields:?}");
    }
}

#[test]
fn what_is_no_websocket_by_connect_is_refused_and_reaches_nobody() {
    let (upstream, _) = echo();
    let none = format!(
        "[[routes]]\npath = \"/none\"\naccess = \"public\"\nupgrades = []\nupstream = \"{0}\"\n\
         [[routes]]\npath = \"/fixed\"\naccess = \"public\"\nrespond = {{ status = 200, body = \"x\" }}\n",
        upstream.url()
    );
    let door = Door { gateway: Gateway::start(&(routes(&upstream.url()) + &none)), upstream };
    let host = door.gateway.host();
    let ws = "/public/ws";
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("nobody is signed in", asking(&door, "/ws", &[]), 401),
        ("another protocol", asking(&door, ws, &[(":protocol", "connect-udp")]), 405),
        ("no protocol", asking(&door, ws, &[(":protocol", "")]), 405),
        ("plain", block(&[(":method", "CONNECT"), (":authority", &host)]), 405),
        ("a route without", asking(&door, "/none", &[]), 405),
        ("a fixed answer", asking(&door, "/fixed", &[]), 405),
        ("an endpoint", asking(&door, "/auth/ping", &[]), 405),
        ("an endpoint with a body", asking(&door, "/auth/jwks.json", &[]), 405),
        ("no endpoint", asking(&door, "/auth/nothing", &[]), 404),
        ("another host", asking(&door, ws, &[(":authority", "evil.example")]), 421),
        ("two hosts", asking(&door, ws, &[("host", "evil.example")]), 400),
        ("another scheme", asking(&door, ws, &[(":scheme", "ftp")]), 400),
        ("an asterisk", asking(&door, "*", &[]), 400),
        ("dots", asking(&door, "/public/../admin/x", &[]), 400),
        ("no version", asking(&door, ws, &[("sec-websocket-version", "")]), 426),
        ("another version", asking(&door, ws, &[("sec-websocket-version", "8")]), 426),
    ];
    let mut wrong = Vec::new();
    for (row, asked, status) in &rows {
        let told = open(&mut door.connect(), 1, asked);
        if told != Told::Status(*status) {
            wrong.push(format!("{row}: {told:?} instead of {status}"));
        }
    }
    let plain = [(":scheme", "http"), (":authority", host.as_str())];
    let broken = [
        (
            "no path",
            block(&[&[(":method", "CONNECT"), (":protocol", "websocket")], &plain[..]].concat()),
        ),
        ("a GET", asking(&door, ws, &[(":method", "GET")])),
        ("connection", asking(&door, ws, &[("connection", "upgrade")])),
        ("upgrade", asking(&door, ws, &[("upgrade", "websocket")])),
        ("a coding", asking(&door, ws, &[("transfer-encoding", "chunked")])),
        ("a length", asking(&door, ws, &[("content-length", "3")])),
    ];
    for (row, asked) in broken {
        let told = open(&mut door.connect(), 1, &asked);
        // For a length hyper ends the connection.
        let ended = row == "a length" && told == Told::Closed;
        if !ended && !matches!(told, Told::Reset(_) | Told::GoAway(PROTOCOL)) {
            wrong.push(format!("{row}: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn only_a_101_that_answers_our_key_opens_a_tunnel_by_connect() {
    let accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, status) in [
        (accept, 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain", 502),
        ("HTTP/1.1 204 No Content\r\n\r\n", 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302),
    ] {
        let door = before(answer);
        let mut client = door.connect();
        let told = open(&mut client, 1, &asking(&door, "/public/ws", &[]));
        assert_eq!(told, Told::Status(status), "{answer}");
        // What was meant for the tunnel becomes no request.
        client.send(frame(DATA, 0, 1, b"GET /public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.send(frame(HEADERS, 5, 3, &door.get("/public/x", &[])));
        let answered = std::iter::repeat_with(|| client.until(HEADERS));
        answered.take_while(|head| head.stream != 3).for_each(drop);
        let smuggled = |seen: &Seen| seen.head.contains("smuggled");
        assert!(!door.upstream.seen().iter().any(smuggled), "{answer}");
    }
}

#[test]
fn bytes_that_come_before_the_answer_go_into_the_tunnel() {
    let (upstream, _) = echo();
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    let asked = frame(HEADERS, END_HEADERS, 1, &asking(&door, "/public/ws", &[]));
    client.send([asked, frame(DATA, 0, 1, b"early")].concat());
    assert_eq!(client.told(), Told::Status(200));
    assert_eq!(client.until(DATA).payload, b"early");
}

#[test]
fn a_tunnel_by_connect_is_reset_with_its_session_on_both_sides_and_others_go_on() {
    let (door, told) = house("");
    let (ends, stays) = (door.gateway.login("alice"), door.gateway.login("alice"));
    let mut client = door.connect();
    opened(&door, &mut client, 1, &ends);
    opened(&door, &mut client, 3, &stays);
    echoes(&mut client, 1, b"x");
    let body = format!(r#"{{"refresh_token":"{}"}}"#, ends.refresh);
    door.gateway.post_json("/auth/logout", &[], &body).expect(200);
    let reset = client.until(RST_STREAM);
    assert_eq!((reset.stream, &reset.payload[..]), (1, &CANCEL.to_be_bytes()[..]));
    assert_eq!(ended(&told), Err(ErrorKind::ConnectionReset));
    echoes(&mut client, 3, b"y");
}

#[test]
fn a_tunnel_by_connect_whose_client_does_not_read_is_reset_with_its_session() {
    let upstream = Upstream::scripted(|seen, stream| {
        let _ = stream.write_all(switching(seen).as_bytes());
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        Then::Close
    });
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let alice = door.gateway.login("alice");
    let mut client = door.connect();
    opened(&door, &mut client, 1, &alice);
    let body = format!(r#"{{"refresh_token":"{}"}}"#, alice.refresh);
    door.gateway.post_json("/auth/logout", &[], &body).expect(200);
    assert_eq!(client.until(RST_STREAM).stream, 1);
}

#[test]
fn a_client_that_resets_its_tunnel_takes_the_upstreams_side_along() {
    let (door, told) = house("");
    let alice = door.gateway.login("alice");
    let mut client = door.connect();
    for stream in [1, 3] {
        opened(&door, &mut client, stream, &alice);
        echoes(&mut client, stream, b"x");
    }
    client.send(frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()));
    assert_eq!(ended(&told), Err(ErrorKind::ConnectionReset));
    echoes(&mut client, 3, b"y");
    drop(client);
    assert_eq!(ended(&told), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_reset_that_comes_along_with_the_last_bytes_is_no_end() {
    let (tell, told) = channel();
    // It answers nothing: what writes would learn of the reset in the place of what reads.
    let upstream = Upstream::scripted(move |seen, stream| {
        let _ = stream.write_all(switching(seen).as_bytes());
        let end = std::iter::repeat_with(|| stream.read(&mut [0; 8]))
            .find(|read| !matches!(read, Ok(1..)));
        let _ = tell.send(end.unwrap());
        Then::Close
    });
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    for stream in (1..40).step_by(2) {
        let asked = asking(&door, "/public/ws", &[]);
        assert_eq!(open(&mut client, stream, &asked), Told::Status(200));
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        client.send([frame(DATA, 0, stream, b"x"), reset].concat());
        assert_eq!(ended(&told), Err(ErrorKind::ConnectionReset), "{stream}");
    }
}

#[test]
fn an_upstream_that_breaks_off_resets_its_tunnels_stream() {
    let upstream = Upstream::scripted(|seen, stream| {
        let _ = stream.write_all(switching(seen).as_bytes());
        let _ = stream.read(&mut [0; 1]);
        let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        Then::Close
    });
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    assert_eq!(open(&mut client, 1, &asking(&door, "/public/ws", &[])), Told::Status(200));
    client.send(frame(DATA, 0, 1, b"x"));
    assert_eq!(client.told(), Told::Reset(CANCEL));
}

#[test]
fn silent_tunnels_by_connect_end_and_outlast_the_time_out_of_their_connection() {
    let (upstream, _) = echo();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         timeouts = {{ header = \"4s\", idle = \"4s\" }}\n\
         [upstreams.app]\nservers = [\"{}\"]\ntimeouts = {{ idle = \"9s\" }}\n\
         [[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"app\"\n",
        upstream.url()
    ));
    let door = Door { gateway, upstream };
    let mut client = door.connect();
    let begun = Instant::now();
    assert_eq!(open(&mut client, 1, &asking(&door, "/ws", &[])), Told::Status(200));
    loop {
        let frame = client.next().expect("the connection lasts");
        match frame.kind {
            PING if frame.flags & ACK == 0 => client.send(pong(&frame.payload)),
            RST_STREAM => break,
            GOAWAY => panic!("{frame:?}"),
            _ => {}
        }
    }
    assert!(begun.elapsed().as_secs() >= 9, "{:?}", begun.elapsed());
}

#[test]
fn a_tunnel_by_connect_goes_on_in_a_drain() {
    let (mut door, told) = house("timeouts = { drain = \"100s\" }");
    let alice = door.gateway.login("alice");
    let mut client = door.connect();
    opened(&door, &mut client, 1, &alice);
    let stopping = std::thread::spawn(move || door.gateway.drain());
    client.until(GOAWAY);
    echoes(&mut client, 1, b"still");
    drop(client);
    assert_eq!(ended(&told), Err(ErrorKind::ConnectionReset));
    stopping.join().unwrap();
}

#[test]
fn a_tunnel_by_connect_is_broken_off_at_the_end_of_a_drain() {
    let (mut door, told) = house("timeouts = { drain = \"1s\" }");
    let alice = door.gateway.login("alice");
    let mut client = door.connect();
    opened(&door, &mut client, 1, &alice);
    door.gateway.drain();
    assert_eq!(ended(&told), Err(ErrorKind::ConnectionReset));
    let is_clean = std::iter::from_fn(|| client.next())
        .any(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
    assert!(!is_clean, "what was broken off is not to look like an end");
}
