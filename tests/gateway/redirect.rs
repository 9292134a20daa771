//! The plain listener beside https: where it leads, where it does not, and the challenges of ACME.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Answer, Authority, Client, Gateway, Upstream, routes};

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
}

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::hello();
        let folder = tempfile::tempdir().unwrap();
        Authority::new().issue(folder.path(), "tls", &["apps.example.com"]);
        fs::create_dir_all(folder.path().join("acme/.well-known/acme-challenge")).unwrap();
        let toml = format!(
            r#"[server]
listen = "127.0.0.1:0"
public_url = "https://apps.example.com:8443"
public_origins = ["https://b.example.com"]
data_dir = "FOLDER/data"
admin = "off"
workers = 2
tls = {{ cert = "tls.crt", key = "tls.key" }}
http_redirect = {{ listen = "127.0.0.1:0", acme_webroot = "acme" }}
{}"#,
            routes(&upstream.url())
        );
        Self { gateway: Gateway::start_in(folder, &toml), upstream }
    }

    fn ask(&self, line: &str, host: &str) -> Answer {
        let mut client = Client::connect(self.gateway.redirect_address());
        client.ask(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    fn challenge(&self, name: &str) -> std::path::PathBuf {
        self.gateway.folder().join("acme/.well-known/acme-challenge").join(name)
    }
}

#[test]
fn every_request_is_led_to_the_same_host_by_https() {
    let scene = Scene::new();
    for (line, host, location) in [
        ("GET /", "apps.example.com", "https://apps.example.com:8443/"),
        ("GET /a/b?c=d&e", "Apps.Example.com:80", "https://apps.example.com:8443/a/b?c=d&e"),
        ("POST /auth/login", "b.example.com:8080", "https://b.example.com/auth/login"),
        ("GET /%61//b", "b.example.com.", "https://b.example.com/a//b"),
        ("GET //evil.example/x", "b.example.com", "https://b.example.com//evil.example/x"),
        ("HEAD /x", "b.example.com", "https://b.example.com/x"),
    ] {
        let answer = scene.ask(line, host).expect(308);
        assert_eq!(answer.header("location"), Some(location), "{line} {host}");
        assert_eq!(answer.text(), "");
        assert_eq!(answer.header("strict-transport-security"), None);
    }
    assert_eq!(scene.upstream.seen().len(), 0);
}

#[test]
fn nobody_is_led_to_a_host_that_is_not_served() {
    let scene = Scene::new();
    for host in ["evil.example", "apps.example.com.evil.example", "localhost", "127.0.0.1"] {
        let answer = scene.ask("GET /x", host).expect(421);
        assert_eq!(answer.header("location"), None, "{host}");
    }
    for line in ["GET /a%0d%0aSet-Cookie:x", "GET /../x", "get /x"] {
        scene.ask(line, "b.example.com").expect(400);
    }
    scene.ask("GET /x", "b.example.com@evil.example").expect(400);
}

#[test]
fn a_body_that_is_not_read_ends_the_connection() {
    let scene = Scene::new();
    let mut client = Client::connect(scene.gateway.redirect_address());
    let answer = client
        .ask("POST /x HTTP/1.1\r\nHost: b.example.com\r\nContent-Length: 9\r\n\r\nabc")
        .expect(308);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn challenges_are_laid_out_for_any_host_and_nothing_else_is() {
    let scene = Scene::new();
    fs::write(scene.challenge("tok-en_1"), "tok-en_1.thumb").unwrap();
    fs::write(scene.challenge("large"), vec![b'x'; 5000]).unwrap();
    fs::write(scene.challenge("dotted.txt"), "x").unwrap();
    fs::write(scene.gateway.folder().join("acme/secret"), "x").unwrap();
    fs::create_dir(scene.challenge("folder")).unwrap();
    symlink(scene.gateway.file(), scene.challenge("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.challenge("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let path = "/.well-known/acme-challenge";
    for host in ["b.example.com", "new.example.com"] {
        let answer = scene.ask(&format!("GET {path}/tok-en_1"), host).expect(200);
        assert_eq!(answer.text(), "tok-en_1.thumb");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    for token in [
        "",
        "none",
        "large",
        "dotted.txt",
        "folder",
        "link",
        "pipe",
        "folder/x",
        "%2e%2e%2fsecret",
        "tok-en_1/",
    ] {
        let answer = scene.ask(&format!("GET {path}/{token}"), "b.example.com");
        assert!(matches!(answer.status, 400 | 404), "{token}: {answer:?}");
        assert!(!answer.text().contains("secret"), "{token}: {answer:?}");
    }
    scene.ask(&format!("POST {path}/tok-en_1"), "b.example.com").expect(404);
    scene.ask(&format!("GET {path}/../../secret"), "b.example.com").expect(400);
}
