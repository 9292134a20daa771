//! A proxy that comes by a Unix socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::{Account, Gateway, House, Upstream, routes};

fn listening(upstream: &Upstream, more: &str) -> Gateway {
    let server = format!(
        r#"
[server]
listen = ["127.0.0.1:0", "unix:FOLDER/gate.sock"]
public_url = "http://localhost:8080"
data_dir = "FOLDER/data"
admin = "off"
workers = 2
trusted_proxies = ["unix"]
{more}
"#
    );
    Gateway::start(&(server + &routes(&upstream.url())))
}

/// Sends bytes by the socket and reads until it closes.
fn ask(path: &Path, bytes: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("connects");
    stream.write_all(bytes.as_bytes()).expect("writes");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(headers: &str) -> String {
    format!("GET /public/x HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n{headers}\r\n")
}

#[test]
fn a_proxy_by_a_unix_socket_is_heard_and_one_that_says_nothing_is_nobody() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "max_connections_per_ip = 1");
    let socket = gateway.folder().join("gate.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let _held = UnixStream::connect(&socket).unwrap();
    for (headers, told) in [
        ("X-Forwarded-For: 203.0.113.7\r\n", Some("203.0.113.7")),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Real-IP: 6.6.6.6\r\n", Some("203.0.113.7")),
        ("X-Forwarded-For: unknown\r\n", None),
        ("", None),
    ] {
        let answer = ask(&socket, &get(headers));
        assert!(answer.starts_with("HTTP/1.1 200"), "{headers} {answer}");
        assert_eq!(upstream.last().header("x-forwarded-for"), told, "{headers}");
        assert_eq!(upstream.last().header("x-real-ip"), told, "{headers}");
    }
    assert!(gateway.access_log().contains(r#""client":"0.0.0.0""#), "{}", gateway.access_log());
    let forged = [("Host", "localhost:8080"), ("X-Forwarded-For", "203.0.113.7")];
    let answer = gateway.connect().ask(crate::support::request("GET /public/x", &forged, ""));
    answer.expect(200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"), "by TCP");
}

#[test]
fn a_unix_socket_serves_many_requests_and_is_parked_in_between() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "timeouts = { idle = \"2s\" }");
    let mut stream = UnixStream::connect(gateway.folder().join("gate.sock")).unwrap();
    let asked = get("X-Forwarded-For: 203.0.113.7\r\n").replace("Connection: close\r\n", "");
    for _ in 0..2 {
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed when it was silent for long");
    assert_eq!(rest, b"");
}

#[test]
fn a_preamble_is_read_by_a_unix_socket_too() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "client_ip = \"proxy-protocol\"");
    let socket = gateway.folder().join("gate.sock");
    assert_eq!(ask(&socket, &get("")), "", "closed without an answer");
    let answer = ask(&socket, &format!("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n{}", get("")));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(upstream.only().header("x-forwarded-for"), Some("203.0.113.7"));
}

#[test]
fn two_gateways_do_not_share_a_socket_and_none_is_left_behind() {
    let upstream = Upstream::hello();
    let mut gateway = listening(&upstream, "");
    let socket = gateway.folder().join("gate.sock");
    let toml = format!(
        "[server]\nlisten = \"unix:{}\"\npublic_url = \"http://localhost:8080\"\n\
         trusted_proxies = \"unix\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\n",
        socket.display()
    );
    let second = House::with_file(Account::Own, &toml);
    second.refusal().tells(&["another process listens there", "server.listen"]);
    assert!(ask(&socket, &get("")).starts_with("HTTP/1.1 200"), "the first one goes on");
    gateway.stop();
    assert!(!socket.exists());
    let mut only = second.start();
    assert!(socket.exists());
    only.kill();
    assert!(socket.exists(), "killed, it could not tidy up");
    let again = second.start();
    assert!(ask(&socket, &get("")).starts_with("HTTP/1.1 404"), "no route there");
    again.stop();
}
