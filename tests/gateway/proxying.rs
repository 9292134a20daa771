//! Bodies and answers on their way, between real sockets (`docs/http.md`).

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::{Gateway, Then, Upstream, request};

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_length_stays_a_length_and_chunks_stay_chunks() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    gateway.ask("POST /public/x", &[], "0123456789").expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("content-length"), Some("10"));
    assert_eq!(
        (seen.header("transfer-encoding"), seen.body.as_slice()),
        (None, &b"0123456789"[..])
    );

    let chunks = "4\r\n0123\r\n6;ext=1\r\n456789\r\n0\r\nRemote-User: admin\r\n\r\n";
    gateway.ask("POST /public/x", &[("Transfer-Encoding", "chunked")], chunks).expect(200);
    let seen = upstream.last();
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert_eq!((seen.header("content-length"), seen.body.as_slice()), (None, &b"0123456789"[..]));

    gateway.ask("POST /public/x", &[("Content-Length", "0")], "").expect(200);
    assert_eq!(upstream.last().header("content-length"), Some("0"));
    gateway.get("/public/x", &[]).expect(200);
    assert_eq!(upstream.last().all("content-length").len(), 0);
    assert_eq!(upstream.last().all("transfer-encoding").len(), 0);
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let upstream = Upstream::scripted(|seen, stream| {
        let answer = match seen.line() {
            "HEAD /public/x" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_owned(),
            "GET /public/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            // RFC 9110 section 8.6 has none of it.
            "HEAD /public/204" => "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n".to_owned(),
            "GET /public/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_owned(),
            _ => ok("body"),
        };
        let _ = stream.write_all(answer.as_bytes());
        Then::KeepOpen
    });
    let gateway = Gateway::before(&upstream.url());
    let host = gateway.host();
    let mut client = gateway.connect();
    let mut ask = |line: &str| client.ask(request(line, &[("Host", &host)], ""));
    for _ in 0..2 {
        let head = ask("HEAD /public/x");
        assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
        assert_eq!(ask("GET /public/204").status, 204);
        let none = ask("HEAD /public/204");
        assert_eq!((none.status, none.header("content-length")), (204, None));
        let not_modified = ask("GET /public/304");
        assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some("\"x\"")));
        assert_eq!(ask("GET /public/y").text(), "body");
    }
}

#[test]
fn what_comes_at_once_goes_on_at_once() {
    // The upstream sends the next event only when the client has got the one before.
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::scripted(move |_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for _ in 0..3 {
            let _ = stream.write_all(b"6\r\ndata\n\n\r\n");
            wait.lock().unwrap().recv().expect("the client got it");
        }
        let _ = stream.write_all(b"0\r\n\r\n");
        Then::KeepOpen
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    client.send(request("GET /public/events", &[("Host", &gateway.host())], ""));
    assert_eq!(client.head().expect("a head").0, 200);
    for _ in 0..3 {
        assert_eq!(client.line().as_deref(), Some("6"));
        assert_eq!(client.line().as_deref(), Some("data\n\n"));
        go.send(()).unwrap();
    }
    assert_eq!(client.line().as_deref(), Some("0"));
}

#[test]
fn an_upload_is_not_kept_in_memory_when_nobody_reads_it() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = raw(move |mut stream| {
        wait.lock().unwrap().recv().expect("the client has tried");
        let mut total = 0;
        let mut buffer = vec![0; 1 << 16];
        while total < 64 << 20 {
            total += stream.read(&mut buffer).expect("the body comes");
        }
        let _ = stream.write_all(ok("done").as_bytes());
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let size = 64 << 20;
    let head = format!(
        "POST /public/x HTTP/1.1\r\nHost: {}\r\nContent-Length: {size}\r\n\r\n",
        gateway.host()
    );
    client.send(head);
    client.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![b'x'; 1 << 16];
    let mut sent = 0_usize;
    let mut stream = client.stream();
    while let Ok(count) = stream.write(&chunk) {
        sent += count;
        assert!(sent < 48 << 20, "{sent} bytes are held somewhere");
    }
    go.send(()).unwrap();
    client.stream().set_write_timeout(None).unwrap();
    while sent < size {
        sent += stream.write(&chunk[..chunk.len().min(size - sent)]).unwrap();
    }
    assert_eq!(client.answer().expect("an answer").text(), "done");
}

#[test]
fn expect_waits_for_the_upstreams_word() {
    let upstream = raw(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.to_lowercase().contains("expect: 100-continue"), "{head}");
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        stream.read_exact(&mut body).expect("the body follows the 100");
        let _ = stream.write_all(ok("got it").as_bytes());
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(request(
        "POST /public/x",
        &[("Host", &gateway.host()), ("Expect", "100-continue"), ("Content-Length", "4")],
        "",
    ));
    assert_eq!(client.head().expect("an interim head").0, 100);
    client.send("body");
    assert_eq!(client.answer().expect("an answer").text(), "got it");
}

#[test]
fn a_refused_expectation_reaches_the_client_without_its_body() {
    let upstream = raw(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(request(
        "POST /public/x",
        &[("Host", &gateway.host()), ("Expect", "100-continue"), ("Content-Length", "1000000")],
        "",
    ));
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let upstream = raw(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(format!(
        "POST /public/x HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\n{}",
        gateway.host(),
        "x".repeat(1000)
    ));
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
}

#[test]
fn an_upstream_that_dies_in_its_answer_is_never_a_clean_end() {
    for head in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let upstream = Upstream::scripted(move |_, stream| {
            let body = if head.starts_with('T') { "5\r\nhello\r\n" } else { "hello" };
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes());
            Then::Close
        });
        let gateway = Gateway::before(&upstream.url());
        let mut client = gateway.connect();
        client.send(request("GET /public/x", &[("Host", &gateway.host())], ""));
        // A reset may overtake the head: nothing at all is no clean end either.
        if let Some((status, _)) = client.head() {
            assert_eq!(status, 200);
        }
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
        assert!(rest.len() < 1000, "{rest:?}");
        // To an HTTP/1.0 client only a reset tells it.
        let mut old = gateway.connect();
        old.send(format!("GET /public/x HTTP/1.0\r\nHost: {}\r\n\r\n", gateway.host()));
        assert!(old.ended_by_reset(), "{head}: a clean end would look complete");
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_a_bad_gateway_that_tells_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = Gateway::before(&format!("http://{address}"));
    let answer = gateway.get("/public/x", &[]).expect(502);
    assert_eq!(answer.member("code"), "bad_gateway");
    assert!(!answer.text().contains(&address.port().to_string()), "{}", answer.text());
    let nowhere = Gateway::before("http://no-such-name.invalid:80");
    nowhere.get("/public/x", &[]).expect(502);
}

#[test]
fn answers_that_are_none_are_a_bad_gateway() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "",
    ] {
        let upstream = Upstream::scripted(move |_, stream| {
            let _ = stream.write_all(answer.as_bytes());
            Then::Close
        });
        let gateway = Gateway::before(&upstream.url());
        let got = gateway.ask("POST /public/x", &[], "x");
        assert_eq!(got.status, 502, "{answer:?}");
    }
}

#[test]
fn surplus_bytes_of_an_upstream_reach_nobody() {
    let upstream = Upstream::answering(ok("first") + &ok("poison"));
    let gateway = Gateway::before(&upstream.url());
    let host = gateway.host();
    let mut client = gateway.connect();
    for _ in 0..5 {
        let answer = client.ask(request("GET /public/x", &[("Host", &host)], ""));
        assert_eq!(answer.text(), "first");
    }
}

#[test]
fn interim_answers_are_not_final_ones() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = Gateway::before(&upstream.url());
    assert_eq!(gateway.get("/public/x", &[]).expect(200).text(), "ok");
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000);
    let upstream = Upstream::scripted(move |_, stream| {
        let _ = stream.write_all(flood.as_bytes());
        Then::Close
    });
    let gateway = Gateway::before(&upstream.url());
    gateway.get("/public/x", &[]).expect(502);
}

#[test]
fn a_connection_that_went_stale_in_the_pool_costs_a_get_nothing() {
    let upstream = Upstream::scripted(|_, stream| {
        let _ = stream.write_all(ok("once").as_bytes());
        Then::Close
    });
    let gateway = Gateway::before(&upstream.url());
    for _ in 0..5 {
        gateway.get("/public/x", &[]).expect(200);
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    let upstream = Upstream::scripted(|seen, stream| {
        if seen.line().starts_with("GET") {
            let _ = stream.write_all(ok("fine").as_bytes());
            return Then::KeepOpen;
        }
        Then::Close
    });
    let gateway = Gateway::before(&upstream.url());
    for _ in 0..3 {
        gateway.get("/public/x", &[]).expect(200);
        gateway.ask("POST /public/x", &[], "once").expect(502);
    }
    let posts = upstream.seen().iter().filter(|seen| seen.line().starts_with("POST")).count();
    assert_eq!(posts, 3);
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let (gone, told) = channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = raw(move |mut stream| {
        read_head(&mut stream);
        let mut byte = [0; 1];
        // Ends when the gateway closes; nothing is ever answered.
        let _ = stream.read(&mut byte);
        gone.lock().unwrap().send(()).unwrap();
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(request("GET /public/x", &[("Host", &gateway.host())], ""));
    std::thread::sleep(Duration::from_millis(100));
    drop(client);
    told.recv_timeout(Duration::from_secs(10)).expect("the upstream's connection was closed");
}

#[test]
fn an_upstream_that_says_nothing_is_given_up() {
    let upstream = raw(|mut stream| {
        read_head(&mut stream);
        let mut byte = [0; 1];
        let _ = stream.read(&mut byte);
    });
    let gateway = Gateway::start(&format!(
        r#"
[upstreams.slow]
servers = ["{upstream}"]
timeouts = {{ response = "300ms" }}
[[routes]]
path = "/public/*"
access = "public"
upstream = "slow"
"#
    ));
    assert_eq!(gateway.get("/public/x", &[]).expect(504).member("code"), "gateway_timeout");
}

#[test]
fn connections_to_an_upstream_are_used_again() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let host = gateway.host();
    let mut client = gateway.connect();
    for _ in 0..20 {
        client.ask(request("GET /public/x", &[("Host", &host)], "")).expect(200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_connection_that_carries_a_login_of_its_own_is_not_used_again() {
    for scheme in ["NTLM abc", "Negotiate abc", "Kerberos abc"] {
        let upstream = Upstream::hello();
        let gateway = Gateway::before(&upstream.url());
        let host = gateway.host();
        let mut client = gateway.connect();
        let bound = [("Host", host.as_str()), ("Authorization", scheme)];
        client.ask(request("GET /public/x", &bound, "")).expect(200);
        client.ask(request("GET /public/x", &[("Host", &host)], "")).expect(200);
        assert_eq!(upstream.connections(), 2, "{scheme}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::scripted(|seen, stream| {
        let _ = stream.write_all(ok(seen.line()).as_bytes());
        Then::KeepOpen
    });
    let gateway = Gateway::before(&upstream.url());
    let host = gateway.host();
    let mut client = gateway.connect();
    let all: String =
        (0..5).map(|n| request(&format!("GET /public/{n}"), &[("Host", &host)], "")).collect();
    client.send(all);
    for n in 0..5 {
        assert_eq!(client.answer().expect("an answer").text(), format!("GET /public/{n}"));
    }
}

#[test]
fn a_refusal_with_an_unread_body_is_read_by_the_client_and_ends_the_connection() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    client.send(format!(
        "POST /x HTTP/1.1\r\nHost: {}\r\nContent-Length: 200000\r\n\r\n{}",
        gateway.host(),
        "x".repeat(200_000)
    ));
    let answer = client.answer().expect("an answer");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(upstream.seen().len(), 0);
}

/// RFC 9112 section 9.6.
#[test]
fn an_answer_that_leaves_a_body_unread_says_that_it_is_the_last() {
    let upstream = raw(|mut stream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(ok("early").as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(head.contains("content-length: 1000"), "{head}");
    });
    let gateway = Gateway::start(&format!(
        "{}[[routes]]\npath = \"/fixed\"\naccess = \"public\"\nrespond = {{ status = 200, body = \"x\" }}\n",
        crate::support::routes(&upstream)
    ));
    for line in ["POST /public/x", "PUT /fixed", "GET /auth/ping", "POST /x", "POST /auth/nothing"]
    {
        let mut client = gateway.connect();
        let fields = [("Host", gateway.host()), ("Content-Length", "1000".to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        client.send(request(line, &fields, "") + "half");
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.header("connection"), Some("close"), "{line}: {answer:?}");
        assert!(client.is_closed(), "{line}");
    }
}

#[test]
fn an_answer_to_a_request_that_was_read_leaves_the_connection_open() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    let host = gateway.host();
    let chunked = [("Host", host.as_str()), ("Transfer-Encoding", "chunked")];
    for asked in [
        request("POST /public/x", &[("Host", &host), ("Content-Length", "4")], "body"),
        request("POST /public/x", &chunked, "4\r\nbody\r\n0\r\n\r\n"),
        request("GET /auth/ping", &[("Host", &host)], ""),
        request("GET /x", &[("Host", &host)], ""),
    ] {
        assert_eq!(client.ask(&asked).header("connection"), None, "{asked}");
    }
}

/// The upstream answers what it has read so far, and then the rest.
#[test]
fn an_answer_that_begins_before_its_request_ends_passes_whole() {
    let upstream = raw(|mut stream| {
        let read = |stream: &mut std::net::TcpStream| {
            let mut bytes = [0; 3];
            stream.read_exact(&mut bytes).expect("the rest of the body comes");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        read_head(&mut stream);
        let first = read(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
        let _ = stream.write_all(format!("{head}{first}").as_bytes());
        let second = read(&mut stream);
        let _ = stream.write_all(second.as_bytes());
    });
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let fields = [("Host", &*gateway.host()), ("Content-Length", "6")];
    client.send(request("POST /public/x", &fields, "") + "abc");
    let (status, headers) = client.head().expect("the head comes");
    assert_eq!(status, 200);
    assert!(headers.iter().any(|(name, value)| name == "connection" && value == "close"));
    client.send("def");
    assert_eq!(client.rest(), b"abcdef");
}

/// An upstream whose one connection after another is handled by hand.
fn raw(handle: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an upstream binds");
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            handle(stream);
        }
    });
    format!("http://{address}")
}

fn read_head(stream: &mut std::net::TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
