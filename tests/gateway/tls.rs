//! TLS towards clients: versions, certificates by name, what is agreed on, and what fails.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};

use crate::support::{Authority, Client, Gateway, Secure, Upstream, eventually, request, routes};

/// A gateway with certificates for `apps.example.com` (the first) and `*.wild.example`.
struct Scene {
    authority: Authority,
    gateway: Gateway,
    upstream: Upstream,
    first: rustls::pki_types::CertificateDer<'static>,
    wild: rustls::pki_types::CertificateDer<'static>,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let (authority, upstream) = (Authority::new(), Upstream::hello());
        let folder = tempfile::tempdir().unwrap();
        let first = authority.issue(folder.path(), "first", &["apps.example.com"]);
        let wild = authority.issue(folder.path(), "wild", &["*.wild.example"]);
        let toml = format!(
            r#"[server]
listen = "127.0.0.1:0"
public_url = "https://apps.example.com"
public_origins = ["https://a.wild.example", "https://b.wild.example"]
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
workers = 2
tls = [
    {{ cert = "first.crt", key = "first.key" }},
    {{ cert = "wild.crt", key = "wild.key" }},
]
{more}
{}"#,
            routes(&upstream.url())
        );
        let gateway = Gateway::start_in(folder, &toml);
        Self { authority, gateway, upstream, first, wild }
    }

    fn config(&self) -> Arc<rustls::ClientConfig> {
        self.authority.client(&[&TLS13, &TLS12], &[])
    }

    fn connect(&self, name: &str) -> Secure {
        Secure::connect(self.gateway.address(), &self.config(), name).unwrap()
    }
}

fn get(host: &str) -> String {
    format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[test]
fn both_versions_of_tls_reach_the_upstream_as_https() {
    let scene = Scene::new();
    for version in [&TLS12, &TLS13] {
        let config = scene.authority.client(&[version], &[]);
        let mut client =
            Secure::connect(scene.gateway.address(), &config, "apps.example.com").unwrap();
        client.send(get("apps.example.com"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
        let seen = scene.upstream.last();
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.header("x-forwarded-port"), Some("443"));
        assert_eq!(seen.header("host"), Some("apps.example.com"));
    }
}

#[test]
fn each_name_gets_its_certificate_and_strangers_the_first() {
    let scene = Scene::new();
    assert_eq!(scene.connect("apps.example.com").certificate(), scene.first);
    assert_eq!(scene.connect("a.wild.example").certificate(), scene.wild);
    assert_eq!(scene.connect("b.wild.example").certificate(), scene.wild);
    for stranger in ["wild.example", "a.b.wild.example", "other.example"] {
        let told = Secure::connect(scene.gateway.address(), &scene.config(), stranger);
        let error = told.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("apps.example.com"), "{stranger}: {error}");
    }
}

#[test]
fn a_host_other_than_the_name_of_the_handshake_is_misdirected() {
    let scene = Scene::new();
    for (name, host, status) in [
        ("a.wild.example", "a.wild.example", 200),
        ("a.wild.example", "A.Wild.Example:443", 200),
        ("a.wild.example", "a.wild.example.", 200),
        ("a.wild.example", "b.wild.example", 421),
        ("a.wild.example", "apps.example.com", 421),
        ("a.wild.example", "a.wild.example.evil", 421),
    ] {
        let mut client = scene.connect(name);
        client.send(get(host));
        let answer = client.rest();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name} {host}: {answer}");
    }
    assert_eq!(scene.upstream.seen().len(), 3);
}

#[test]
fn the_protocol_is_agreed_on_in_the_handshake() {
    let scene = Scene::new();
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let config = scene.authority.client(&[&TLS13], offered);
        let client = Secure::connect(scene.gateway.address(), &config, "apps.example.com").unwrap();
        assert_eq!(client.alpn().as_deref(), agreed, "{offered:?}");
    }
    let strange = scene.authority.client(&[&TLS13], &["spdy/3"]);
    assert!(Secure::connect(scene.gateway.address(), &strange, "apps.example.com").is_err());
}

#[test]
fn a_session_is_resumed_whichever_worker_accepts() {
    let scene = Scene::new();
    for version in [&TLS12, &TLS13] {
        let config = scene.authority.client(&[version], &[]);
        let mut resumed = Vec::new();
        for _ in 0..8 {
            let mut client =
                Secure::connect(scene.gateway.address(), &config, "apps.example.com").unwrap();
            client.send(get("apps.example.com"));
            client.rest();
            resumed.push(client.was_resumed());
        }
        assert_eq!(resumed, [&[false][..], &[true; 7]].concat(), "{version:?}");
    }
}

#[test]
fn what_is_no_handshake_reaches_nobody_and_hinders_nobody() {
    let scene = Scene::new();
    let mut waiting = scene.gateway.connect();
    waiting.send([0x16, 3, 1]);
    for bytes in [
        get("apps.example.com").into_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0; 4096],
        vec![0x16, 3, 1, 0xff, 0xff],
        // An alert, and a handshake that is none.
        vec![0x15, 3, 3, 0, 2, 2, 40],
        [&[0x16, 3, 1, 0, 4][..], b"junk"].concat(),
    ] {
        let mut client = scene.gateway.connect();
        client.send(&bytes);
        client.shutdown_write();
        let answer = client.rest();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{bytes:?}: {answer:?}");
    }
    let mut client = scene.connect("apps.example.com");
    client.send(get("apps.example.com"));
    assert!(client.rest().ends_with("hello"));
    assert_eq!(scene.upstream.seen().len(), 1);
    drop(waiting);
}

#[test]
fn a_handshake_that_does_not_end_is_closed() {
    let scene = Scene::with("timeouts = { tls_handshake = \"1s\" }");
    let mut clients: Vec<Client> = (0..3).map(|_| scene.gateway.connect()).collect();
    clients[1].send([0x16]);
    clients[2].send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    for client in &mut clients {
        assert!(client.is_closed());
    }
}

#[test]
fn a_handshake_under_way_takes_a_place() {
    let scene = Scene::with("max_connections_per_ip = 1");
    let ask = request("GET /metrics", &[("Connection", "close")], "");
    let metrics = || Client::connect(scene.gateway.admin_address()).ask(&ask).text();
    let shake = || Secure::connect(scene.gateway.address(), &scene.config(), "apps.example.com");
    let mut stalled = scene.gateway.connect();
    stalled.send([0x16]);
    eventually("its place", || {
        metrics()
            .contains(
                "
portcullis_connections 1
",
            )
            .then_some(())
    });
    assert!(shake().is_err(), "the only place is taken");
    drop(stalled);
    let mut client = eventually("a place", || shake().ok());
    client.send(get("apps.example.com"));
    assert!(client.rest().ends_with("hello"));
}

#[test]
fn a_reload_shows_new_certificates_to_newcomers_and_keeps_connections() {
    let scene = Scene::new();
    let mut before = scene.connect("apps.example.com");
    assert_eq!(before.certificate(), scene.first);
    let folder = scene.gateway.folder().to_owned();
    let second = scene.authority.issue(&folder, "first", &["apps.example.com"]);
    scene.gateway.reload().unwrap();
    assert_eq!(scene.connect("apps.example.com").certificate(), second);
    before.send(get("apps.example.com"));
    assert!(before.until("hello").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_under_tls_stays_open_for_the_next_request() {
    let scene = Scene::new();
    let mut client = scene.connect("apps.example.com");
    for _ in 0..3 {
        client.send("GET /public/x HTTP/1.1\r\nHost: apps.example.com\r\n\r\n");
        let answer = client.until("hello");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    assert_eq!(scene.upstream.seen().len(), 3);
}

#[test]
fn a_large_body_passes_under_tls_both_ways() {
    let upstream = Upstream::scripted(|seen, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&seen.body));
        crate::support::Then::KeepOpen
    });
    let mut scene = Scene::new();
    scene.gateway.reconfigure(&scene.upstream.url(), &upstream.url());
    scene.gateway.restart();
    let body: String = (0..300_000).map(|n| format!("{n:08}")).collect();
    let mut client = scene.connect("apps.example.com");
    client.send(format!(
        "POST /public/x HTTP/1.1\r\nHost: apps.example.com\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = client.rest();
    let got = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(got == body, "{} bytes of {}", got.len(), body.len());
}

#[test]
fn browsers_are_told_to_come_by_https_alone_where_it_is_asked_for() {
    for (more, told) in [("", None), ("hsts = \"365d\"", Some("max-age=31536000"))] {
        let scene = Scene::with(more);
        for path in ["/public/x", "/x", "/auth/ping"] {
            let mut client = scene.connect("apps.example.com");
            client.send(get("apps.example.com").replace("/public/x", path));
            let answer = client.rest().to_lowercase();
            let line = answer.lines().find(|line| line.starts_with("strict-transport-security"));
            let value = line.map(|line| line.split_once(": ").unwrap().1);
            assert_eq!(value, told, "{path}: {answer}");
        }
    }
}

#[test]
fn the_end_of_the_first_certificate_is_a_metric() {
    let scene = Scene::new();
    let mut admin = std::net::TcpStream::connect(scene.gateway.admin_address()).unwrap();
    admin
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut metrics = String::new();
    admin.read_to_string(&mut metrics).unwrap();
    // The first of January of 2090.
    let told = "\nportcullis_tls_cert_not_after_seconds 3786912000\n";
    assert!(metrics.contains(told), "{metrics}");
}
