//! Sockets: listen, accept, connections, limits, time-outs, drain.
//!
//! What a request means is the business of the [`Service`] above; here bytes become requests and
//! answers become bytes. A connection belongs to one worker and is parked, as a bare socket, while
//! its client is silent.

mod accept;
mod activity;
mod connection;
mod listen;
mod slots;
mod socket;

use std::error::Error;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use thiserror::Error;

use crate::request::Peer;

pub use accept::{Door, serve};
pub use connection::Settings;
pub use listen::{ListenError, Listener, listen};
pub use slots::Slots;

/// The layer above: what answers requests, and is told of those that never became one.
pub trait Service: 'static {
    /// The body of answers. Dropped when its client has gone.
    type Body: Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Unpin + 'static;

    /// Answers a request. Dropped when its client has gone.
    fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>>;

    /// A head that could not be read, and was answered or closed here.
    fn parse_error(&self, error: ParseError, peer: Peer);

    /// A connection that found no place.
    fn turned_away(&self, peer: Peer);
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
}

#[cfg(test)]
mod tests;
