//! Requests for a tunnel: which are passed on, what the client is told, and the tunnel itself.

use std::time::Duration;

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::body::Content;
use super::open::Claim;
use super::refusal::{Refusal, Refused};
use crate::policy::Permitted;
use crate::request::{BadHandshake, Malformed, NormalRequest, Upgrade, is_websocket};
use crate::revocation::Place;
use crate::telemetry::Exchange;
use crate::upstream::Upgraded;

/// A tunnel that the upstream has agreed to: its side, the record, and its place among the open
/// streams.
#[derive(Debug)]
pub struct Tunnel {
    upgraded: Box<Upgraded>,
    exchange: Box<Exchange>,
    _place: Option<Place<Claim>>,
    is_whole: bool,
}

impl Tunnel {
    pub(super) fn new(
        upgraded: Box<Upgraded>,
        exchange: Box<Exchange>,
        place: Option<Place<Claim>>,
    ) -> Self {
        Self { upgraded, exchange, _place: place, is_whole: false }
    }

    /// The upstream's side.
    pub fn upgraded(&mut self) -> &mut Upgraded {
        &mut self.upgraded
    }

    /// How long neither side may be silent.
    pub fn idle(&self) -> Duration {
        self.upgraded.idle()
    }

    /// So many more bytes went through.
    pub fn carried(&mut self, from_client: u64, to_client: u64) {
        self.exchange.carried(from_client, to_client);
    }

    /// Both sides have ended it.
    pub fn complete(&mut self) {
        self.is_whole = true;
        self.exchange.complete();
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // What was broken off the upstream is not to take for an end.
        if !self.is_whole {
            self.upgraded.reset();
        }
    }
}

/// The tunnel that a permitted request asks for. None: it goes on as plain HTTP, without `Upgrade`,
/// as what nobody has named does, and what is malformed; but a WebSocket's handshake is refused.
pub(super) fn wanted(permitted: &Permitted, has_body: bool) -> Result<Option<Upgrade>, Refused> {
    let (request, route) = (permitted.request(), permitted.route());
    let asked = Upgrade::asked(request);
    let named =
        |protocol: &str| route.upgrades.iter().any(|name| name.eq_ignore_ascii_case(protocol));
    if asked.iter().any(|protocol| is_websocket(protocol) && named(protocol)) {
        let websocket = Upgrade::websocket(request).map_err(refused)?;
        return if has_body { Err(Refusal::BadRequest.into()) } else { Ok(Some(websocket)) };
    }
    match asked[..] {
        // As any other CONNECT.
        _ if request.is_by_connect() => Err(Malformed::Method.into()),
        [protocol] if named(protocol) && !has_body => Ok(Upgrade::other(request)),
        _ => Ok(None),
    }
}

fn refused(bad: BadHandshake) -> Refused {
    match bad {
        BadHandshake::Malformed => Refusal::BadRequest.into(),
        // RFC 9110 section 15.5.22 and RFC 6455 section 4.4.
        BadHandshake::Version => Refused::from(Refusal::UpgradeRequired)
            .header(UPGRADE, HeaderValue::from_static("websocket"))
            .header(CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
    }
}

/// What an application asks for by a 426, which is nothing without it (RFC 9110 section 15.5.22).
/// Over HTTP/2 hyper takes it out again.
pub(super) fn demanded<B>(answer: &Response<B>) -> Option<HeaderValue> {
    let protocol = answer.headers().get(UPGRADE)?;
    (answer.status() == StatusCode::UPGRADE_REQUIRED).then(|| protocol.clone())
}

/// How a client asks for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By `Upgrade`, on a connection that is to change.
    Connection,
    /// By CONNECT, for a stream of HTTP/2.
    Connect,
}

impl Way {
    /// How this one asks, if it does.
    pub(super) fn of(request: &NormalRequest) -> Self {
        if request.is_by_connect() { Self::Connect } else { Self::Connection }
    }
}

/// Tells the client of the change, in the place of what the upstream told.
pub(super) fn tell<B>(answer: &mut Response<B>, way: Way, protocol: HeaderValue) {
    match way {
        Way::Connection => {
            let named: [(HeaderName, _); 2] =
                [(CONNECTION, HeaderValue::from_static("Upgrade")), (UPGRADE, protocol)];
            answer.headers_mut().extend(named);
        }
        // RFC 8441 section 5: it answers a key that the client has not sent.
        Way::Connect => {
            *answer.status_mut() = StatusCode::OK;
            answer.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        }
    }
}

/// Refuses a success that opens no tunnel: to whoever asked by CONNECT it would be one (RFC 9110
/// section 9.3.6).
pub(super) fn check_success(answer: &Response<Content>) -> Result<(), Refused> {
    match answer.body() {
        Content::Own(_) if answer.status().is_success() => Err(Malformed::Method.into()),
        Content::Upstream(_) if answer.status().is_success() => Err(Refusal::BadGateway.into()),
        Content::Own(_) | Content::Upstream(_) | Content::Tunnel(_) => Ok(()),
    }
}
