//! TLS towards upstreams: HTTP within TLS 1.2 or 1.3, with certificates that are verified unless
//! the configuration says otherwise.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Protocol, ServerAddress, Upstream, UpstreamServer, UpstreamTls, Verify};

/// What all servers of an upstream have in common; None: it is reached without TLS.
pub(super) fn client(upstream: &Upstream) -> io::Result<Option<Arc<ClientConfig>>> {
    if !upstream.servers.iter().any(|server| server.protocol == Protocol::Https) {
        return Ok(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = match upstream.tls.verify {
        Verify::On => builder.with_root_certificates(roots(upstream)?).with_no_client_auth(),
        Verify::Off => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Some(Arc::new(config)))
}

fn roots(upstream: &Upstream) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &upstream.tls.ca {
        Some(ca) => {
            for certificate in &ca.certificates {
                let added = roots.add(CertificateDer::from(certificate.as_slice()));
                added
                    .map_err(|cause| io::Error::other(format!("{}: {cause}", ca.file.display())))?;
            }
        }
        // What cannot be read is not trusted; one that is needed is missed soon enough.
        None => {
            let found = rustls_native_certs::load_native_certs().certs;
            let _counts = roots.add_parsable_certificates(found);
        }
    }
    if roots.is_empty() {
        return Err(io::Error::other(format!(
            "the upstream {} is reached by TLS, and this machine trusts no authority; set upstreams.{}.tls.ca",
            upstream.name, upstream.name
        )));
    }
    Ok(roots)
}

/// Makes TLS of a socket to one server.
pub(super) struct Tls {
    http1: TlsConnector,
    both: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// For one server of an upstream; None: it is reached without.
    pub(super) fn new(
        server: &UpstreamServer,
        tls: &UpstreamTls,
        client: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Option<Self>> {
        let (Protocol::Https, ServerAddress::Tcp(host, _), Some(client)) =
            (server.protocol, &server.address, client)
        else {
            return Ok(None);
        };
        let name = tls.server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut both = ClientConfig::clone(client);
        both.alpn_protocols.insert(0, HTTP_2.to_vec());
        let http1 = TlsConnector::from(Arc::clone(client));
        Ok(Some(Self { http1, both: TlsConnector::from(Arc::new(both)), name }))
    }

    /// The handshake.
    pub(super) async fn begin(
        &self,
        stream: TcpStream,
        offer: Offer,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = match offer {
            Offer::Http1 => &self.http1,
            Offer::Both => &self.both,
        };
        connector.connect(self.name.clone(), stream).await
    }
}

/// Whether a handshake failed since the server speaks nothing that it was offered.
pub(super) fn is_of_protocol(cause: &io::Error) -> bool {
    let told = cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    told == Some(&rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
}

/// What a handshake offers to speak (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/1.1, for requests that cannot share a connection.
    Http1,
    /// HTTP/2 rather than HTTP/1.1.
    Both,
}

pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Takes any certificate. That its key was used is proven all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
