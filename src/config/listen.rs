//! `listen`: where clients come in.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::codes;
use super::forms::{ADDRESS, Form};
use super::model::Server;
use super::problem::Problem;
use super::section::Section;
use super::servers::ServerAddress;
use super::value::{Text, bad_value};
use crate::request::TrustedProxy;

/// One place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
    /// Whatever sockets the service manager hands over.
    Systemd,
}

impl ListenAddress {
    /// The IP address and port, where there is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Systemd => None,
        }
    }

    /// The file of a Unix socket.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) | Self::Systemd => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd => f.write_str(SYSTEMD),
        }
    }
}

/// An address, or a socket of the service manager.
pub(super) const ADDRESS_OR_SYSTEMD: Form<ListenAddress> = Form {
    what: ADDRESS.what,
    examples: r#""0.0.0.0:80", "[::]:80", "systemd""#,
    unit: None,
    read: |text| match text {
        SYSTEMD => Some(ListenAddress::Systemd),
        address => address.parse().ok().map(ListenAddress::Tcp),
    },
};

impl Server {
    /// The listeners that have an IP address.
    pub fn tcp_listeners(&self) -> Vec<SocketAddr> {
        self.listen.iter().filter_map(ListenAddress::tcp).collect()
    }
}

pub(super) fn read(section: &Section<'_>) -> Vec<ListenAddress> {
    let Some(texts) = section.texts("listen") else {
        return (ADDRESS.read)("127.0.0.1:8080").map(ListenAddress::Tcp).into_iter().collect();
    };
    let mut addresses = Vec::new();
    for text in &texts {
        let Some(address) = one(section, text) else { continue };
        if addresses.contains(&address) {
            let problem = Problem::new(
                &codes::DUPLICATE,
                text.place,
                format!("`listen` names {address} twice"),
            );
            section.tell(problem.label("again").help("take one out"));
        }
        addresses.push(address);
    }
    if section.value("listen").is_some_and(|value| value.is_empty_list()) {
        let problem = Problem::new(
            &codes::BAD_VALUE,
            section.place_of("listen"),
            "`listen` names no address",
        );
        section
            .tell(problem.label("an empty list").help(format!("for example {}", ADDRESS.examples)));
    }
    addresses
}

fn one(section: &Section<'_>, text: &Text) -> Option<ListenAddress> {
    if text.value == SYSTEMD {
        return Some(ListenAddress::Systemd);
    }
    let path = text.value.strip_prefix("unix:").map(PathBuf::from);
    let fits = |path: &PathBuf| path.is_absolute() && path.as_os_str().len() <= LONGEST_PATH;
    let address = match path {
        Some(path) => Some(path).filter(fits).map(ListenAddress::Unix),
        None => text.value.parse().ok().map(ListenAddress::Tcp),
    };
    if address.is_none() {
        let problem = bad_value("listen", text, ADDRESS.what);
        section.tell(problem.help(format!(
            "for example {}, \"unix:/run/portcullis.sock\" (absolute, at most {LONGEST_PATH} bytes)",
            ADDRESS.examples
        )));
    }
    address
}

/// By a Unix socket all clients would be one, unless the proxy that comes by it is heard.
pub(super) fn check_trust(section: &Section<'_>, server: &Server) {
    let unix = server.listen.iter().find(|address| address.unix().is_some());
    let Some(address) = unix.filter(|_| !server.trust.proxies.contains(&TrustedProxy::Unix)) else {
        return;
    };
    let problem = Problem::new(
        &codes::UNIX_UNTRUSTED,
        section.place_of("listen"),
        format!("nobody who comes by {address} is trusted to say for whom"),
    )
    .label("peers by a Unix socket have no address")
    .because("all clients would be one, and would share every limit")
    .help("add \"unix\" to `trusted_proxies`, and let the proxy write what `client_ip` names");
    section.tell(problem);
}

/// Tells of places to listen at that another one takes.
pub(super) fn check_overlaps(section: &Section<'_>, server: &Server) {
    let listen = server.tcp_listeners().into_iter().map(|address| ("listen", address));
    let redirect = server.http_redirect.iter().filter_map(|redirect| redirect.listen.tcp());
    let redirect = redirect.map(|address| ("http_redirect", address));
    let admin = server.admin.map(|address| ("admin", address));
    let all: Vec<_> = listen.chain(redirect).chain(admin).collect();
    for (at, (key, address)) in all.iter().enumerate() {
        let taken = |(first_key, first): &&(&str, SocketAddr)| {
            overlap(first, address) && !(first_key == key && stand_together(first, address))
        };
        let Some((first_key, first)) = all.iter().take(at).find(taken) else { continue };
        let redirects = [*key, *first_key].contains(&"http_redirect");
        let problem = Problem::new(
            if redirects { &codes::REDIRECT } else { &codes::TAKEN },
            section.place_of(key),
            format!("{address} of `{key}` is taken by {first} of `{first_key}`"),
        );
        section.tell(problem.label("taken").help("give each an address or a port of its own"));
    }
}

/// Whether the second address has the port of the first one.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let wide = |one: &SocketAddr, other: &SocketAddr| {
        one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
    };
    one.port() == other.port()
        && one.port() != 0
        && (one == other || wide(one, other) || wide(other, one))
}

/// What one list may name: both families of all addresses. One that is named twice is told elsewhere.
fn stand_together(one: &SocketAddr, other: &SocketAddr) -> bool {
    one == other || (one.ip().is_unspecified() && other.ip().is_unspecified())
}

/// Whether a server is a listener of the gateway, as far as addresses show.
pub(super) fn is_own(server: &Server, address: &ServerAddress) -> bool {
    let redirect = server.http_redirect.iter().map(|redirect| &redirect.listen);
    server.listen.iter().chain(redirect).any(|own| match (own, address) {
        (ListenAddress::Tcp(own), ServerAddress::Tcp(host, port)) => {
            let same = |ip: IpAddr| {
                let wide = own.ip().is_unspecified() && (own.is_ipv6() || ip.is_ipv4());
                ip == own.ip() || (ip.is_loopback() && wide)
            };
            own.port() == *port && host.parse().is_ok_and(same)
        }
        (ListenAddress::Unix(own), ServerAddress::Unix(path)) => own == path,
        (_, _) => false,
    })
}

const SYSTEMD: &str = "systemd";
/// What the kernel takes, with a zero behind it.
const LONGEST_PATH: usize = 107;
