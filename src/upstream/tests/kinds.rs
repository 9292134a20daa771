//! The kinds of connection that an upstream may be reached by.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::Verify;

/// What bytes come and go by.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Unix,
    Tls,
    /// HTTP/2 that is known beforehand.
    H2c,
    /// HTTP/2 that a handshake agrees on.
    H2,
}

/// An upstream's listening socket.
pub(super) enum Door {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _folder: TempDir },
    Tls(TcpListener, TlsAcceptor),
}

impl Door {
    /// Opens one and writes into the configuration where it is.
    pub(super) async fn open(kind: Kind, config: &mut Upstream) -> Self {
        if kind == Kind::Unix {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.sock");
            let listener = UnixListener::bind(&path).unwrap();
            config.servers = vec![UpstreamServer {
                protocol: Protocol::Http,
                address: ServerAddress::Unix(path),
            }];
            return Self::Unix { listener, _folder: folder };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        config.servers = vec![server("127.0.0.1", listener.local_addr().unwrap().port())];
        if kind == Kind::Tcp {
            return Self::Tcp(listener);
        }
        if kind == Kind::H2c {
            config.servers[0].protocol = Protocol::H2c;
            return Self::Tcp(listener);
        }
        config.servers[0].protocol = Protocol::Https;
        config.tls.verify = Verify::Off;
        let speaks: &[u8] = if kind == Kind::H2 { b"h2" } else { b"http/1.1" };
        Self::Tls(listener, acceptor(&[speaks]))
    }

    pub(super) async fn accept(&self) -> Wire {
        match self {
            Self::Tcp(listener) => Wire::of(listener.accept().await.unwrap().0),
            Self::Unix { listener, .. } => Wire(Box::new(listener.accept().await.unwrap().0)),
            Self::Tls(listener, acceptor) => {
                let stream = listener.accept().await.unwrap().0;
                stream.set_nodelay(true).unwrap();
                Wire(Box::new(acceptor.accept(stream).await.unwrap()))
            }
        }
    }
}

/// With a certificate of its own, and these protocols to agree on.
pub(super) fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
