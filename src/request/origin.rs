//! The origins that browsers see.

use std::collections::HashMap;
use std::fmt;

use super::{Host, HostName, HostPattern};

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Port 80.
    Http,
    /// Port 443.
    Https,
}

impl Scheme {
    /// The scheme as URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A web origin (RFC 6454): scheme, host, port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: HostName,
    port: u16,
}

impl Origin {
    /// An origin of its parts.
    pub fn new(scheme: Scheme, host: HostName, port: u16) -> Self {
        Self { scheme, host, port }
    }

    /// Reads `https://host[:port]`, without path (a final `/` is allowed), query, user.
    pub fn read(text: &str) -> Option<Self> {
        Self::parse(text.strip_suffix('/').unwrap_or(text)).map(|(origin, _rooted)| origin)
    }

    /// Reads the header `Origin`, which ends with the host or the port (RFC 6454 section 6.2). To
    /// browsers a final dot makes another host; None, unless the host asked for is written so too.
    pub fn sent(text: &str, own_is_rooted: bool) -> Option<Self> {
        let (origin, rooted) = Self::parse(text)?;
        (own_is_rooted || !rooted).then_some(origin)
    }

    /// With it, whether the host has a final dot.
    fn parse(text: &str) -> Option<(Self, bool)> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))?;
        let host = Host::read(rest).ok()?;
        let port = host.port.unwrap_or(scheme.default_port());
        Some((Self { scheme, host: host.name, port }, host.rooted))
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn on(&self, host: &HostName) -> Self {
        Self { host: host.clone(), ..self.clone() }
    }

    /// Itself, and on loopback the other names of the same socket.
    fn with_loopback_kin(&self) -> Vec<Self> {
        let mut kin = vec![self.clone()];
        if self.host.is_loopback() {
            let names = ["localhost", "127.0.0.1", "[::1]"];
            kin.extend(
                names.iter().filter_map(|name| HostName::new(name).ok()).map(|n| self.on(&n)),
            );
        }
        kin
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// All origins that the gateway serves. A request's own origin is the one whose host and port are
/// those of its `Host`; scheme and port are never taken from another header.
#[derive(Clone, Debug)]
pub struct ServedOrigins {
    exact: Vec<Origin>,
    by_host: HashMap<HostName, Vec<Origin>>,
    wildcards: HashMap<HostName, Vec<Origin>>,
}

impl ServedOrigins {
    /// `public` and `further` (a loopback one stands for `localhost`, `127.0.0.1` and `[::1]` on its
    /// port), and the hosts that routes name, with the scheme and port of `public`.
    pub fn new(public: &[Origin], further: &[Origin], hosts: &[HostPattern]) -> Self {
        let mut served =
            Self { exact: Vec::new(), by_host: HashMap::new(), wildcards: HashMap::new() };
        for origin in public.iter().chain(further).flat_map(Origin::with_loopback_kin) {
            served.add(origin);
        }
        for (host, origin) in hosts.iter().flat_map(|h| public.iter().map(move |o| (h, o))) {
            match host {
                HostPattern::Exact(name) => served.add(origin.on(name)),
                HostPattern::Wildcard(parent) => {
                    served.wildcards.entry(parent.clone()).or_default().push(origin.clone());
                }
                HostPattern::Any => {}
            }
        }
        served
    }

    /// The served origin whose host and port are those of a `Host`; a missing port is the default
    /// one of the candidate's scheme. None: the request is misdirected (421).
    pub fn own(&self, host: &Host) -> Option<Origin> {
        let port =
            |origin: &&Origin| host.port.unwrap_or(origin.scheme.default_port()) == origin.port;
        if let Some(origins) = self.by_host.get(&host.name) {
            return origins.iter().find(port).cloned();
        }
        let origins = self.wildcards.get(host.name.parent()?)?;
        origins.iter().find(port).map(|origin| origin.on(&host.name))
    }

    /// The https origin of a host, on whichever port.
    pub fn secure(&self, name: &HostName) -> Option<Origin> {
        let secure = |origin: &&Origin| origin.scheme == Scheme::Https;
        if let Some(origins) = self.by_host.get(name) {
            return origins.iter().find(secure).cloned();
        }
        let origins = self.wildcards.get(name.parent()?)?;
        origins.iter().find(secure).map(|origin| origin.on(name))
    }

    /// Every exact origin, `public_url` first.
    pub fn exact(&self) -> &[Origin] {
        &self.exact
    }

    fn add(&mut self, origin: Origin) {
        let known = self.by_host.entry(origin.host.clone()).or_default();
        if known.iter().all(|other| other.port != origin.port) {
            known.push(origin.clone());
            self.exact.push(origin);
        }
    }
}
