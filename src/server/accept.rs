//! The door of a worker: connections come in until the drain.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::bare::Bare;
use super::connection::{self, Shared, Tuning, within};
use super::doors::{Doors, Inherited};
use super::preamble::{self, Announced};
use super::slots::{Slot, Slots};
use super::tls::Tls;
use super::{ParseError, Service};
use crate::request::{Peer, PeerKind};

/// Where a worker's connections come in, and when no more do.
#[derive(Debug)]
pub struct Door {
    /// This worker's socket for each address.
    pub sockets: Vec<TcpListener>,
    /// Sockets that somebody else keeps open.
    pub inherited: Inherited,
    /// This worker's socket for each file.
    pub unix: Vec<UnixListener>,
    /// Bounds connections, of all workers together.
    pub slots: Arc<Slots>,
    /// What clients speak TLS with; None: plain connections.
    pub tls: Option<Tls>,
    /// True once the drain has begun.
    pub drain: watch::Receiver<bool>,
}

/// Serves what comes until the drain, then lets requests in flight finish within their time; silent
/// connections have a share of it for a last request. To be run on the worker's own runtime. Fails only at once, if the
/// sockets cannot be used.
pub async fn serve<S: Service>(door: Door, service: Rc<S>, tuning: Tuning) -> io::Result<()> {
    let Door { sockets, inherited, unix, slots, tls, drain } = door;
    let doors = Doors::open(sockets, unix, inherited)?;
    let shared = Rc::new(Shared::new(Rc::clone(&service), tuning.clone(), tls));
    let mut connections = JoinSet::new();
    let mut begun = drain.clone();
    let admit = |connections: &mut JoinSet<()>, (socket, peer): (Bare, Peer)| {
        let peer_kind = service.peer_kind(peer);
        let bounded = (peer_kind == PeerKind::Client).then_some(peer.address);
        let Some(slot) = slots.take(bounded) else {
            return service.turned_away(peer);
        };
        let came = Came { socket, peer, slot };
        let (shared, drain) = (Rc::clone(&shared), drain.clone());
        match peer_kind {
            PeerKind::Client | PeerKind::Proxy => {
                connections.spawn_local(attend(came, shared, drain))
            }
            PeerKind::Announcer => connections.spawn_local(hear(came, shared, drain)),
        };
    };
    loop {
        tokio::select! {
            accepted = doors.accept() => match accepted {
                Ok(accepted) => admit(&mut connections, accepted),
                Err(error) => recover(&error, &*service).await,
            },
            Some(_) = connections.join_next() => {}
            // A sender that is gone can begin no drain: then it has begun.
            _ = begun.wait_for(|draining| *draining) => break,
        }
    }
    shared.drain();
    let end = Instant::now() + tuning.get().drain_timeout;
    let mut closing = doors.close();
    while let Ok(Some(accepted)) = timeout_at(end, closing.next()).await {
        admit(&mut connections, accepted);
    }
    drop(closing);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What has not finished is dropped with the set, and so is cut.
    let _elapsed = timeout_at(end, finished).await;
    Ok(())
}

/// A connection that found a place.
struct Came {
    socket: Bare,
    peer: Peer,
    slot: Slot,
}

async fn attend<S: Service>(
    Came { socket, peer, slot }: Came,
    shared: Rc<Shared<S>>,
    drain: watch::Receiver<bool>,
) {
    connection::serve(socket, peer, shared, drain).await;
    drop(slot);
}

/// Attends to the client that a trusted proxy connects for, once the proxy has told which.
async fn hear<S: Service>(came: Came, shared: Rc<Shared<S>>, mut drain: watch::Receiver<bool>) {
    // On the heap only while it lasts: a parked connection is to be small.
    if let Some(came) = Box::pin(announced(came, &shared, &mut drain)).await {
        attend(came, shared, drain).await;
    }
}

/// The client, once it has found a place of its own. None: closed.
async fn announced<S: Service>(
    mut came: Came,
    shared: &Shared<S>,
    drain: &mut watch::Receiver<bool>,
) -> Option<Came> {
    let settings = shared.settings();
    let patience = (settings.header_timeout, settings.grace());
    let read = within(pin!(preamble::read(&mut came.socket)), patience, drain).await;
    let fault = match read {
        Some(Ok(Announced::Itself)) => return Some(came),
        Some(Ok(Announced::Client(client))) if came.slot.bind(client.address) => {
            return Some(Came { peer: client, ..came });
        }
        Some(Ok(Announced::Client(client))) => {
            shared.service().turned_away(client);
            return None;
        }
        Some(Err(_)) => ParseError::Preamble,
        // Not its fault.
        None if *drain.borrow() => return None,
        None => ParseError::Late,
    };
    shared.service().parse_error(fault, came.peer);
    None
}

/// A client that left before it was accepted is no trouble; a lack of descriptors or memory passes
/// when connections end, and would else be met again at once.
async fn recover(error: &io::Error, service: &impl Service) {
    if !passes_at_once(error) {
        service.cannot_accept(error);
        sleep(PAUSE).await;
    }
}

/// Whether an accept failed by that one connection alone.
pub fn passes_at_once(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// How long nobody is accepted after a lack of something.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
