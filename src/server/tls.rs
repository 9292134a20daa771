//! TLS towards clients: which certificate each gets, and the handshake.
//!
//! One [`Tls`] is shared by all workers, so that a session can be resumed whichever accepts the
//! next connection. Not here: reading certificates (`config`).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

use super::bare::Bare;
use super::stream::{Counted, Stream};
use crate::clock::Timestamp;
use crate::config::TlsPair;
use crate::request::{HostName, HostPattern};

/// What handshakes need. Clones share it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// None where there are no certificates: then there is no TLS. Fails only for a lack of
    /// randomness.
    pub fn new(pairs: &[TlsPair]) -> io::Result<Option<Self>> {
        let Some(choice) = Choice::of(pairs) else {
            return Ok(None);
        };
        let certificates = Arc::new(Certificates { current: RwLock::new(choice) });
        let config = config(Arc::clone(&certificates)).map_err(io::Error::other)?;
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates }))
    }

    /// Handshakes from now on get these certificates; connections that there are keep theirs. With
    /// none nothing changes.
    pub fn reload(&self, pairs: &[TlsPair]) {
        if let Some(choice) = Choice::of(pairs) {
            self.certificates.replace(choice);
        }
    }

    /// When the first of the certificates in use ends.
    pub fn not_after(&self) -> Timestamp {
        self.certificates.read().not_after
    }

    pub(super) async fn accept(&self, socket: Bare) -> io::Result<Stream> {
        let accepted = self.acceptor.accept(Counted::new(socket)).await?;
        Ok(Stream::Tls(Box::new(accepted)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

/// The parameters are rustls' own, which hold no weak one: TLS 1.2 with forward secrecy and
/// authenticated ciphers alone, and 1.3 without early data, which could be replayed.
fn config(certificates: Arc<Certificates>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // An order of our own is what scanners, and the rules that they check, ask a server for.
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets, whose keys are replaced every six hours, instead of sessions in our memory.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The certificates in force.
#[derive(Debug)]
struct Certificates {
    current: RwLock<Choice>,
}

impl Certificates {
    fn read(&self) -> RwLockReadGuard<'_, Choice> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, choice: Choice) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = choice;
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| HostName::new(name).ok());
        let suits = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        Some(self.read().choose(name.as_ref(), suits))
    }
}

/// Certificates by the names that they are for.
struct Choice {
    first: Arc<CertifiedKey>,
    by_name: HashMap<HostPattern, Vec<Arc<CertifiedKey>>>,
    not_after: Timestamp,
}

impl Choice {
    fn of(pairs: &[TlsPair]) -> Option<Self> {
        let first = Arc::clone(pairs.first()?.certificate.key());
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for certificate in pairs.iter().map(|pair| &pair.certificate) {
            for name in certificate.names() {
                by_name.entry(name.clone()).or_default().push(Arc::clone(certificate.key()));
            }
        }
        let not_after = pairs.iter().map(|pair| pair.certificate.not_after()).min()?;
        Some(Self { first, by_name, not_after })
    }

    /// The first certificate of that name that the client can verify. For a name that none has it
    /// is the first of all: the client will tell its user.
    fn choose(
        &self,
        name: Option<&HostName>,
        suits: impl Fn(&CertifiedKey) -> bool,
    ) -> Arc<CertifiedKey> {
        let named = name.map_or(&[][..], |name| self.of_name(name));
        let suitable = named.iter().find(|key| suits(key));
        Arc::clone(suitable.or(named.first()).unwrap_or(&self.first))
    }

    fn of_name(&self, name: &HostName) -> &[Arc<CertifiedKey>] {
        let wildcard = || {
            let parent = HostName::new(name.parent()?).ok()?;
            self.by_name.get(&HostPattern::Wildcard(parent))
        };
        let exact = self.by_name.get(&HostPattern::Exact(name.clone()));
        exact.or_else(wildcard).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
