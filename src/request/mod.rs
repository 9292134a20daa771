//! Turns what a client sent into a [`NormalRequest`], or refuses it.
//!
//! [`NormalRequest::read`] is the only producer of that type; matching, explaining and forwarding
//! use nothing else, so that what is decided on is what is forwarded.

mod app_cookies;
mod body;
mod cookies;
mod destination;
mod forwarding;
mod headers;
mod host;
mod local_path;
mod origin;
mod readings;
mod target;
mod trace;
mod upgrade;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Version};
use thiserror::Error;

pub use app_cookies::{cookie_names, remove_cookies};
pub use body::{
    CollectError, FirstBytes, Upload, UploadFault, UploadLimits, UploadState, UploadTrailers,
    collect,
};
pub use cookies::{
    CookieNames, CookiePrefix, CookieValue, disturbs_gateway_cookies, name_readings,
};
pub use destination::{BadDestination, DESTINATION, Destination, DestinationForm};
pub use forwarding::{ClientSource, PeerKind, Trust, TrustedProxy, read_address, read_network};
pub use headers::fold;
pub use host::{BadHost, Host, HostName, HostPattern};
pub use local_path::LocalPath;
pub use origin::{Origin, Scheme, ServedOrigins};
pub use readings::{fold_path, readings};
pub use target::{BadTarget, Target};
pub use trace::{TRACEPARENT, TRACESTATE, TraceId};
pub use upgrade::{BadHandshake, Upgrade, is_websocket};

/// Where a connection comes from: the socket's other end, a v4-mapped address unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Peer {
    /// Whoever comes by a Unix socket: such a peer has no address, so it gets the one that nobody
    /// can come from.
    pub const UNIX: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
}

/// The name that a client gave in its TLS handshake (RFC 6066 section 3), an extension of requests
/// that may ask for another host: such a one is misdirected (RFC 9110 section 15.5.20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName(pub HostName);

/// What reading a request needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The origins that browsers see.
    pub served: ServedOrigins,
    /// The gateway's own cookies.
    pub cookies: CookieNames,
    /// The longest target, in bytes; beyond it 414.
    pub target_limit: usize,
    /// Whose word is taken for the client's address.
    pub trust: Trust,
    /// The most header fields; beyond them 431.
    pub field_limit: usize,
}

/// A request that every server would read as we do, or whose readings are all known.
#[derive(Debug)]
pub struct NormalRequest(Box<Read>);

/// On the heap, since a request is handed on from stage to stage.
#[derive(Debug)]
struct Read {
    method: Method,
    version: Version,
    by_connect: bool,
    target: Target,
    host: Host,
    origin: Option<Origin>,
    client: IpAddr,
    peer_kind: PeerKind,
    headers: HeaderMap,
    access: CookieValue,
    refresh: CookieValue,
    device: CookieValue,
}

impl NormalRequest {
    /// Reads the head of a request, or refuses it ([`Malformed`] says how). Extensions are dropped.
    pub fn read(mut head: Parts, peer: Peer, reader: &Reader) -> Result<Self, Malformed> {
        let by_connect = upgrade::is_websocket_by_connect(&head);
        if by_connect {
            // The same request as over HTTP/1.1, where it is a GET.
            head.method = Method::GET;
        }
        headers::check_method(&head.method)?;
        if !matches!(head.version, Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2) {
            return Err(Malformed::Bad("not HTTP/1.0, HTTP/1.1 or HTTP/2"));
        }
        if head.version == Version::HTTP_2 {
            headers::check_values(&head.headers)?;
            cookies::join(&mut head.headers);
        }
        if head.headers.len() > reader.field_limit {
            return Err(Malformed::TooManyFields);
        }
        let target = target_of(&head)?;
        // RFC 9113 section 8.3.1; over HTTP/1.1 an absolute target may have a query and no path.
        if head.version == Version::HTTP_2 && !target.as_str().starts_with('/') {
            return Err(Malformed::Bad("`:path` does not begin with a slash"));
        }
        if target.as_str().len() > reader.target_limit {
            return Err(Malformed::TargetTooLong);
        }
        let host = Host::of(&head)?;
        let named = head.extensions.get::<ServerName>();
        let peer_kind = reader.trust.peer_kind(peer);
        // A trusted proxy shares one connection among the hosts that it stands before.
        let misdirected = peer_kind == PeerKind::Client
            && named.is_some_and(|ServerName(name)| *name != host.name);
        headers::check_framing(&head)?;
        headers::check_authorization(&head.headers)?;
        let target = Target::of(target)?;
        let cookies::Presented { access, refresh, device } = reader.cookies.read(&head.headers);
        Ok(Self(Box::new(Read {
            method: head.method,
            version: head.version,
            by_connect,
            target,
            origin: if misdirected { None } else { reader.served.own(&host) },
            host,
            client: reader.trust.client(&head.headers, peer),
            peer_kind,
            headers: head.headers,
            access,
            refresh,
            device,
        })))
    }

    /// The method, exactly as sent; it holds no lower-case letter and is not CONNECT, TRACE or TRACK.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The target in normal form, with its readings.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// The host asked for.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// The served origin that this request belongs to; none: 421 (but for `/auth/ping`).
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// The client's address: its own, or the one that a trusted proxy vouches for.
    pub fn client(&self) -> IpAddr {
        self.0.client
    }

    /// What the peer that sent it is to us.
    pub fn peer_kind(&self) -> PeerKind {
        self.0.peer_kind
    }

    /// Whether somebody whose word is not taken says for whom it asks: most often a proxy that
    /// nobody told us to trust.
    pub fn is_forwarded_by_a_stranger(&self) -> bool {
        self.0.peer_kind == PeerKind::Client && forwarding::is_told(&self.0.headers)
    }

    /// The headers, as sent.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The access cookie.
    pub fn access_cookie(&self) -> &CookieValue {
        &self.0.access
    }

    /// The refresh cookie.
    pub fn refresh_cookie(&self) -> &CookieValue {
        &self.0.refresh
    }

    /// The device cookie.
    pub fn device_cookie(&self) -> &CookieValue {
        &self.0.device
    }

    /// The value of `Authorization: Bearer VALUE` (RFC 6750 section 2.1; the scheme in any case),
    /// ours or not; empty where it is no text. None when there is no such header, in any spelling.
    pub fn bearer(&self) -> Option<&str> {
        headers::bearer(&self.0.headers)
    }

    /// Whether the request asks for a tunnel, by `Connection: upgrade` naming an `Upgrade` or by
    /// HTTP/2's CONNECT.
    pub fn asks_upgrade(&self) -> bool {
        self.0.by_connect || headers::asks_upgrade(&self.0.headers)
    }

    /// Whether it asks for a WebSocket by HTTP/2's CONNECT (RFC 8441). Then it is read as the GET
    /// that it would be over HTTP/1.1.
    pub fn is_by_connect(&self) -> bool {
        self.0.by_connect
    }

    /// Forgets the cookies of ours, once they have had their say.
    pub fn forget_cookies(&mut self) {
        self.0.access = CookieValue::Absent;
        self.0.refresh = CookieValue::Absent;
        self.0.device = CookieValue::Absent;
    }

    /// Takes the headers out, for `upstream` to rewrite; the rest stays, with copies of those that
    /// `stays` names.
    pub fn take_headers(&mut self, stays: impl Fn(&HeaderName) -> bool) -> HeaderMap {
        let headers = std::mem::take(&mut self.0.headers);
        for (name, value) in headers.iter().filter(|(name, _)| stays(name)) {
            self.0.headers.append(name.clone(), value.clone());
        }
        headers
    }
}

/// Why a request was refused before it was matched.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// 400: what cannot be understood.
    #[error("{0}")]
    Bad(&'static str),
    /// 400: the target has no normal form.
    #[error(transparent)]
    Target(#[from] BadTarget),
    /// 400: Host missing, repeated, invalid or contradicted.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// 414.
    #[error("the target is longer than the limit")]
    TargetTooLong,
    /// 431; over HTTP/1.1 told sooner.
    #[error("the head has more fields than the limit")]
    TooManyFields,
    /// 405: CONNECT, TRACE, TRACK.
    #[error("this method is never forwarded")]
    Method,
}

/// The path and query of an origin-form or absolute-form target (RFC 9112 section 3.2). Of the
/// latter the authority is compared with `Host`, and the scheme means nothing: the served origin's
/// holds.
fn target_of(head: &Parts) -> Result<&PathAndQuery, Malformed> {
    match head.uri.scheme_str() {
        Some("http" | "https") => {}
        None if head.uri.authority().is_none() => {}
        Some(_) => {
            return Err(Malformed::Bad("the target's scheme is neither http nor https"));
        }
        None => return Err(Malformed::Bad("the target is an authority")),
    }
    match head.uri.path_and_query() {
        Some(target) if target.as_str() != "*" => Ok(target),
        _ => Err(Malformed::Bad("the target is an asterisk")),
    }
}
