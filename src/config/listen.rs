//! `listen`: where clients come in.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::codes;
use super::forms::{ADDRESS, Form};
use super::model::Server;
use super::problem::Problem;
use super::section::Section;
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

const SYSTEMD: &str = "systemd";
/// What the kernel takes, with a zero behind it.
const LONGEST_PATH: usize = 107;
