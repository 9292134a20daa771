//! Applications that are reached by TLS (`[upstreams.NAME]`, `tls`).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::Gateway;

/// An application with a certificate of its own for `app.internal`.
struct Secured {
    address: SocketAddr,
    pem: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Secured {
    fn answering(answer: &'static str) -> Self {
        Self::speaking(&[], answer)
    }

    fn speaking(protocols: &[&str], answer: &'static str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["app.internal".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (config, seen) = (Arc::new(config), Arc::clone(&heads));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (seen, mut stream) = (Arc::clone(&seen), StreamOwned::new(session, stream));
                std::thread::spawn(move || {
                    let mut head = [0; 8192];
                    while let Ok(length @ 1..) = stream.read(&mut head) {
                        let text = String::from_utf8_lossy(&head[..length]).into_owned();
                        seen.lock().unwrap().push(text);
                        if stream.write_all(answer.as_bytes()).is_err() || answer.contains("close")
                        {
                            // Without close_notify, as if somebody had cut it.
                            return;
                        }
                    }
                });
            }
        });
        Self { address, pem: cert.pem(), heads }
    }

    fn gateway(&self, host: &str, tls: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.crt"), &self.pem).unwrap();
        let (port, tls) = (self.address.port(), tls.to_owned());
        let extra = format!(
            r#"
[upstreams.app]
servers = ["https://{host}:{port}"]
{tls}
[[routes]]
path = "/public/*"
access = "public"
upstream = "app"
preserve_host = false
"#
        );
        Gateway::start_in(folder, &extra)
    }

    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";

#[test]
fn an_application_is_reached_by_tls_with_a_certificate_that_is_known() {
    let app = Secured::answering(OK);
    let tls = "tls = { ca = \"app.crt\", server_name = \"app.internal\" }";
    let gateway = app.gateway("127.0.0.1", tls);
    for _ in 0..3 {
        assert_eq!(gateway.get("/public/x", &[]).expect(200).text(), "secret");
    }
    let heads = app.heads.lock().unwrap().clone();
    let host = format!("host: 127.0.0.1:{}\r\n", app.address.port());
    assert!(heads.iter().all(|head| head.contains(&host)), "{heads:?}");
}

#[test]
fn a_websocket_to_a_server_that_agrees_to_http_2_has_a_connection_of_http_1() {
    // The example of RFC 6455 section 1.3.
    let app = Secured::speaking(
        &["h2", "http/1.1"],
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let gateway = app.gateway("127.0.0.1", "tls = { verify = \"off\" }");
    let opening = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    for _ in 0..2 {
        let mut client = gateway.connect();
        client.send(gateway.request("GET /public/ws", &opening, ""));
        assert_eq!(client.head().expect("an answer").0, 101);
        // Which it does not speak, whatever it has agreed to.
        gateway.get("/public/x", &[]).expect(502);
    }
    let heads = app.heads.lock().unwrap().clone();
    let first = |text: &str| heads.iter().filter(|head| head.starts_with(text)).count();
    assert_eq!((first("GET /public/ws HTTP/1.1"), first("PRI * HTTP/2.0")), (2, 2), "{heads:?}");
}

#[test]
fn a_certificate_of_another_name_or_of_nobody_known_ends_the_connection_before_a_byte() {
    let app = Secured::answering(OK);
    let other = Secured::answering(OK);
    // Known, for another name.
    let misnamed = app.gateway("127.0.0.1", "tls = { ca = \"app.crt\" }");
    // The right name, signed by nobody the gateway trusts.
    let stranger = Secured { pem: other.pem, heads: Arc::clone(&app.heads), ..app };
    let unknown =
        stranger.gateway("127.0.0.1", "tls = { ca = \"app.crt\", server_name = \"app.internal\" }");
    for gateway in [misnamed, unknown] {
        let answer = gateway.get("/public/x", &[]).expect(502);
        assert!(!answer.text().to_lowercase().contains("cert"), "{}", answer.text());
    }
    assert_eq!(stranger.requests(), 0);
}

#[test]
fn any_certificate_will_do_where_the_operator_says_so() {
    let app = Secured::answering(OK);
    let gateway = app.gateway("127.0.0.1", "tls = { verify = \"off\" }");
    gateway.get("/public/x", &[]).expect(200);
}

#[test]
fn an_upload_that_finds_out_what_the_server_speaks_is_no_second_one() {
    let app = Secured::answering(OK);
    // One connection for each worker, so that an address may have one unfinished upload.
    let gateway = app.gateway("127.0.0.1", "tls = { verify = \"off\" }\nmax_connections = 2");
    gateway.ask("POST /public/x", &[], "abc").expect(200);
}

#[test]
fn a_server_that_speaks_no_tls_is_not_spoken_to_in_the_clear() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let told = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(OK.as_bytes());
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        got
    });
    let app = Secured { address, pem: String::new(), heads: Arc::default() };
    let gateway = app.gateway("127.0.0.1", "tls = { verify = \"off\" }");
    gateway.get("/public/secret-path", &[]).expect(502);
    drop(gateway);
    let got = told.join().unwrap();
    assert!(!String::from_utf8_lossy(&got).contains("secret-path"), "{got:?}");
}

#[test]
fn an_encrypted_answer_that_is_cut_off_is_never_a_clean_end() {
    let app = Secured::answering("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf");
    let gateway = app.gateway("127.0.0.1", "tls = { verify = \"off\" }");
    let mut client = gateway.connect();
    client.send(gateway.request("GET /public/x", &[], ""));
    // A reset may overtake the head: nothing at all is no clean end either.
    let _ = client.head();
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
}
