//! `tls` of an upstream: how the gateway knows that it speaks with the right one.

use std::path::PathBuf;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use super::codes;
use super::entry::{Entry, table};
use super::keys;
use super::named_file::{self, LARGEST_PEM};
use super::problem::Problem;
use super::section::{Section, unreadable};
use super::servers::{Protocol, UpstreamServer};
use super::value::{Text, bad_value};

/// `tls` of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Who may have signed its certificate; None: whom the machine trusts.
    pub ca: Option<Authorities>,
    /// The name in its certificate; None: that of each server's URL.
    pub server_name: Option<String>,
    /// Whether its certificate is looked at.
    pub verify: Verify,
}

/// A file of certificates, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Where they were read from.
    pub file: PathBuf,
    /// At least one, each as DER.
    pub certificates: Vec<Vec<u8>>,
}

/// `tls.verify`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// A certificate must be for the server's name and signed by an authority.
    #[default]
    On,
    /// Any will do.
    Off,
}

pub(super) fn read(upstream: &Section<'_>, servers: &[UpstreamServer]) -> UpstreamTls {
    let section = upstream.section("tls", &keys::UPSTREAM_TLS);
    let is_https = |server: &UpstreamServer| server.protocol == Protocol::Https;
    if upstream.has("tls") && !servers.is_empty() && !servers.iter().any(is_https) {
        let what = "`tls` is given, and no server of the upstream is reached by TLS";
        let problem = Problem::new(&codes::BAD_VALUE, upstream.place_of("tls"), what);
        section.tell(
            problem
                .label("would do nothing")
                .help("write the servers as \"https://...\", or take `tls` out"),
        );
    }
    let tls = UpstreamTls {
        ca: section.text("ca").and_then(|file| authorities(&section, &file)),
        server_name: section.text("server_name").and_then(|text| server_name(&section, text)),
        verify: section.choice("verify", Verify::On, &VERIFY),
    };
    if tls.verify == Verify::Off {
        let problem = Problem::new(
            &codes::UNVERIFIED,
            section.place_of("verify"),
            "the upstream's certificate is not looked at",
        );
        section.tell(problem.label("set here").because("whoever can get between the gateway and the application reads and changes everything").help("name the application's certificate, or its authority's, as `ca`, and take `verify` out"));
    }
    tls
}

fn authorities(section: &Section<'_>, file: &Text) -> Option<Authorities> {
    let path = section.context.folder.join(&file.value);
    let pem = match named_file::bytes(&path, LARGEST_PEM) {
        Ok(pem) => pem,
        Err(cause) => {
            section.tell(unreadable(&path, &cause, file.place));
            return None;
        }
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates: Vec<_> = read.unwrap_or_default().iter().map(|der| der.to_vec()).collect();
    if certificates.is_empty() {
        let problem = bad_value("ca", file, "a file of certificates");
        section.tell(
            problem.help("it holds one or more blocks of PEM: `-----BEGIN CERTIFICATE-----`"),
        );
        return None;
    }
    Some(Authorities { file: path, certificates })
}

fn server_name(section: &Section<'_>, text: Text) -> Option<String> {
    if ServerName::try_from(text.value.as_str()).is_err() {
        let problem = bad_value("server_name", &text, "the name in a certificate");
        section.tell(problem.help("for example \"app.internal\" or \"10.0.0.11\", without a port"));
        return None;
    }
    Some(text.value)
}

/// As the configuration writes it; nothing where nothing is written.
pub(super) fn shown(tls: &UpstreamTls) -> Entry {
    if *tls == UpstreamTls::default() {
        return Entry(None);
    }
    let verify = if tls.verify == Verify::Off { "off".into() } else { Entry(None) };
    table([
        ("ca", tls.ca.as_ref().map(|ca| ca.file.display().to_string()).into()),
        ("server_name", tls.server_name.clone().into()),
        ("verify", verify),
    ])
}

const VERIFY: [(&str, Verify); 2] = [("on", Verify::On), ("off", Verify::Off)];
