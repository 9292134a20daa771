//! `server.tls`, `server.hsts` and `server.http_redirect`.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::certificate::Certificate;
use super::codes;
use super::entry::{Entry, table};
use super::forms::DURATION_OR_OFF;
use super::keys;
use super::listen::{ADDRESS_OR_SYSTEMD, ListenAddress};
use super::model::Server;
use super::named_file::{self, LARGEST_PEM};
use super::problem::Problem;
use super::routes::Draft;
use super::section::{Section, unreadable};
use super::value::Text;
use crate::request::{HostPattern, Origin, Scheme};

/// One pair of `server.tls`.
#[derive(Clone, Debug)]
pub struct TlsPair {
    /// The file of the chain.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// What they held when the configuration was read.
    pub certificate: Certificate,
}

/// `server.http_redirect`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRedirect {
    /// Where to listen: an address, or the socket of the service manager that is named so.
    pub listen: ListenAddress,
    /// The folder in which an ACME client lays its challenges (RFC 8555 section 8.3).
    pub acme_webroot: Option<PathBuf>,
}

/// The pairs that can be used, in the order of the file: the first is for clients that name no
/// host, or one that no certificate knows.
pub(super) fn pairs(section: &Section<'_>) -> Vec<TlsPair> {
    let Some(value) = section.value("tls") else {
        return Vec::new();
    };
    let tables = if value.is_table() {
        Some(vec![value])
    } else {
        value.as_array("a table `{ cert = ..., key = ... }` or a list of such tables")
    };
    if value.is_empty_list() {
        let problem = Problem::new(&codes::BAD_VALUE, value.place, "`tls` names no certificate")
            .label("an empty list");
        section.tell(problem.help("take it out for plain HTTP, or name a certificate: tls = { cert = \"tls.crt\", key = \"tls.key\" }"));
    }
    let sections = tables.unwrap_or_default().into_iter();
    sections.filter_map(|table| table.section(&keys::TLS)).filter_map(|pair| read(&pair)).collect()
}

/// As the configuration writes them: one as a table, several as a list of tables.
pub(super) fn pairs_shown(pairs: &[TlsPair]) -> Entry {
    let pair = |pair: &TlsPair| {
        let [cert, key] = [&pair.cert, &pair.key].map(|path| path.display().to_string());
        table([("cert", cert.into()), ("key", key.into())]).0
    };
    let mut written: Vec<Value> = pairs.iter().filter_map(pair).collect();
    match written.len() {
        0 | 1 => Entry(written.pop()),
        _ => Entry(Some(Value::Array(written))),
    }
}

fn read(section: &Section<'_>) -> Option<TlsPair> {
    if section.has("acme") {
        return None;
    }
    let why = "a certificate is of use only with its key";
    let (cert, key) = (section.needed("cert", why), section.needed("key", why));
    let (cert, key) = (cert?, key?);
    let (chain, secret) = (bytes(section, &cert), bytes(section, &key));
    let certificate = match Certificate::read(&chain?, &secret?) {
        Ok(certificate) => certificate,
        Err(bad) => {
            let file = if bad.is_of_key() { &key } else { &cert };
            let problem =
                Problem::new(&codes::CERTIFICATE, file.place, format!("`{}` {bad}", file.shown));
            section.tell(problem.label("cannot be used").help(
                "both files are PEM: the server's own certificate first and its issuers behind it, and the key that belongs to it, without a password",
            ));
            return None;
        }
    };
    warn_of_times(section, &cert, &certificate);
    warn_of_readers(section, &key);
    let path = |file: &Text| section.context.folder.join(&file.value);
    Some(TlsPair { cert: path(&cert), key: path(&key), certificate })
}

fn bytes(section: &Section<'_>, file: &Text) -> Option<Vec<u8>> {
    let path = section.context.folder.join(&file.value);
    let read = named_file::bytes(&path, LARGEST_PEM);
    read.map_err(|cause| section.tell(unreadable(&path, &cause, file.place))).ok()
}

fn warn_of_times(section: &Section<'_>, file: &Text, certificate: &Certificate) {
    let now = section.context.environment.now();
    if certificate.not_before() > now {
        let begins = certificate.not_before();
        let message = format!("the certificate in `{}` begins at {begins}", file.shown);
        let problem = Problem::new(&codes::EARLY, file.place, message).label("not valid yet");
        section.tell(problem.help("see whether the clock of this machine is right"));
    }
    if certificate.not_after() > now {
        return;
    }
    let problem = Problem::new(
        &codes::EXPIRED,
        file.place,
        format!("the certificate in `{}` ended at {}", file.shown, certificate.not_after()),
    );
    section
        .tell(problem.label("expired").help("renew it; it is read again at a reload or a restart"));
}

fn warn_of_readers(section: &Section<'_>, file: &Text) {
    let path = section.context.folder.join(&file.value);
    let mode = std::fs::metadata(&path).map_or(0, |data| data.permissions().mode() & 0o777);
    if mode & 0o007 == 0 {
        return;
    }
    let problem = Problem::new(
        &codes::EXPOSED_KEY,
        file.place,
        format!(
            "every account of this machine may read the key `{}` (mode {mode:04o})",
            file.shown
        ),
    );
    section.tell(problem.label("readable by others").help(format!(
        "chmod 0600 {}; 0640 with a group of its own where several programs need it",
        shell_name(&path)
    )));
}

/// The last part of a path: where the file is, the place in the configuration tells.
fn shell_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// How long browsers are to come by https alone (RFC 6797); None: not told.
pub(super) fn hsts(section: &Section<'_>, public_url: Option<&Origin>) -> Option<Duration> {
    let age = section.form("hsts", &DURATION_OR_OFF).flatten()?;
    if is_https(section, public_url) {
        return Some(age);
    }
    let problem = Problem::new(
        &codes::HSTS,
        section.place_of("hsts"),
        "`hsts` is told over https alone, and nothing here is https",
    );
    section.tell(problem.label("would never be sent").help(
        "give the gateway a certificate (`tls`), or an https `public_url` where a proxy speaks TLS for it",
    ));
    None
}

/// Whether browsers come by https: so says the origin, or else a certificate, even a faulty one.
fn is_https(section: &Section<'_>, public_url: Option<&Origin>) -> bool {
    let certified = || section.value("tls").is_some_and(|value| !value.is_empty_list());
    public_url.map_or_else(certified, |url| url.scheme() == Scheme::Https)
}

/// The plain listener that leads to https.
pub(super) fn redirect(section: &Section<'_>) -> Option<HttpRedirect> {
    let table = section.value("http_redirect")?.section(&keys::HTTP_REDIRECT)?;
    table.needed("listen", "the redirect needs an address of its own, most often port 80");
    let folder = |text: Text| -> PathBuf { section.context.folder.join(text.value) };
    let acme_webroot = table.text("acme_webroot").map(folder);
    Some(HttpRedirect { listen: table.form("listen", &ADDRESS_OR_SYSTEMD)?, acme_webroot })
}

/// As the configuration writes it.
pub(super) fn redirect_shown(redirect: Option<&HttpRedirect>) -> Entry {
    let Some(redirect) = redirect else {
        return Entry(None);
    };
    let folder = redirect.acme_webroot.as_ref().map(|path| path.display().to_string());
    table([("listen", redirect.listen.to_string().into()), ("acme_webroot", folder.into())])
}

/// Tells where the redirect could lead nowhere.
pub(super) fn check_redirect(section: &Section<'_>, server: &Server) {
    if server.http_redirect.is_none() || is_https(section, server.public_url.as_ref()) {
        return;
    }
    let problem = Problem::new(
        &codes::REDIRECT,
        section.place_of("http_redirect"),
        "`http_redirect` leads to https, and nothing here is https",
    );
    section.tell(
        problem
            .label("leads nowhere")
            .help("give the gateway a certificate (`tls`) and an https `public_url`"),
    );
}

/// Tells of certificates for none of the hosts that are served. Of addresses they are not asked,
/// nor where every host is served.
pub(super) fn check_names(section: &Section<'_>, server: &Server, drafts: &[Draft]) {
    let origins = server.public_url.iter().chain(&server.public_origins);
    let mut hosts: Vec<_> = origins.map(|url| HostPattern::Exact(url.host().clone())).collect();
    if hosts.iter().any(is_address) || server.public_url.is_none() {
        return;
    }
    hosts.extend(drafts.iter().flat_map(|draft| draft.route.hosts.clone()));
    if hosts.contains(&HostPattern::Any) {
        return;
    }
    let serves = |name: &HostPattern| hosts.iter().any(|host| overlap(name, host));
    let mut places = section.places("tls");
    // With a pair that cannot be read it is not known which is which.
    if places.len() != server.tls.len() {
        places = vec![section.place_of("tls"); server.tls.len()];
    }
    for (pair, place) in server.tls.iter().zip(places) {
        if pair.certificate.names().iter().any(serves) {
            continue;
        }
        let names: Vec<_> = pair.certificate.names().iter().map(ToString::to_string).collect();
        let problem = Problem::new(
            &codes::FOREIGN,
            place,
            format!(
                "the certificate in `{}` is for none of the hosts that are served",
                shell_name(&pair.cert)
            ),
        );
        let label = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
        let host = hosts.first().map(ToString::to_string).unwrap_or_default();
        section.tell(
            problem
                .label(format!("it is for {label}"))
                .help(format!("name a certificate for {host}, or take this one out")),
        );
    }
}

fn is_address(host: &HostPattern) -> bool {
    let HostPattern::Exact(name) = host else { return false };
    name.as_str().starts_with('[') || name.as_str().parse::<Ipv4Addr>().is_ok()
}

/// Whether some host is of both.
fn overlap(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Exact(name), HostPattern::Wildcard(parent))
        | (HostPattern::Wildcard(parent), HostPattern::Exact(name)) => {
            name.parent() == Some(parent.as_str())
        }
        (one, other) => one == other,
    }
}
