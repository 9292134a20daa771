//! What a connection under TLS lives through that a bare one does not.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tests::{Desk, run, settings};
use super::super::{Door, Inherited, Settings, Slots, listen, serve};
use super::*;
use crate::config::Certificate;

/// A certificate that vouches for itself.
fn pair(names: &[&str]) -> (TlsPair, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let certificate =
        Certificate::read(made.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (TlsPair { cert: PathBuf::new(), key: PathBuf::new(), certificate }, made.der().clone())
}

struct House {
    tls: Tls,
    slots: Arc<Slots>,
    address: std::net::SocketAddr,
    roots: RootCertStore,
    _drain: watch::Sender<bool>,
}

impl House {
    fn open(change: impl FnOnce(&mut Settings)) -> Self {
        let (first, certificate) = pair(&["localhost"]);
        let tls = Tls::new(&[first]).unwrap().unwrap();
        let listener = listen(&["127.0.0.1:0".parse().unwrap()], 1).unwrap().remove(0);
        let (drain, draining) = watch::channel(false);
        let slots = Slots::new(100, 100);
        let taken = Arc::clone(&slots);
        let door = Door {
            sockets: listener.sockets,
            inherited: Inherited::default(),
            unix: Vec::new(),
            slots,
            tls: Some(tls.clone()),
            drain: draining,
        };
        let mut settings = settings();
        change(&mut settings);
        tokio::task::spawn_local(serve(door, Rc::new(Desk::default()), settings.into()));
        let mut house = Self {
            tls,
            slots: taken,
            address: listener.address,
            roots: RootCertStore::empty(),
            _drain: drain,
        };
        house.trust(certificate);
        house
    }

    fn trust(&mut self, certificate: CertificateDer<'static>) {
        self.roots.add(certificate).unwrap();
    }

    async fn client(&self) -> Wire {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
        Wire(connected.unwrap())
    }
}

struct Wire(TlsStream<TcpStream>);

impl Wire {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        self.until(&format!("\r\n\r\n{path}")).await;
    }

    async fn until(&mut self, end: &str) {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = self.0.read_u8().await;
            read.push(byte.unwrap_or_else(|error| {
                panic!("{error} before {end:?}: {:?}", String::from_utf8_lossy(&read))
            }));
        }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

#[test]
fn a_reload_changes_the_certificate_of_new_connections_and_drops_none() {
    run(async {
        let mut house = House::open(|_| {});
        let mut old = house.client().await;
        old.get("/before").await;
        let (renewed, certificate) = pair(&["localhost"]);
        house.trust(certificate.clone());
        house.tls.reload(&[renewed]);
        let mut new = house.client().await;
        new.get("/new").await;
        old.get("/after").await;
        assert_eq!(new.certificate(), certificate);
        assert_ne!(old.certificate(), certificate);
        house.tls.reload(&[]);
        assert_eq!(house.client().await.certificate(), certificate, "none is no change");
    });
}

#[test]
fn a_silent_connection_under_tls_is_parked_and_serves_again() {
    run(async {
        let house = House::open(|settings| settings.header_timeout = Duration::from_millis(100));
        let mut client = house.client().await;
        client.get("/a").await;
        // Several header time-outs, and ticks, long.
        tokio::time::sleep(Duration::from_millis(350)).await;
        client.send("GET /b HT").await;
        client.send("TP/1.1\r\nHost: localhost\r\n\r\nGET /c").await;
        client.until("\r\n\r\n/b").await;
        client.send(" HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.until("\r\n\r\n/c").await;
    });
}

#[test]
fn a_silent_client_is_told_the_end() {
    run(async {
        let house = House::open(|settings| settings.idle_timeout = Duration::from_millis(100));
        let mut client = house.client().await;
        client.get("/a").await;
        let mut rest = Vec::new();
        // Without a close_notify this is an error.
        assert_eq!(client.0.read_to_end(&mut rest).await.unwrap(), 0);
    });
}

#[test]
fn a_client_under_tls_that_takes_no_byte_is_reset() {
    run(async {
        let house = House::open(|settings| settings.idle_timeout = Duration::from_millis(200));
        let mut client = house.client().await;
        client.send("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        // Nothing is read until the gateway gives up.
        while house.slots.taken() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut rest = Vec::new();
        let end = client.0.read_to_end(&mut rest).await.map_err(|error| error.kind());
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_certificate_is_chosen_by_name_and_by_what_the_client_can_verify() {
    let pairs = [pair(&["a.example", "*.b.example"]).0, pair(&["c.b.example", "a.example"]).0];
    let choice = Choice::of(&pairs).unwrap();
    let chosen = |name: &str, suits: [bool; 2]| {
        let name = HostName::new(name).unwrap();
        let keys: Vec<_> = pairs.iter().map(|pair| pair.certificate.key()).collect();
        let at = |key: &CertifiedKey| keys.iter().position(|known| std::ptr::eq(&***known, key));
        at(&choice.choose(Some(&name), |key| suits[at(key).unwrap()])).unwrap()
    };
    for (name, suits, expected) in [
        ("a.example", [true, true], 0),
        ("a.example", [false, true], 1),
        ("a.example", [false, false], 0),
        ("c.b.example", [true, true], 1),
        ("d.b.example", [true, true], 0),
        ("e.d.b.example", [true, true], 0),
        ("other.example", [true, true], 0),
    ] {
        assert_eq!(chosen(name, suits), expected, "{name} {suits:?}");
    }
    assert!(Choice::of(&[]).is_none());
}
