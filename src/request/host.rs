//! Hosts: what `Host` may say, and patterns over it.

use std::borrow::Borrow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Version;
use http::header::HOST;
use http::request::Parts;
use thiserror::Error;

/// A host name or IP literal in canonical form: lower case, no port, no final dot, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Reads a name or literal; one final dot is the same name (RFC 1034 section 3.1).
    pub fn new(text: &str) -> Result<Self, BadHost> {
        if let Some(literal) = text.strip_prefix('[') {
            return ipv6(literal.strip_suffix(']').ok_or(BadHost::Invalid)?);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if !is_name(name) {
            return Err(BadHost::Invalid);
        }
        let mut canonical: Arc<str> = name.into();
        if let Some(own) = Arc::get_mut(&mut canonical) {
            own.make_ascii_lowercase();
        }
        Ok(Self(canonical))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `localhost`, 127.0.0.0/8 or `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let ipv4 = || self.0.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        matches!(&*self.0, "localhost" | "[::1]") || (self.0.starts_with("127.") && ipv4())
    }

    /// The name without its first label: what a wildcard pattern over it would say.
    pub fn parent(&self) -> Option<&str> {
        let (label, parent) = self.0.split_once('.')?;
        (!label.is_empty()).then_some(parent)
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a `Host` header (RFC 9110 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// The name.
    pub name: HostName,
    /// The port, where one was written.
    pub port: Option<u16>,
    /// Whether a final dot was.
    pub rooted: bool,
}

impl Host {
    /// Reads `name[:port]`; a colon without a port is refused.
    pub fn read(text: &str) -> Result<Self, BadHost> {
        let after_literal = text.rfind(']').unwrap_or(0);
        let colon = text.rfind(':').filter(|at| *at >= after_literal);
        let Some((name, port)) = colon.and_then(|at| text.split_at_checked(at)) else {
            return Self::of_name(text, None);
        };
        let port = port.strip_prefix(':').and_then(read_port).ok_or(BadHost::Invalid)?;
        Self::of_name(name, Some(port))
    }

    fn of_name(name: &str, port: Option<u16>) -> Result<Self, BadHost> {
        Ok(Self { name: HostName::new(name)?, port, rooted: name.ends_with('.') })
    }

    /// The one host that a request names: its `Host`, which the authority of an absolute-form
    /// target (RFC 9112 section 3.2.2) must repeat. HTTP/2 has the authority in its place, and
    /// may have both (RFC 9113 section 8.3.1).
    pub(super) fn of(head: &Parts) -> Result<Self, BadHost> {
        let mut lines = head.headers.get_all(HOST).iter();
        let Some(line) = lines.next() else {
            let named = head.uri.authority().filter(|_| head.version == Version::HTTP_2);
            return Self::read(named.ok_or(BadHost::Missing)?.as_str());
        };
        if lines.next().is_some() {
            return Err(BadHost::Repeated);
        }
        let host = Self::read(line.to_str().or(Err(BadHost::Invalid))?)?;
        match head.uri.authority() {
            Some(authority) => {
                let named = Self::read(authority.as_str())?;
                let default = if head.uri.scheme_str() == Some("https") { 443 } else { 80 };
                let port = |host: &Self| host.port.unwrap_or(default);
                let same = named.name == host.name && port(&named) == port(&host);
                if same { Ok(host) } else { Err(BadHost::Contradicted) }
            }
            None => Ok(host),
        }
    }
}

/// Which hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `apps.example.com`
    Exact(HostName),
    /// `*.example.com`: one label more than the name here.
    Wildcard(HostName),
    /// `*`: every served host.
    Any,
}

impl HostPattern {
    /// Reads `apps.example.com`, `*.example.com` or `*`.
    pub fn read(text: &str) -> Result<Self, BadHost> {
        match text.strip_prefix("*.") {
            Some(parent) => HostName::new(parent).map(Self::Wildcard),
            None if text == "*" => Ok(Self::Any),
            None => HostName::new(text).map(Self::Exact),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Not a host.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadHost {
    /// No `Host` at all.
    #[error("the request has no Host")]
    Missing,
    /// More than one.
    #[error("the request has more than one Host")]
    Repeated,
    /// Not a name, an IPv4 address or an IPv6 literal, or a bad port.
    #[error("not a host name")]
    Invalid,
    /// The authority of an absolute-form target is another (RFC 9112 section 3.2.2).
    #[error("Host and the target's authority differ")]
    Contradicted,
}

/// Reads a port as it is written in an origin: plain digits, no leading zero.
fn read_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

fn ipv6(literal: &str) -> Result<HostName, BadHost> {
    let address: Ipv6Addr = literal.parse().or(Err(BadHost::Invalid))?;
    Ok(HostName(format!("[{address}]").into()))
}

/// Labels of letters, digits, `-` and `_`. Where the last is a number the whole is an IPv4 address
/// in its one canonical spelling: URL parsers read `127.1` and `0x7f.1` as addresses too.
fn is_name(name: &str) -> bool {
    let label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let numeric = |last: &[u8]| last.iter().all(u8::is_ascii_digit) || is_hex_number(last);
    // Bytes, since every request comes by here and a search for a char is dearer.
    let mut labels = name.as_bytes().split(|byte| *byte == b'.');
    let last = name.as_bytes().rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    name.len() <= 253 && labels.all(label) && (!numeric(last) || name.parse::<Ipv4Addr>().is_ok())
}

fn is_hex_number(label: &[u8]) -> bool {
    let digits = label.strip_prefix(b"0x").or_else(|| label.strip_prefix(b"0X"));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}
