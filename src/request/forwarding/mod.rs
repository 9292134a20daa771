//! Where a request really comes from when proxies stand before us.
//!
//! The word of a peer counts only where the configuration trusts it, and then only what the one
//! configured source says. Not for framing of the PROXY protocol, which is read before there is a
//! request (`server`). Invariant: an address for which no trusted peer vouches is never taken.

mod node;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::Peer;

pub use node::read_address;

/// Whose word is taken, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// `trusted_proxies`; empty: nobody's.
    pub proxies: Vec<TrustedProxy>,
    /// `client_ip`
    pub source: ClientSource,
}

/// One entry of `trusted_proxies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Peers of this network, or this one address.
    Network(IpNet),
    /// Whoever comes by a Unix socket.
    Unix,
}

/// The one source of a client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientSource {
    /// `X-Forwarded-For`, a list.
    #[default]
    XForwardedFor,
    /// `Forwarded`, a list (RFC 7239).
    Forwarded,
    /// `X-Real-IP`, one address.
    XRealIp,
    /// `CF-Connecting-IP`, one address.
    CfConnectingIp,
    /// The preamble of the connection (the PROXY protocol, versions 1 and 2).
    ProxyProtocol,
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerKind {
    /// A client, whose word is not taken.
    #[default]
    Client,
    /// A trusted proxy that tells in a header for whom it asks.
    Proxy,
    /// A trusted proxy that tells so before the first request. What follows is the client's own.
    Announcer,
}

impl TrustedProxy {
    /// Reads a network such as `10.0.0.0/8`, an address, or `unix`. Bits beyond the prefix are
    /// refused: `10.1.2.3/8` was meant otherwise than it reads.
    pub fn read(text: &str) -> Option<Self> {
        if text == "unix" { Some(Self::Unix) } else { read_network(text).map(Self::Network) }
    }

    fn holds(self, peer: Peer) -> bool {
        match self {
            Self::Unix => peer == Peer::UNIX,
            Self::Network(network) => peer != Peer::UNIX && network.contains(&peer.address),
        }
    }

    fn includes(self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address))
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Trust {
    /// What a peer is to us. One that the PROXY protocol named is a client like any other.
    pub fn peer_kind(&self, peer: Peer) -> PeerKind {
        let trusted = self.proxies.iter().any(|proxy| proxy.holds(peer));
        match (trusted, self.source) {
            (false, _) => PeerKind::Client,
            (true, ClientSource::ProxyProtocol) => PeerKind::Announcer,
            (true, _) => PeerKind::Proxy,
        }
    }

    /// The address that a request counts for: the peer's, or what a trusted peer says.
    pub fn client(&self, headers: &HeaderMap, peer: Peer) -> IpAddr {
        if self.peer_kind(peer) != PeerKind::Proxy {
            return peer.address;
        }
        match self.source {
            ClientSource::XForwardedFor => {
                let lines = lines(headers, X_FORWARDED_FOR);
                let entries = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
                self.walk(entries.map(node::read_address), peer)
            }
            ClientSource::Forwarded => {
                let elements = lines(headers, FORWARDED).flat_map(node::Elements::from_the_end);
                self.walk(elements.map(node::read_element), peer)
            }
            ClientSource::XRealIp => single(headers, X_REAL_IP).unwrap_or(peer.address),
            ClientSource::CfConnectingIp => {
                single(headers, CF_CONNECTING_IP).unwrap_or(peer.address)
            }
            ClientSource::ProxyProtocol => peer.address,
        }
    }

    /// From the right, that is from the proxy nearest to us: each entry was written by the one to
    /// its right, so the walk ends at the first address that is no proxy of ours, or where an entry
    /// says nothing.
    fn walk(&self, entries: impl Iterator<Item = Option<IpAddr>>, peer: Peer) -> IpAddr {
        let mut last = peer.address;
        for entry in entries {
            let Some(address) = entry else { break };
            last = address;
            if !self.proxies.iter().any(|proxy| proxy.includes(address)) {
                break;
            }
        }
        last
    }
}

/// Whether a request carries what a proxy would say of its client.
pub(super) fn is_told(headers: &HeaderMap) -> bool {
    // Once over the names, which is less than to look each of these up.
    headers.keys().any(|name| match name.as_str().len() {
        15 => *name == X_FORWARDED_FOR,
        9 => *name == FORWARDED || *name == X_REAL_IP,
        16 => *name == CF_CONNECTING_IP,
        _ => false,
    })
}

/// Reads a network without bits beyond its prefix, or one address; a v4-mapped one is IPv4.
pub fn read_network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let network: IpNet = text.parse().ok()?;
    (network.trunc() == network).then_some(network)
}

/// The lines of a header from the last to the first: repeated lines are one list, in order.
fn lines(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().rev().map(HeaderValue::as_bytes)
}

/// The address in a header that may stand there once; repeated, it says nothing.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<IpAddr> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => node::read_address(line.as_bytes()),
        _ => None,
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
