//! HTTP/2 from clients, held to RFC 9113 section by section, frame by frame; and what reaches the
//! upstream of it.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::groups::metrics;
use crate::support::frames::*;
use crate::support::{Gateway, Then, Upstream, eventually, routes};

pub struct Door {
    pub gateway: Gateway,
    pub upstream: Upstream,
}

impl Door {
    fn open() -> Self {
        let upstream = Upstream::hello();
        Self { gateway: Gateway::before(&upstream.url()), upstream }
    }

    pub fn connect(&self) -> Frames {
        Frames::connect(self.gateway.address())
    }

    fn host(&self) -> String {
        self.gateway.host()
    }

    /// The pseudo-header fields of a request and what follows them.
    pub fn get(&self, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let host = self.host();
        let mut all =
            vec![(":method", "GET"), (":scheme", "http"), (":authority", &host), (":path", path)];
        all.extend(fields);
        block(&all)
    }

    pub fn ask(&self, block: &[u8]) -> Told {
        let mut client = self.connect();
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block));
        client.told()
    }
}

const NO_ERROR: u32 = 0;
pub const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION: u32 = 9;

#[test]
fn a_request_passes_by_prior_knowledge() {
    let door = Door::open();
    let mut client = door.connect();
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x?q", &[])));
    assert_eq!(client.told(), Told::Status(200));
    assert_eq!(client.until(DATA).payload, b"hello");
    let seen = door.upstream.only();
    assert_eq!(seen.line(), "GET /public/x?q");
    assert_eq!(seen.header("host"), Some(door.host().as_str()));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert!(seen.all("transfer-encoding").is_empty() && seen.all("content-length").is_empty());
}

#[test]
fn a_line_of_the_combined_format_tells_the_version_that_was_asked_in() {
    let upstream = Upstream::hello();
    let log = "[log]\nformat = \"combined\"\noutput = \"file:FOLDER/access.log\"\n\
               audit_output = \"file:FOLDER/audit.log\"\n";
    let gateway = Gateway::start(&(log.to_owned() + &routes(&upstream.url())));
    let door = Door { gateway, upstream };
    assert_eq!(door.ask(&door.get("/public/2", &[])), Told::Status(200));
    door.gateway.get("/public/1", &[]).expect(200);
    let lines = eventually("both lines", || {
        Some(door.gateway.access_log()).filter(|log| log.lines().count() == 2)
    });
    for told in ["\"GET /public/2 HTTP/2.0\" 200 ", "\"GET /public/1 HTTP/1.1\" 200 "] {
        assert!(lines.contains(told), "{told}: {lines}");
    }
}

#[test]
fn a_preface_that_comes_in_pieces_is_one_and_a_half_one_is_http_1() {
    let door = Door::open();
    let mut client = Frames::connect_silently(door.gateway.address());
    for byte in PREFACE {
        client.send([*byte]);
    }
    client.send(frame(SETTINGS, 0, 0, &[]));
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x", &[])));
    assert_eq!(client.told(), Told::Status(200));
    for almost in ["PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", "PRI * HTTP/2.1\r\n\r\n", "PR\r\n\r\n"] {
        let mut client = door.gateway.connect();
        client.send(almost);
        let answer = client.answer().map(|answer| answer.status);
        assert!(matches!(answer, Some(400 | 405)), "{almost:?}: {answer:?}");
    }
    let host = door.host();
    for line in ["POST", "PUT", "PROPFIND", "PRI"] {
        let mut client = door.gateway.connect();
        let body = "abc";
        client.send(format!(
            "{line} /public/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\n{body}"
        ));
        let status = client.answer().unwrap().status;
        assert_eq!(status, if line == "PRI" { 405 } else { 200 }, "{line}");
    }
}

/// What breaks the connection, by section of RFC 9113.
#[test]
fn faults_of_framing_end_the_connection_with_their_code() {
    let door = Door::open();
    let get = door.get("/public/x", &[]);
    let open = frame(HEADERS, END_HEADERS, 1, &get);
    let whole = frame(HEADERS, END_STREAM | END_HEADERS, 1, &get);
    let setting = |id: u16, value: u32| {
        frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
    };
    let u32s = |value: u32| value.to_be_bytes();
    let rows: Vec<(&str, Vec<u8>, u32)> = vec![
        ("4.2 a frame over the limit", frame(DATA, 0, 1, &[0; 16_385]), FRAME_SIZE),
        ("4.3 no HPACK", frame(HEADERS, 5, 1, &[0xff; 12]), COMPRESSION),
        ("4.3 an index of nothing", frame(HEADERS, 5, 1, &[0xfe]), COMPRESSION),
        ("4.3 a table too large", frame(HEADERS, 5, 1, &[0x3f, 0xff, 0xff, 0x7f]), COMPRESSION),
        ("5.1 data on an idle stream", frame(DATA, 0, 1, b"x"), PROTOCOL),
        ("5.1 a reset of an idle stream", frame(RST_STREAM, 0, 1, &u32s(8)), PROTOCOL),
        ("5.1 a window of an idle stream", frame(WINDOW_UPDATE, 0, 1, &u32s(8)), PROTOCOL),
        ("5.1.1 an even stream", frame(HEADERS, 5, 2, &get), PROTOCOL),
        ("6.1 data on stream 0", frame(DATA, 0, 0, b"x"), PROTOCOL),
        (
            "6.1 more padding than frame",
            [open.clone(), frame(DATA, PADDED, 1, &[9, 1])].concat(),
            PROTOCOL,
        ),
        ("6.2 headers on stream 0", frame(HEADERS, 5, 0, &get), PROTOCOL),
        ("6.2 more padding than frame", frame(HEADERS, 5 | PADDED, 1, &[200, 1]), PROTOCOL),
        ("6.3 a priority of stream 0", frame(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        ("6.4 a reset of stream 0", frame(RST_STREAM, 0, 0, &u32s(8)), PROTOCOL),
        ("6.4 a short reset", [open, frame(RST_STREAM, 0, 1, &[0; 3])].concat(), FRAME_SIZE),
        ("6.5 settings of a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("6.5 an acknowledgement with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), FRAME_SIZE),
        ("6.5 half a setting", frame(SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE),
        ("6.5.2 half a push", setting(2, 2), PROTOCOL),
        ("6.5.2 a window too large", setting(4, 1 << 31), FLOW_CONTROL),
        ("6.5.2 frames too small", setting(5, 100), PROTOCOL),
        ("6.5.2 frames too large", setting(5, 1 << 24), PROTOCOL),
        ("6.6 a promise of a client", frame(PUSH_PROMISE, 4, 1, &get), PROTOCOL),
        ("6.7 a ping of a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("6.7 a short ping", frame(PING, 0, 0, &[0; 7]), FRAME_SIZE),
        ("6.8 a farewell of a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("6.9 no window", frame(WINDOW_UPDATE, 0, 0, &u32s(0)), PROTOCOL),
        ("6.9 a short window", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), FRAME_SIZE),
        ("6.9.1 a window too large", frame(WINDOW_UPDATE, 0, 0, &u32s(0x7fff_ffff)), FLOW_CONTROL),
        ("6.10 a continuation of nothing", frame(CONTINUATION, 4, 1, &get), PROTOCOL),
        (
            "6.10 something amid a head",
            [frame(HEADERS, 1, 1, &get), frame(PING, 0, 0, &[0; 8])].concat(),
            PROTOCOL,
        ),
        (
            "6.10 another's continuation",
            [frame(HEADERS, 1, 1, &get), frame(CONTINUATION, 4, 3, &[])].concat(),
            PROTOCOL,
        ),
        (
            "5.1 data behind the end",
            [whole, frame(DATA, 0, 1, b"x"), frame(HEADERS, 5, 1, &get)].concat(),
            STREAM_CLOSED,
        ),
    ];
    let mut wrong = Vec::new();
    for (row, bytes, code) in rows {
        let mut client = door.connect();
        client.send(&bytes);
        let mut told = client.told();
        while matches!(told, Told::Status(_)) {
            told = client.told();
        }
        // The library says the general code for some of the special ones (section 7); what counts
        // is that the connection ends.
        if told != Told::GoAway(code) && told != Told::GoAway(PROTOCOL) {
            wrong.push(format!("{row}: {told:?} instead of GOAWAY {code}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What makes a request malformed (section 8.1.1) resets its stream; others on the connection go on.
#[test]
fn a_malformed_request_is_reset_alone_and_reaches_nobody() {
    let door = Door::open();
    let host = door.host();
    let plain =
        [(":method", "GET"), (":scheme", "http"), (":authority", &host), (":path", "/public/x")];
    let without =
        |name: &str| block(&plain.into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>());
    let with = |field: (&'static str, &'static str)| block(&[&plain[..], &[field]].concat());
    let rows = [
        ("8.2.1 a capital", with(("X-A", "b"))),
        ("8.2.1 a blank in a name", with(("x a", "b"))),
        ("8.2.1 a colon in a name", with(("x:a", "b"))),
        ("8.2.1 a line end in a value", with(("x-a", "b\r\nx-b: c"))),
        ("8.2.1 a NUL in a value", with(("x-a", "b\0c"))),
        ("8.2.1 a blank before a value", with(("x-a", " b"))),
        ("8.2.1 a tab before a value", with(("authorization", "\tBearer b"))),
        ("8.2.1 a blank after a value", with(("cookie", "a=b "))),
        ("8.2.1 a value of a blank", with(("x-a", " "))),
        ("8.2.2 connection", with(("connection", "close"))),
        ("8.2.2 keep-alive", with(("keep-alive", "timeout=5"))),
        ("8.2.2 proxy-connection", with(("proxy-connection", "close"))),
        ("8.2.2 transfer-encoding", with(("transfer-encoding", "chunked"))),
        ("8.2.2 upgrade", with(("upgrade", "websocket"))),
        ("8.2.2 te", with(("te", "gzip"))),
        ("8.3 unknown", with((":x", "y"))),
        ("8.3 an answer's", with((":status", "200"))),
        ("8.3 twice", with((":path", "/admin/x"))),
        ("8.3 behind a field", block(&[&plain[..3], &[("x-a", "b"), plain[3]]].concat())),
        ("8.3.1 no method", without(":method")),
        ("8.3.1 no scheme", without(":scheme")),
        ("8.3.1 no path", without(":path")),
        ("8.3.1 an empty path", block(&[&plain[..3], &[(":path", "")]].concat())),
        ("8.3.1 a path of a query", block(&[&plain[..3], &[(":path", "?x")]].concat())),
        ("8.5 a tunnel of an unknown kind", with((":protocol", "x"))),
        ("8.1.1 a length of nothing", with(("content-length", "3"))),
        ("8.1.1 a length that is none", with(("content-length", "x"))),
    ];
    let mut wrong = Vec::new();
    for (row, head) in rows {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head));
        let told = client.told();
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &door.get("/auth/ping", &[])));
        let next = client.told();
        let refused = matches!(told, Told::Reset(PROTOCOL) | Told::Status(400));
        let broken = told == Told::GoAway(PROTOCOL);
        if !(broken || refused && next == Told::Status(200)) {
            wrong.push(format!("{row}: {told:?}, then {next:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn one_host_and_only_methods_that_are_forwarded() {
    let door = Door::open();
    let host = door.host();
    let head = |method: &str, authority: Option<&str>, fields: &[(&str, &str)]| {
        let mut all = vec![(":method", method), (":scheme", "http"), (":path", "/public/x")];
        all.extend(authority.map(|authority| (":authority", authority)));
        all.extend(fields);
        block(&all)
    };
    let userinfo = format!("user@{host}");
    for (head, status) in [
        (head("GET", None, &[("host", &host)]), 200),
        (head("GET", Some(&host), &[("host", &host)]), 200),
        (head("GET", Some(&host), &[("host", "other.example")]), 400),
        (head("GET", Some(&host), &[("host", &host), ("host", &host)]), 400),
        (head("GET", None, &[]), 400),
        (head("GET", Some(&userinfo), &[]), 400),
        (head("GET", Some("other.example"), &[]), 421),
        (head("TRACE", Some(&host), &[]), 405),
        (head("get", Some(&host), &[]), 400),
        (block(&[(":method", "CONNECT"), (":authority", &host)]), 405),
        (door.get("/public/%00", &[]), 400),
        (door.get("/admin/x", &[]), 401),
    ] {
        assert_eq!(door.ask(&head), Told::Status(status), "{}", String::from_utf8_lossy(&head));
    }
    assert_eq!(door.upstream.seen().len(), 2);
}

#[test]
fn cookies_in_pieces_are_read_and_forwarded_as_one_line() {
    let door = Door::open();
    let login = door.gateway.login_by_cookie("alice");
    let ours = login.cookie_header();
    let mut fields: Vec<(&str, &str)> = vec![("cookie", "theme=dark")];
    fields.extend(ours.split("; ").map(|pair| ("cookie", pair)));
    fields.push(("cookie", "lang=de"));
    fields.push(("sec-fetch-site", "same-origin"));
    assert_eq!(door.ask(&door.get("/x", &fields)), Told::Status(200));
    let seen = door.upstream.only();
    assert_eq!(seen.all("cookie"), ["theme=dark; lang=de"]);
    assert_eq!(seen.header("remote-user"), Some("alice"));
}

#[test]
fn a_body_is_framed_anew_and_bounded() {
    let door = Door::open();
    let host = door.host();
    let post = |fields: &[(&str, &str)]| {
        let plain = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", &host),
            (":path", "/public/x"),
        ];
        block(&[&plain[..], fields].concat())
    };
    for (fields, framing) in
        [(&[][..], "transfer-encoding"), (&[("content-length", "6")], "content-length")]
    {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_HEADERS, 1, &post(fields)));
        client.send(frame(DATA, PADDED, 1, b"\x02abc\0\0"));
        client.send(frame(DATA, END_STREAM, 1, b"def"));
        assert_eq!(client.told(), Told::Status(200));
        let seen = door.upstream.last();
        assert_eq!(seen.body, b"abcdef");
        let framings = [seen.all("transfer-encoding").len(), seen.all("content-length").len()];
        assert_eq!((framings.iter().sum::<usize>(), seen.all(framing).len()), (1, 1), "{seen:?}");
    }
    // A GET whose body could be lost on the way is refused, as over HTTP/1.1.
    let mut client = door.connect();
    client.send(frame(HEADERS, END_HEADERS, 1, &door.get("/public/x", &[])));
    client.send(frame(DATA, END_STREAM, 1, b"x"));
    assert_eq!(client.told(), Told::Status(400));
    // More or less than was told: reset, and the upstream has no whole request.
    for (length, flags) in [("2", END_STREAM), ("9", END_STREAM), ("2", 0), ("0", END_STREAM)] {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_HEADERS, 1, &post(&[("content-length", length)])));
        client.send(frame(DATA, flags, 1, b"abc"));
        assert_eq!(client.told(), Told::Reset(PROTOCOL), "{length} {flags}");
    }
    assert_eq!(door.upstream.seen().len(), 2);
}

/// RFC 9110 section 9.3.2; RFC 9113 section 8.1.1 lets no DATA follow.
#[test]
fn an_answer_of_our_own_to_head_tells_its_length_and_has_no_body() {
    let door = Door::open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(door.gateway.address()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let mut ask = async |method: &str, path: &str| {
            let uri = format!("http://{}{path}", door.host());
            let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
            client.send_request(request, true).unwrap().0.await.unwrap()
        };
        for path in ["/auth/login", "/auth/ping", "/auth/nothing", "/x"] {
            let whole = ask("GET", path).await;
            let head = ask("HEAD", path).await;
            assert_eq!(head.status(), whole.status(), "{path}");
            assert!(head.body().is_end_stream(), "{path}");
            let length =
                |answer: &http::Response<_>| answer.headers().get("content-length").cloned();
            assert!(length(&whole).is_some(), "{path}");
            assert_eq!(length(&head), length(&whole), "{path}");
        }
    });
}

/// RFC 9113 section 8.1: a request ends by END_STREAM alone.
#[test]
fn an_upload_that_is_reset_whatever_the_reason_is_not_whole() {
    const CANCEL: u32 = 8;
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\n\
         admin = \"127.0.0.1:0\"\nworkers = 1\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    let host = door.host();
    let fields =
        [(":method", "PUT"), (":scheme", "http"), (":authority", &host), (":path", "/public/x")];
    for reason in [NO_ERROR, CANCEL] {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        client.send(frame(DATA, 0, 1, b"half"));
        client.send(frame(RST_STREAM, 0, 1, &reason.to_be_bytes()));
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &door.get("/public/y", &[])));
        assert_eq!(client.told(), Told::Status(200));
    }
    let recorded = "http_request_method=\"PUT\"";
    eventually("both are recorded", || {
        let text = metrics(&door.gateway);
        let counted =
            text.lines().filter(|line| line.contains(recorded) && line.contains("_count"));
        let sum: usize =
            counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum();
        (sum == 2).then_some(())
    });
    let seen = door.upstream.seen();
    assert!(seen.iter().all(|seen| seen.line() == "GET /public/y"), "{seen:?}");
}

/// Some clients say in a frame of its own that nothing follows (RFC 9113 section 8.1).
#[test]
fn an_end_in_a_frame_of_its_own_is_no_body() {
    let door = Door::open();
    let bare = door.get("/public/x", &[]);
    let zero = door.get("/public/x", &[("content-length", "0")]);
    let host = door.host();
    let [options, delete] = ["OPTIONS", "DELETE"].map(|method| {
        let path = (":path", "/public/x");
        block(&[(":method", method), (":scheme", "http"), (":authority", &host), path])
    });
    for head in [&bare, &zero, &options, &delete] {
        for ends in [
            vec![frame(DATA, END_STREAM, 1, b"")],
            vec![
                frame(DATA, 0, 1, b""),
                frame(DATA, PADDED, 1, b"\x02\0\0"),
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[("x-sum", "1")])),
            ],
        ] {
            let mut client = door.connect();
            client.send(frame(HEADERS, END_HEADERS, 1, head));
            ends.iter().for_each(|end| client.send(end));
            assert_eq!(client.told(), Told::Status(200));
            let seen = door.upstream.last();
            assert!(seen.all("transfer-encoding").is_empty() && seen.body.is_empty(), "{seen:?}");
        }
    }
    assert_eq!(door.upstream.seen().len(), 8);
}

/// Whether a body follows is learnt from its first frame, which is no less of it.
#[test]
fn a_body_that_seldom_comes_arrives_from_its_first_byte() {
    let door = Door::open();
    let host = door.host();
    let large: Vec<u8> = (0..600_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let one: Vec<&[u8]> = vec![b"abcde"];
    let bodies: [Vec<&[u8]>; 4] =
        [one, vec![b"abcde", b"fghij"], vec![b"", b"abcde", b""], large.chunks(16_000).collect()];
    for method in ["DELETE", "OPTIONS", "POST", "PROPFIND"] {
        for (pieces, length) in bodies.iter().flat_map(|pieces| [(pieces, false), (pieces, true)]) {
            let whole = pieces.concat();
            let told = whole.len().to_string();
            let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", &host)];
            fields.push((":path", "/public/x"));
            fields.extend(length.then_some(("content-length", told.as_str())));
            let mut client = door.connect();
            client.send(frame(HEADERS, END_HEADERS, 1, &block(&fields)));
            let mut open = i64::from(u16::MAX);
            for (at, piece) in pieces.iter().enumerate() {
                let ends = if at + 1 == pieces.len() { END_STREAM } else { 0 };
                while open < i64::try_from(piece.len()).unwrap() {
                    open += client.window_of(1);
                }
                open -= i64::try_from(piece.len()).unwrap();
                client.send(frame(DATA, ends, 1, piece));
            }
            let row = format!("{method}, {} pieces, a length: {length}", pieces.len());
            assert_eq!(client.told(), Told::Status(200), "{row}");
            let seen = door.upstream.last();
            assert_eq!(seen.line(), format!("{method} /public/x"));
            assert!(seen.body == whole, "{row}: {} of {} bytes", seen.body.len(), whole.len());
            let framing = if length { "content-length" } else { "transfer-encoding" };
            assert_eq!(seen.all(framing).len(), 1, "{row}: {seen:?}");
        }
    }
    assert_eq!(door.upstream.seen().len(), 32);
}

#[test]
fn the_first_frame_of_a_body_counts_against_its_limit() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\naccess = \"public\"\nmax_body = \"1 KiB\"\nupstream = \"{}\"\n",
        upstream.url()
    ));
    let door = Door { gateway, upstream };
    let host = door.host();
    let head = block(&[
        (":method", "DELETE"),
        (":scheme", "http"),
        (":authority", &host),
        (":path", "/x"),
    ]);
    for (sizes, status) in [(vec![1024], 200), (vec![1025], 413), (vec![1000, 25], 413)] {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_HEADERS, 1, &head));
        for (at, size) in sizes.iter().enumerate() {
            let ends = if at + 1 == sizes.len() { END_STREAM } else { 0 };
            client.send(frame(DATA, ends, 1, &vec![b'x'; *size]));
        }
        assert_eq!(client.told(), Told::Status(status), "{sizes:?}");
    }
}

#[test]
fn an_end_that_does_not_come_is_waited_for_no_longer_than_a_head() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         timeouts = {{ header = \"1s\", idle = \"60s\" }}\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    let host = door.host();
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", &host)];
    let empty = [(":path", "/public/x"), ("content-length", "0")];
    for head in [
        door.get("/public/x", &[]),
        door.get("/public/x", &[("content-length", "0")]),
        block(&[&post[..], &empty].concat()),
    ] {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_HEADERS, 1, &head));
        assert_eq!(client.told(), Told::Status(400));
    }
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn a_request_that_ends_with_its_connection_before_its_end_comes_is_counted() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\n\
         admin = \"127.0.0.1:0\"\nworkers = 1\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    let counted = |count: usize| {
        metrics(&door.gateway).contains(&format!("\nportcullis_parse_errors_total {count}\n"))
    };
    let begun = || {
        let mut client = door.connect();
        client.send(frame(HEADERS, END_HEADERS, 1, &door.get("/public/x", &[])));
        client.send(frame(PING, 0, 0, &[0; 8]));
        while client.until(PING).flags & ACK == 0 {}
        client
    };
    // One that is whole, or reset alone, has a record.
    let mut client = begun();
    client.send(frame(DATA, END_STREAM, 1, b""));
    assert_eq!(client.told(), Told::Status(200));
    let mut client = begun();
    client.send(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    let refused = "http_response_status_code=\"400\"";
    eventually("it is recorded", || metrics(&door.gateway).contains(refused).then_some(()));
    drop(begun());
    eventually("it is counted", || counted(1).then_some(()));
}

#[test]
fn an_upload_that_nobody_reads_is_answered_and_its_stream_stopped_while_others_go_on() {
    let door = Door::open();
    let host = door.host();
    let begun = [("/x", "POST"), ("/auth/ping", "GET"), ("/auth/nothing", "PUT")].map(|asked| {
        let fields = [(":method", asked.1), (":scheme", "http"), (":authority", &host)];
        let more = [(":path", asked.0), ("content-length", "2000")];
        let (mut client, since) = (door.connect(), Instant::now());
        client.send(frame(HEADERS, END_HEADERS, 1, &block(&[&fields[..], &more].concat())));
        client.send(frame(DATA, 0, 1, &[b'x'; 1000]));
        (client, since)
    });
    for (mut client, since) in begun {
        let answer = client.until(HEADERS);
        let text = String::from_utf8_lossy(&answer.payload).to_lowercase();
        assert!(!text.contains("connection"), "{text}");
        assert_eq!(client.told(), Told::Reset(NO_ERROR));
        // Some clients never look at an answer that comes along with a reset.
        assert!(since.elapsed() >= Duration::from_secs(2), "reset after {:?}", since.elapsed());
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &door.get("/auth/ping", &[])));
        assert_eq!(client.told(), Told::Status(200));
    }
    assert_eq!(door.upstream.seen().len(), 0);
}

/// What comes of it is thrown away, and holds up nobody else.
#[test]
fn an_upload_that_goes_on_behind_its_answer_ends_in_peace() {
    let door = Door::open();
    let host = door.host();
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", &host), (":path", "/x")];
    let mut client = door.connect();
    // More of them than fit into the window of the connection.
    for stream in (1..40).step_by(2) {
        client.send(frame(HEADERS, END_HEADERS, stream, &block(&fields)));
        assert_eq!(client.until(HEADERS).stream, stream);
        for _ in 0..15 {
            client.send(frame(DATA, 0, stream, &[b'x'; 16_384]));
        }
        client.send(frame(DATA, END_STREAM, stream, b"x"));
    }
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 41, &door.get("/auth/ping", &[])));
    assert_eq!(client.until(HEADERS).stream, 41);
}

/// RFC 9113 section 5.2.2: what one stream has filled and nobody reads is missing to all others.
#[test]
fn a_few_uploads_that_nobody_reads_leave_room_for_others() {
    const MOST_OF_A_STREAM: [u8; 2] = [0, 4];
    let door = Door::open();
    let mut client = door.connect();
    let settings = client.until(SETTINGS).payload;
    let told = settings.chunks(6).find(|setting| setting[..2] == MOST_OF_A_STREAM).unwrap();
    let stream = i64::from(u32::from_be_bytes(told[2..].try_into().unwrap()));
    let connection = i64::from(u16::MAX) + client.window_of(0);
    assert!(connection >= 8 * stream, "{connection} of {stream}");
    assert!(connection <= 1 << 20, "a connection may hold {connection} bytes");
}

#[test]
fn an_upstream_that_dies_amid_its_answer_resets_the_stream() {
    let upstream = Upstream::scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        Then::Close
    });
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x", &[])));
    // The reset may overtake the head.
    let told = std::iter::repeat_with(|| client.told()).find(|told| *told != Told::Status(200));
    assert!(matches!(told, Some(Told::Reset(code)) if code != NO_ERROR), "{told:?}");
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &door.get("/auth/ping", &[])));
    assert_eq!(client.told(), Told::Status(200));
}

#[test]
fn trailers_of_an_answer_pass() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 42\r\nset-cookie: a=b\r\n\r\n",
    );
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    let head = door.get("/public/x", &[("te", "trailers")]);
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head));
    client.until(HEADERS);
    let trailers = client.until(HEADERS);
    assert_eq!(trailers.flags & END_STREAM, END_STREAM);
    assert!(!trailers.payload.is_empty());
    assert_eq!(door.upstream.only().header("te"), Some("trailers"));
}

#[test]
fn nothing_of_one_connection_reaches_an_answer_of_http_2() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-a\r\nKeep-Alive: timeout=5\r\nX-A: b\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    );
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let headers = runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(door.gateway.address()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://{}/public/x", door.host());
        let request = http::Request::get(uri).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        answer.await.unwrap().headers().clone()
    });
    for name in ["connection", "keep-alive", "x-a", "upgrade", "transfer-encoding"] {
        assert!(!headers.contains_key(name), "{headers:?}");
    }
    assert_eq!(headers["content-length"], "5");
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_served() {
    let (upstream, gateway) = hanging();
    let door = Door { gateway, upstream };
    let mut client = door.connect();
    for stream in (1..=201).step_by(2) {
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &door.get("/public/x", &[])));
    }
    let refused = client.until(RST_STREAM);
    assert_eq!((refused.stream, &refused.payload[..]), (201, &REFUSED_STREAM.to_be_bytes()[..]));
    eventually("a hundred are served", || (door.upstream.seen().len() == 100).then_some(()));
}

/// An upstream that never answers, behind a gateway.
pub fn hanging() -> (Upstream, Gateway) {
    let upstream = Upstream::scripted(|_, _| {
        loop {
            std::thread::park();
        }
    });
    let gateway = Gateway::before(&upstream.url());
    (upstream, gateway)
}

#[test]
fn a_client_that_resets_cancels_its_request() {
    let upstream = Upstream::scripted(|_, stream| {
        // Read to the end: the gateway closes when the request is cancelled.
        let _ = std::io::copy(stream, &mut std::io::sink());
        Then::Close
    });
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x", &[])));
    eventually("the request arrives", || (door.upstream.seen().len() == 1).then_some(()));
    client.send(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &door.get("/auth/ping", &[])));
    assert_eq!(client.told(), Told::Status(200));
    eventually("it is written down as given up", || {
        door.gateway.access_log().contains("/public/x").then_some(())
    });
}

#[test]
fn a_head_that_is_too_large_is_told_so() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         limits = {{ target = \"1 KiB\", headers = \"8 KiB\", fields = 20 }}\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    let long = "a".repeat(1100);
    assert_eq!(door.ask(&door.get(&format!("/public/{long}"), &[])), Told::Status(414));
    assert_eq!(door.ask(&door.get("/public/x", &[("x-a", &"a".repeat(9000))])), Told::Status(431));
    let names: Vec<String> = (0..30).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(door.ask(&door.get("/public/x", &many)), Told::Status(431));
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn a_client_that_takes_nothing_is_reset_and_its_other_streams_go_on() {
    let upstream = Upstream::answering(
        [&b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"[..], &[b'x'; 1_000_000]].concat(),
    );
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         timeouts = {{ idle = \"1s\" }}\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    let mut client = door.connect();
    // No window for any stream, and none is ever given.
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x", &[])));
    assert_eq!(client.told(), Told::Status(200));
    assert!(matches!(client.told(), Told::Reset(_)));
    // Then nothing is in flight, and the connection ends in peace.
    assert_eq!(client.told(), Told::GoAway(NO_ERROR));
    assert!(matches!(client.told(), Told::GoAway(NO_ERROR) | Told::Closed));
}

#[test]
fn a_stream_is_reset_when_its_session_ends_and_the_others_of_its_connection_go_on() {
    let upstream = crate::cutting::streaming();
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let (ends, stays) = (door.gateway.login("alice"), door.gateway.login("alice"));
    let mut client = door.connect();
    for (stream, tokens) in [(1, &ends), (3, &stays)] {
        let bearer = format!("Bearer {}", tokens.access);
        let asked = door.get("/x/events", &[("authorization", &bearer)]);
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &asked));
        assert_eq!(client.told(), Told::Status(200));
        assert_eq!((client.until(DATA).stream), stream);
    }
    let body = format!(r#"{{"refresh_token":"{}"}}"#, ends.refresh);
    door.gateway.post_json("/auth/logout", &[], &body).expect(200);
    let reset = client.until(RST_STREAM);
    assert_eq!(reset.stream, 1, "{reset:?}");
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 5, &door.get("/public/x", &[])));
    let answered = client.until(HEADERS);
    assert_eq!(answered.stream, 5, "the other stream has not been reset meanwhile");
}

#[test]
fn what_an_application_demands_by_426_is_told_over_http_1_alone() {
    let upstream = Upstream::answering(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: IRC/6.9, h2\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
    );
    let door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let answer = door.gateway.get("/public/x", &[]).expect(426);
    assert_eq!(answer.header("upgrade"), Some("IRC/6.9, h2"));
    let options = answer.header("connection").unwrap_or_default().to_lowercase();
    assert!(options.contains("upgrade"), "{options}");
    let mut client = door.connect();
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x", &[])));
    let head = client.until(HEADERS);
    // The name by its Huffman code (RFC 7541 appendix B).
    assert!(!head.payload.windows(5).any(|coded| coded == b"\xb6\xb9\xac\x1c\x85"));
}

#[test]
fn a_client_that_never_asks_is_sent_away() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         timeouts = {{ header = \"1s\", idle = \"1s\" }}\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    let get = door.get("/public/x", &[]);
    for begun in [vec![], frame(PING, 0, 0, &[0; 8]), frame(HEADERS, END_STREAM, 1, &get[..9])] {
        let mut client = door.connect();
        client.send(&begun);
        assert_eq!(client.told(), Told::GoAway(NO_ERROR), "{begun:?}");
        while client.told() != Told::Closed {}
    }
    let mut client = Frames::connect_silently(door.gateway.address());
    client.send(&PREFACE[..9]);
    assert_eq!(client.told(), Told::Closed);
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn a_stop_says_farewell_and_finishes_what_was_begun() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let upstream = Upstream::scripted(move |_, stream| {
        let _ = told.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        Then::KeepOpen
    });
    let mut door = Door { gateway: Gateway::before(&upstream.url()), upstream };
    let mut client = door.connect();
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &door.get("/public/x", &[])));
    eventually("the request arrives", || (door.upstream.seen().len() == 1).then_some(()));
    let stopping = std::thread::spawn(move || {
        door.gateway.drain();
        door
    });
    assert_eq!(client.told(), Told::GoAway(NO_ERROR));
    tell.send(()).unwrap();
    let answer = client.until(DATA);
    assert_eq!(answer.payload, b"done");
    // The farewell is said twice: the second time it names the last stream (section 6.8).
    let ping = frame(PING, ACK, 0, &[0; 8]);
    client.send(ping);
    stopping.join().unwrap();
}
