//! Applications that speak HTTP/2 (`h2c://`, and `https://` where they agree to it).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, server};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Gateway, eventually};

/// An application that answers everything with the path that it was asked for.
pub struct Shared {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Shared {
    pub fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(listen(listener, tls, seen));
        });
        Self { address, heads }
    }

    fn gateway(&self, scheme: &str, more: &str) -> Gateway {
        let address = self.address;
        Gateway::start(&format!(
            r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
[upstreams.app]
servers = ["{scheme}://{address}"]
{more}
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/public/*"
access = "public"
upstream = "app"
"#
        ))
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn listen(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, &seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &seen).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Mutex<Vec<String>>) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        answer(&request, respond, seen);
    }
}

fn answer(
    request: &Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: &Mutex<Vec<String>>,
) {
    let path = request.uri().path().to_owned();
    seen.lock().unwrap().push(format!("{} {:?}", request.uri(), request.headers()));
    let answer = Response::builder().status(if path == "/ill" { 500 } else { 200 });
    let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::from(path), true).unwrap();
}

pub fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["app.internal".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

const UNVERIFIED: &str = "tls = { verify = \"off\" }";

#[test]
fn an_application_is_asked_by_http_2_with_all_that_it_is_told_elsewhere() {
    for (scheme, tls, more) in [("h2c", None, ""), ("https", Some(acceptor()), UNVERIFIED)] {
        let app = Shared::start(tls);
        let gateway = app.gateway(scheme, more);
        let access = gateway.login("alice").access;
        for _ in 0..3 {
            assert_eq!(gateway.get_as("/who?x=1", &access).expect(200).text(), "/who");
        }
        let told = app.heads().pop().expect("it was asked");
        let spoken = if scheme == "h2c" { "http" } else { "https" };
        assert!(told.starts_with(&format!("{spoken}://{}/who?x=1 ", gateway.host())), "{told}");
        assert!(told.contains("\"remote-user\": \"alice\""), "{told}");
        assert!(!told.contains(&access) && !told.contains("\"host\""), "{told}");
        gateway.get("/who", &[]).expect(401);
    }
}

#[test]
fn its_health_is_asked_by_http_2_too() {
    for (scheme, tls, more) in [("h2c", None, ""), ("https", Some(acceptor()), UNVERIFIED)] {
        for (path, status) in [("/well", 200), ("/ill", 503)] {
            let app = Shared::start(tls.clone());
            let check = format!("health = {{ path = \"{path}\", every = \"100ms\" }}\n{more}");
            let gateway = app.gateway(scheme, &check);
            eventually("it was checked", || {
                app.heads().iter().any(|head| head.contains("portcullis-health")).then_some(())
            });
            eventually("the check counts", || {
                (gateway.get("/public/x", &[]).status == status).then_some(())
            });
        }
    }
}

#[test]
fn an_application_that_does_not_speak_http_2_is_a_502() {
    let plain = crate::support::Upstream::hello();
    let app = Shared { address: plain.address(), heads: Arc::default() };
    let gateway = app.gateway("h2c", "");
    assert_eq!(gateway.get("/public/x", &[]).expect(502).member("code"), "bad_gateway");
}
