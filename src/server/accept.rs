//! The door of a worker: connections come in until the drain.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Service;
use super::connection::{self, Settings, Shared};
use super::slots::Slots;
use crate::request::Peer;

/// Where a worker's connections come in, and when no more do.
#[derive(Debug)]
pub struct Door {
    /// This worker's socket for each address.
    pub sockets: Vec<TcpListener>,
    /// Bounds connections, of all workers together.
    pub slots: Arc<Slots>,
    /// True once the drain has begun.
    pub drain: watch::Receiver<bool>,
}

/// Serves what comes until the drain, then lets requests in flight finish within their time; parked
/// connections close at once. To be run on the worker's own runtime. Fails only at once, if the
/// sockets cannot be used.
pub async fn serve<S: Service>(door: Door, service: Rc<S>, settings: Settings) -> io::Result<()> {
    let Door { sockets, slots, drain } = door;
    let sockets = sockets.into_iter().map(tokio::net::TcpListener::from_std);
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let shared = Rc::new(Shared::new(Rc::clone(&service), settings));
    let mut connections = JoinSet::new();
    let mut begun = drain.clone();
    loop {
        tokio::select! {
            accepted = accept(&sockets) => match accepted {
                Ok((stream, address)) => {
                    let peer = peer(address);
                    let Some(slot) = slots.take(peer.address) else {
                        service.turned_away(peer);
                        continue;
                    };
                    let served = connection::serve(stream, peer, Rc::clone(&shared), drain.clone());
                    connections.spawn_local(async move {
                        served.await;
                        drop(slot);
                    });
                }
                Err(error) => recover(&error).await,
            },
            Some(_) = connections.join_next() => {}
            // A sender that is gone can begin no drain: then it has begun.
            _ = begun.wait_for(|draining| *draining) => break,
        }
    }
    drop(sockets);
    shared.drain();
    let finished = async { while connections.join_next().await.is_some() {} };
    // What has not finished is dropped with the set, and so is cut.
    let _elapsed = timeout(settings.drain_timeout, finished).await;
    Ok(())
}

async fn accept(sockets: &[tokio::net::TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        for socket in sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
    .inspect(|(stream, _)| {
        let _works_without_too = stream.set_nodelay(true);
    })
}

/// A v4-mapped address is the IPv4 address that it maps.
fn peer(address: SocketAddr) -> Peer {
    Peer { address: address.ip().to_canonical(), port: address.port() }
}

/// A client that left before it was accepted is no trouble; a lack of descriptors or memory passes
/// when connections end, and would else be met again at once.
async fn recover(error: &io::Error) {
    let passes_at_once = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !passes_at_once {
        sleep(PAUSE).await;
    }
}

/// How long nobody is accepted after a lack of something.
const PAUSE: Duration = Duration::from_millis(100);
