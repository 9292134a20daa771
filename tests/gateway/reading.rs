//! What is refused before it is matched, byte for byte (`docs/http.md`): each refusal over a raw
//! socket, and each leaves nothing for an upstream.

use crate::support::frames::*;
use crate::support::{Answer, Gateway, Upstream};

struct Door {
    gateway: Gateway,
    upstream: Upstream,
}

impl Door {
    fn open() -> Self {
        let upstream = Upstream::hello();
        let gateway = Gateway::before(&upstream.url());
        Self { gateway, upstream }
    }

    fn open_to_all() -> Self {
        let upstream = Upstream::hello();
        let gateway = Gateway::start(&format!(
            "[[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"{}\"\n",
            upstream.url()
        ));
        Self { gateway, upstream }
    }

    /// Sends bytes (HOST stands for the gateway's own) and reads the answer; None: closed.
    fn send(&self, bytes: &str) -> (Option<Answer>, bool) {
        let mut client = self.gateway.connect();
        client.send(bytes.replace("HOST", &self.gateway.host()));
        let answer = client.answer();
        let closed = answer.as_ref().is_none_or(|answer| {
            answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
                && client.is_closed()
        });
        (answer, closed)
    }

    #[track_caller]
    fn refuses(&self, status: u16, bytes: &str) {
        let (answer, _) = self.send(bytes);
        let got = answer.as_ref().map(|answer| answer.status);
        assert_eq!(got, Some(status), "{bytes:?} got {answer:?}");
        assert_eq!(self.upstream.seen().len(), 0, "{bytes:?} reached the upstream");
    }

    /// Refused with 400, and the connection ends: what follows cannot be trusted.
    #[track_caller]
    fn refuses_and_closes(&self, bytes: &str) {
        let (answer, closed) = self.send(bytes);
        let status = answer.as_ref().map(|answer| answer.status);
        assert_eq!(status, Some(400), "{bytes:?} got {answer:?}");
        assert!(closed, "{bytes:?} left the connection open");
        assert_eq!(self.upstream.seen().len(), 0, "{bytes:?} reached the upstream");
    }
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    let door = Door::open();
    for headers in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +3",
        "Content-Length: 003",
        "Content-Length: 3, 3",
        "Content-Length: 0x3",
        "Content-Length: -1",
        "Content-Length: ",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \u{b}chunked",
        "Content_Length: 3",
        "Transfer_Encoding: chunked",
        "Content-Length : 3",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\r\n : chunked",
        "X: a\r\n b",
        "X: a\rb",
        "X: a\0b",
        ": empty",
        "X y: z",
        "X[: z",
        " X: y",
    ] {
        let bytes = format!("POST /public/x HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n\r\nabc");
        door.refuses_and_closes(&bytes);
    }
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    let door = Door::open();
    door.refuses_and_closes(
        "POST /public/x HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
}

#[test]
fn both_framings_at_once_leave_no_second_request() {
    let door = Door::open();
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 44\r\nTransfer-Encoding: chunked",
    ] {
        let smuggled = "GET /admin/smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";
        let bytes = format!(
            "POST /public/x HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n\r\n0\r\n\r\n{smuggled}"
        );
        let (answer, _) = door.send(&bytes);
        let mut client = door.gateway.connect();
        client.send(bytes.replace("HOST", &door.gateway.host()));
        let first = client.answer().expect("an answer");
        assert!(client.answer().is_none(), "the connection must end after {first:?}");
        assert!(answer.is_some());
        for seen in door.upstream.seen() {
            assert!(!seen.head.contains("smuggled"), "{seen:?}");
            assert_eq!(seen.all("content-length").len() + seen.all("transfer-encoding").len(), 1);
            assert_eq!(seen.body, b"");
        }
    }
}

#[test]
fn equal_lengths_that_are_repeated_arrive_as_one() {
    let door = Door::open();
    let (answer, _) = door.send(
        "POST /public/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    );
    match answer.map(|answer| answer.status) {
        Some(200) => assert_eq!(door.upstream.only().all("content-length"), ["3"]),
        Some(400) => assert_eq!(door.upstream.seen().len(), 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_that_is_missing_doubled_or_contradicted_is_refused() {
    let door = Door::open();
    for bytes in [
        "GET /public/x HTTP/1.1\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: \r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: user@HOST\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: HOST/x\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost:99999\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: localhost:\u{fffd}\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: HOST,HOST\r\n\r\n",
        "GET http://other.example/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET http://user@HOST/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET ftp://HOST/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ] {
        door.refuses(400, bytes);
    }
}

#[test]
fn an_absolute_target_of_our_own_host_is_forwarded_by_its_path() {
    let door = Door::open();
    let (answer, _) = door.send("GET http://HOST/public/x?q HTTP/1.1\r\nHost: HOST\r\n\r\n");
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(door.upstream.only().line(), "GET /public/x?q");
}

#[test]
fn a_host_of_somebody_else_is_misdirected() {
    let door = Door::open();
    for host in ["evil.example", "localhost", "localhost:1", "localhost.evil.example", "[::2]"] {
        door.refuses(421, &format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        door.refuses(421, &format!("POST /auth/login HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    let (answer, _) = door.send("GET /auth/ping HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[test]
fn the_spellings_of_a_loopback_origin_are_all_served() {
    let door = Door::open();
    let port = door.gateway.address().port();
    for host in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "[::1]"] {
        let bytes = format!("GET /public/x HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        assert_eq!(door.send(&bytes).0.unwrap().status, 200, "{host}");
    }
}

#[test]
fn methods_that_are_never_forwarded_are_refused() {
    let door = Door::open();
    for method in ["TRACE", "TRACK", "FROBNICATE"] {
        door.refuses(405, &format!("{method} /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n"));
    }
    door.refuses(405, "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n");
    for method in ["get", "Get", "pOST"] {
        door.refuses(400, &format!("{method} /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n"));
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_own_status() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         max_body = {{ signed_in = \"off\", public = \"1 KiB\" }}\n\
         limits = {{ target = \"1 KiB\", headers = \"8 KiB\", fields = 20 }}\n{routes}"
    ));
    let long = "a".repeat(1100);
    gateway.get(&format!("/public/{long}"), &[]).expect(414);
    gateway.get("/public/x", &[("X", &"a".repeat(9000))]).expect(431);
    let many: Vec<(String, String)> = (0..30).map(|n| (format!("X-{n}"), n.to_string())).collect();
    let many: Vec<_> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    gateway.get("/public/x", &many).expect(431);
    let refused = gateway.ask("POST /public/x", &[], &"a".repeat(1025)).expect(413);
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(refused.member("code"), "payload_too_large");
    assert_eq!(upstream.seen().len(), 0);
    gateway.ask("POST /public/x", &[], &"a".repeat(1024)).expect(200);
    // Chunked: nobody knows before it has come.
    let chunked = [("Transfer-Encoding", "chunked")];
    let body = format!("400\r\n{}\r\n1\r\na\r\n0\r\n\r\n", "a".repeat(1024));
    gateway.ask("POST /public/x", &chunked, &body).expect(413);
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         limits = {{ body_min_rate = \"1 KiB/s after 1s\" }}\n{routes}"
    ));
    let mut client = gateway.connect();
    let host = gateway.host();
    client.send(format!("POST /auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"));
    assert_eq!(client.answer().expect("an answer").status, 408);
    assert!(client.is_closed());
}

#[test]
fn a_late_head_is_closed_without_an_answer() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         timeouts = {{ header = \"1s\", idle = \"75s\" }}\n{routes}"
    ));
    let mut client = gateway.connect();
    client.send("GET /public/x HTTP/1.1\r\nHost:");
    assert!(client.is_closed());
    // Quiet between two requests is another thing, and may last longer.
    let mut client = gateway.connect();
    let host = gateway.host();
    let bytes = format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(client.ask(&bytes).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(client.ask(&bytes).status, 200);
}

#[test]
fn a_fragment_never_reaches_an_upstream_nor_hides_a_path() {
    let door = Door::open();
    for target in ["/public/x#y", "/admin/x#/../public/x", "/public/x?q#y"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n");
        let (answer, _) = door.send(&bytes);
        let status = answer.unwrap().status;
        let public = target.starts_with("/public");
        assert!(
            matches!((status, public), (200 | 400, true) | (400 | 401, false)),
            "{target} {status}"
        );
    }
    for seen in door.upstream.seen() {
        assert!(!seen.line().contains('#') && !seen.line().contains("admin"), "{seen:?}");
    }
}

#[test]
fn a_target_without_a_path_is_forwarded_as_the_root_that_was_decided_on() {
    let door = Door::open_to_all();
    let host = door.gateway.host();
    for (target, line) in [
        (format!("http://{host}#x"), "GET /"),
        (format!("http://{host}#/admin/x"), "GET /"),
        (format!("http://{host}"), "GET /"),
        (format!("http://{host}?"), "GET /?"),
        (format!("http://{host}?x"), "GET /?x"),
        (format!("http://{host}?x#y"), "GET /?x"),
    ] {
        let (answer, _) = door.send(&format!("GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n"));
        assert_eq!(answer.map(|answer| answer.status), Some(200), "{target}");
        assert_eq!(door.upstream.last().line(), line, "{target}");
    }
    let head = |path: &str| {
        block(&[(":method", "GET"), (":scheme", "http"), (":authority", &host), (":path", path)])
    };
    // A second gateway that speaks HTTP/2 to the first.
    let second = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\naccess = \"public\"\npreserve_host = false\nupstream = \"h2c://{host}\"\n"
    ));
    for (path, line) in [("#x", "GET /"), ("#/admin/x", "GET /"), ("?x", "GET /?x")] {
        let mut client = Frames::connect(door.gateway.address());
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(path)));
        // RFC 9113 section 8.3.1: a path begins with a slash.
        let begins_badly = path.starts_with('?');
        let status = if begins_badly { 400 } else { 200 };
        assert_eq!(client.told(), Told::Status(status), "{path}");
        assert!(begins_badly || door.upstream.last().line() == line, "{path}");
        let target = format!("http://{}{path}", second.host());
        let asked = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", second.host());
        second.connect().ask(&asked).expect(200);
        assert_eq!(door.upstream.last().line(), line, "{path} by way of HTTP/2");
    }
}

#[test]
fn bare_line_feeds_do_not_reach_an_upstream() {
    let door = Door::open();
    let (answer, _) = door.send("GET /public/x HTTP/1.1\nHost: HOST\nX: y\n\n");
    if answer.is_some_and(|answer| answer.status == 200) {
        let seen = door.upstream.only();
        assert!(!seen.head.replace("\r\n", "").contains(['\r', '\n']), "{seen:?}");
        assert_eq!(seen.header("x"), Some("y"));
    }
}

#[test]
fn targets_outside_of_printable_ascii_are_refused() {
    let door = Door::open();
    for target in ["/public/ä", "/public/\u{7f}", "/public/a b", "/public/\u{1}", "/public/<x>"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n");
        let (answer, _) = door.send(&bytes);
        assert_eq!(answer.map(|answer| answer.status), Some(400), "{target:?}");
    }
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn two_authorization_headers_are_refused() {
    let door = Door::open();
    door.refuses(
        400,
        "GET /public/x HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    );
}

#[test]
fn a_get_with_a_chunked_body_cannot_smuggle() {
    let door = Door::open();
    let smuggled = "GET /admin/x HTTP/1.1\r\nHost: h\r\n\r\n";
    let bytes = format!(
        "GET /public/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
        smuggled.len()
    );
    let (answer, _) = door.send(&bytes);
    assert!(answer.is_some());
    for seen in door.upstream.seen() {
        assert!(!seen.line().contains("admin"), "{seen:?}");
    }
}
