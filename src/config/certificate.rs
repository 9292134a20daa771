//! A certificate with its key, as files hold them in PEM (RFC 7468).
//!
//! What can be known of a pair without a handshake is found here: a key that belongs to another
//! certificate, or one that cannot be read, would else refuse every client. Not here: which pair a
//! client gets.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::clock::Timestamp;
use crate::request::HostPattern;

/// A chain of certificates that can be used, its own one first.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<HostPattern>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a pair of files cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadCertificate {
    /// No certificate in it, as in an empty file.
    #[error("holds no certificate (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// Not PEM, or what it holds is no certificate.
    #[error("holds a certificate that cannot be read")]
    BrokenCertificate,
    /// No key in it.
    #[error("holds no private key (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    /// Nobody is there to type its password at a start.
    #[error("holds a key that is encrypted")]
    EncryptedKey,
    /// Of a kind that is not known, or damaged.
    #[error("holds a key that cannot be used")]
    BrokenKey,
    /// Another certificate's key.
    #[error("holds the key of another certificate")]
    Mismatch,
}

impl BadCertificate {
    /// Whether the file of the key is to blame.
    pub(super) fn is_of_key(&self) -> bool {
        !matches!(self, Self::NoCertificate | Self::BrokenCertificate)
    }
}

impl Certificate {
    /// Reads a chain and its key.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        let chain = read_chain(chain)?;
        let (names, [not_before, not_after]) = read_own(chain.first())?;
        let key = read_key(key)?;
        let certified = CertifiedKey::from_der(chain, key, &default_provider());
        match certified {
            Ok(key) => Ok(Self { key: Arc::new(key), names, not_before, not_after }),
            Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(BadCertificate::Mismatch)
            }
            Err(TlsError::InvalidCertificate(_)) => Err(BadCertificate::BrokenCertificate),
            Err(_) => Err(BadCertificate::BrokenKey),
        }
    }

    /// The chain and the key, for handshakes.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The hosts that it is for.
    pub fn names(&self) -> &[HostPattern] {
        &self.names
    }

    /// The first moment at which clients take it.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last moment at which clients take it.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_broken| BadCertificate::BrokenCertificate)?;
    if chain.is_empty() { Err(BadCertificate::NoCertificate) } else { Ok(chain) }
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, BadCertificate> {
    // PKCS #8 says so in its label, the older form in a header (RFC 1421 section 4.6.1.1).
    let encrypted = [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|sign| pem.windows(sign.len()).any(|part| part == *sign)) {
        return Err(BadCertificate::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let none = matches!(error, pem::Error::NoItemsFound);
        if none { BadCertificate::NoKey } else { BadCertificate::BrokenKey }
    })
}

/// The names, the begin and the end of a chain's own certificate. Its subject says nothing of hosts (RFC 9525
/// section 2), and clients ignore names that they cannot read: so do we.
fn read_own(
    own: Option<&CertificateDer<'_>>,
) -> Result<(Vec<HostPattern>, [Timestamp; 2]), BadCertificate> {
    let own = own.ok_or(BadCertificate::NoCertificate)?;
    let (_, parsed) =
        X509Certificate::from_der(own).map_err(|_broken| BadCertificate::BrokenCertificate)?;
    let validity = parsed.validity();
    let times = [validity.not_before, validity.not_after];
    let alternatives =
        parsed.subject_alternative_name().map_err(|_broken| BadCertificate::BrokenCertificate)?;
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let hosts = names.filter_map(|name| {
        let GeneralName::DNSName(name) = name else { return None };
        HostPattern::read(name).ok()
    });
    Ok((
        hosts.filter(|host| *host != HostPattern::Any).collect(),
        times.map(|time| Timestamp::from_secs(time.timestamp())),
    ))
}
