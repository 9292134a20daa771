//! Sockets: listen, accept, connections, limits, time-outs, drain.
//!
//! What a request means is the business of the [`Service`] above; here bytes become requests and
//! answers become bytes. A connection belongs to one worker and is parked, as a bare socket, while
//! its client is silent.

mod accept;
mod activity;
mod bare;
mod closing;
mod connect;
mod connection;
mod doors;
mod flow;
mod h2;
mod inherit;
mod listen;
mod naming;
mod opening;
mod preamble;
mod slots;
mod socket;
mod stream;
mod tls;
mod tunnel;
mod unix;

use std::error::Error;
use std::future::Future;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use thiserror::Error;

use crate::request::{Peer, PeerKind};
use crate::revocation::Cut;

pub use accept::{Door, passes_at_once, serve};
pub use connection::{Settings, Tuning};
pub use doors::Inherited;
pub use inherit::{Handed, inherit};
pub use listen::{ListenError, Listener, listen};
pub use slots::Slots;
pub use tls::Tls;
pub use tunnel::FarSide;
pub use unix::{SocketFile, UnixDoor, listen_unix};

/// The layer above: what answers requests, and is told of those that never became one.
pub trait Service: 'static {
    /// The body of answers. Dropped when its client has gone.
    type Body: Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Unpin + 'static;

    /// What an answer of 101 opens.
    type Tunnel: FarSide;

    /// Takes it out of the body of such an answer.
    fn tunnel(body: &mut Self::Body) -> Option<Self::Tunnel>;

    /// Answers a request. Dropped when its client has gone, and with its answer once `cut` is made.
    fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        cut: Rc<Cut>,
    ) -> impl Future<Output = Response<Self::Body>>;

    /// A head that could not be read, and was answered or closed here.
    fn parse_error(&self, error: ParseError, peer: Peer);

    /// What a peer is to us, asked once when it connects.
    fn peer_kind(&self, _peer: Peer) -> PeerKind {
        PeerKind::Client
    }

    /// A connection that found no place.
    fn turned_away(&self, peer: Peer);

    /// Nobody can be accepted for now, for a lack of something.
    fn cannot_accept(&self, cause: &io::Error);
}

/// Why a head could not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// Answered with 400.
    #[error("the head of the request is malformed")]
    Malformed,
    /// Answered with 431, or 414 if it is the target.
    #[error("the head of the request is too large")]
    TooLarge,
    /// Closed without an answer.
    #[error("the head of the request came too late")]
    Late,
    /// Over HTTP/2, where an end may come by itself: never answered, since its client had gone.
    #[error("the connection ended before the request")]
    Left,
    /// Closed without an answer: a trusted proxy that does not say for whom it connects.
    #[error("a trusted proxy sent no proper preamble of the PROXY protocol")]
    Preamble,
    /// Closed after an alert.
    #[error("the TLS handshake failed")]
    Handshake,
    /// Closed without an answer.
    #[error("the TLS handshake came too late")]
    LateHandshake,
}

#[cfg(test)]
mod tests;
