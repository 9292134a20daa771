//! Certificates of an authority of our own, and clients that trust it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

/// An authority that nobody else knows.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signs itself").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Writes `STEM.crt` and `STEM.key` for these names, the first of which is the subject's.
    pub fn issue(&self, folder: &Path, stem: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        let write = |kind: &str, pem: String| {
            fs::write(folder.join(format!("{stem}.{kind}")), pem).expect("can be written");
        };
        write("crt", certificate.pem());
        write("key", key.serialize_pem());
        certificate.der().clone()
    }

    /// What a client knows that trusts this authority and nothing else.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A connection under TLS.
pub struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Connects and shakes hands for a name.
    pub fn connect(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().expect("it showed one")[0].clone().into_owned()
    }

    pub fn alpn(&self) -> Option<String> {
        self.0.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    pub fn was_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("takes bytes");
        self.0.flush().expect("takes bytes");
    }

    /// Reads until a text has come.
    #[track_caller]
    pub fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => read.push(byte[0]),
                other => panic!("{other:?} before {end:?}: {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).expect("text")
    }

    /// Everything until the end, which must be told (RFC 8446 section 6.1).
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let end = self.0.read_to_end(&mut read).map_err(|error| error.kind());
        assert!(!matches!(end, Err(ErrorKind::UnexpectedEof)), "no close_notify: {read:?}");
        String::from_utf8_lossy(&read).into_owned()
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
