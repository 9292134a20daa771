//! Makes a certificate that nobody vouches for, to try TLS out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::clock::Clock;
use crate::request::HostPattern;

/// The files of a certificate that was made.
#[derive(Debug, PartialEq, Eq)]
pub struct SelfSigned {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM, for its owner alone.
    pub key: PathBuf,
}

/// Why no certificate was made. Nothing is left half-done.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// Not a name, a wildcard or an address.
    #[error(
        "`{0}` is not a host name; write one such as apps.example.com, *.example.com or 192.0.2.1"
    )]
    Host(String),
    /// A file is there, and may be in use.
    #[error("{} is there already; move it away, or name another folder with --folder", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The library refuses.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes a certificate for a host, good for as long as browsers allow, and writes `HOST.crt` and
/// `HOST.key` into a folder. Never overwrites.
pub fn self_signed(
    host: &str,
    folder: &Path,
    clock: &Clock,
) -> Result<SelfSigned, CertificateError> {
    if !is_host(host) {
        return Err(CertificateError::Host(host.to_owned()));
    }
    let key = KeyPair::generate()?;
    let certificate = params(host, clock)?.self_signed(&key)?;
    let stem = host.replace(['*', ':'], "_");
    let files = SelfSigned {
        cert: folder.join(format!("{stem}.crt")),
        key: folder.join(format!("{stem}.key")),
    };
    write(&files.key, 0o600, &key.serialize_pem())?;
    write(&files.cert, 0o644, &certificate.pem()).inspect_err(|_| {
        // It was made just now, and is of no use alone.
        let _ = fs::remove_file(&files.key);
    })?;
    Ok(files)
}

fn is_host(host: &str) -> bool {
    let is_name =
        matches!(HostPattern::read(host), Ok(HostPattern::Exact(_) | HostPattern::Wildcard(_)));
    host.parse::<IpAddr>().is_ok() || (is_name && !host.starts_with('['))
}

fn params(host: &str, clock: &Clock) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, host);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if let Ok(now) = OffsetDateTime::from_unix_timestamp(clock.now().as_secs()) {
        // A client whose clock is behind shall take it too.
        params.not_before = now.saturating_sub(Duration::days(1));
        params.not_after = now.saturating_add(LIFE);
    }
    Ok(params)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), CertificateError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| {
        let whole = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        whole.inspect_err(|_| {
            // Begun just now, and in the way of another try.
            let _ = fs::remove_file(path);
        })
    });
    written.map_err(|cause| {
        let path = path.to_owned();
        if cause.kind() == io::ErrorKind::AlreadyExists {
            return CertificateError::Exists(path);
        }
        CertificateError::Write { path, cause }
    })
}

/// Browsers refuse a longer one.
const LIFE: Duration = Duration::days(397);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config::Certificate;

    #[test]
    fn what_is_made_can_be_used_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_secs(1_800_000_000);
        let make = |host: &str| self_signed(host, folder.path(), &Clock::manual(now));
        for host in ["apps.example.com", "*.example.com", "localhost", "192.0.2.1", "2001:db8::1"] {
            let made = make(host).unwrap();
            let [chain, key] = [&made.cert, &made.key].map(|path| fs::read(path).unwrap());
            let read = Certificate::read(&chain, &key).unwrap();
            let named = host.parse::<IpAddr>().is_err();
            assert_eq!(
                read.names().first().map(ToString::to_string).as_deref(),
                named.then_some(host)
            );
            assert_eq!(read.not_after(), Timestamp::from_secs(1_800_000_000 + 397 * 86_400));
            let mode = fs::metadata(&made.key).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{host}");
            assert!(matches!(make(host), Err(CertificateError::Exists(path)) if path == made.key));
            assert_eq!(fs::read(&made.key).unwrap(), key);
            fs::remove_file(&made.key).unwrap();
            assert!(matches!(make(host), Err(CertificateError::Exists(path)) if path == made.cert));
            assert!(!made.key.exists(), "a key was left without its certificate");
        }
        for bad in ["", "*", "a/b", "../x", "a b", "[::1]", "a.*.b"] {
            assert!(matches!(make(bad), Err(CertificateError::Host(_))), "{bad}");
        }
    }
}
