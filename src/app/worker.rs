//! A worker: a core's thread with its own runtime, sockets and pools.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::{Phase, StartError};
use crate::auth::Auth;
use crate::config::Config;
use crate::gateway::{Body, Gateway, Snapshot};
use crate::request::Peer;
use crate::server::{self, Door, Listener, ParseError, Service, Settings, Slots};
use crate::telemetry::{Counter, Telemetry, Worker};
use crate::upstream::Pools;

/// What every worker gets a share of.
#[derive(Clone, Debug)]
pub(super) struct Lent {
    pub(super) config: Arc<Config>,
    pub(super) auth: Auth,
    pub(super) telemetry: Telemetry,
    pub(super) slots: Arc<Slots>,
    pub(super) watching: watch::Receiver<Phase>,
}

/// Starts every worker, and waits until each is ready to accept.
pub(super) fn spawn_all(
    lent: &Lent,
    listeners: Vec<Listener>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    // Each worker compiles its own, so that nothing of it is shared; tried here, where it can fail.
    Snapshot::compile(&lent.config, &addresses).map_err(|_conflicts| StartError::Routes)?;
    let mut threads = Vec::new();
    for (number, sockets) in by_worker(listeners).into_iter().enumerate() {
        let (lent, addresses) = (lent.clone(), addresses.clone());
        let (tell, told) = channel();
        let body = move || {
            if let Err(cause) = run(lent, (sockets, &addresses), &tell) {
                // Nobody waits any more when this happens after the start.
                let _ = tell.send(Err(cause));
            }
        };
        threads.push(Builder::new().name(format!("worker-{number}")).spawn(body)?);
        told.recv().map_err(io::Error::other)??;
    }
    Ok(threads)
}

/// The sockets of each worker, one for each address.
fn by_worker(listeners: Vec<Listener>) -> Vec<Vec<TcpListener>> {
    let mut workers: Vec<Vec<TcpListener>> = Vec::new();
    for listener in listeners {
        workers.resize_with(workers.len().max(listener.sockets.len()), Vec::new);
        for (worker, socket) in workers.iter_mut().zip(listener.sockets) {
            worker.push(socket);
        }
    }
    workers
}

fn run(
    lent: Lent,
    (sockets, addresses): (Vec<TcpListener>, &[SocketAddr]),
    ready: &Sender<io::Result<()>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    let Lent { config, auth, telemetry, slots, watching } = lent;
    let snapshot = Snapshot::compile(&config, addresses)
        .map_err(|_conflicts| io::Error::other("the routes contradict each other"))?;
    let pools = Pools::new(&config.upstreams, config.server.workers)?;
    let worker = telemetry.worker();
    let gateway = Gateway::new(snapshot, auth, pools, worker.clone());
    let served = Rc::new(Served { gateway, worker });
    let settings = Settings::from(&config.server);
    runtime.block_on(async move {
        let (begin, drain) = watch::channel(false);
        let door = Door { sockets, slots, drain };
        // Whoever waits for it may have given up; then the gateway is stopping.
        let _ = ready.send(Ok(()));
        tokio::select! {
            served = server::serve(door, served, settings) => served,
            () = stop(watching, &begin) => Ok(()),
        }
    })
}

/// Begins the drain when told, and ends at once when told that.
async fn stop(mut watching: watch::Receiver<Phase>, drain: &watch::Sender<bool>) {
    // An error means that the gateway is gone: stopped too.
    let _ = watching.wait_for(|phase| *phase != Phase::Serving).await;
    drain.send_replace(true);
    let _ = watching.wait_for(|phase| *phase == Phase::Stopped).await;
}

/// A worker's gateway, as the sockets see it.
struct Served {
    gateway: Gateway,
    worker: Worker,
}

impl Service for Served {
    type Body = Body;

    async fn serve(self: Rc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        self.gateway.serve(request, peer).await
    }

    fn parse_error(&self, error: ParseError, peer: Peer) {
        tracing::debug!("{}: {error}", peer.address);
        self.worker.count(Counter::ParseErrors, "");
    }

    fn turned_away(&self, peer: Peer) {
        tracing::debug!("{}: no place for another connection", peer.address);
        self.worker.count(Counter::TurnedAway, "");
    }
}
