//! A worker: a core's thread with its own runtime, sockets and pools.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot, watch};

use super::sockets::{Own, Sockets};
use super::{Phase, StartError};
use crate::auth::Auth;
use crate::config::Config;
use crate::gateway::{Body, Gateway, Snapshot, Tunnel};
use crate::request::{Peer, PeerKind};
use crate::revocation::Cut;
use crate::server::{self, Door, FarSide, ParseError, Service, Settings, Slots, Tls, Tuning};
use crate::telemetry::{Counter, Telemetry, Worker};
use crate::upstream::{Health, Pools, Upgraded};

/// What every worker gets a share of.
#[derive(Clone, Debug)]
pub(super) struct Lent {
    pub(super) config: Arc<Config>,
    pub(super) auth: Auth,
    pub(super) telemetry: Telemetry,
    pub(super) slots: Arc<Slots>,
    pub(super) health: Health,
    pub(super) tls: Option<Tls>,
    pub(super) watching: watch::Receiver<Phase>,
}

/// A worker, as the others see it.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) thread: JoinHandle<()>,
    pub(super) orders: Orders,
}

/// Where a worker takes its orders.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    /// To serve by another configuration.
    pub(super) renewals: mpsc::UnboundedSender<Renewal>,
    /// To say that it still turns, whatever it waits for.
    pub(super) pings: mpsc::UnboundedSender<Ping>,
}

/// Where a worker says that it turns.
type Ping = oneshot::Sender<()>;

/// A configuration on its way into a worker: a commit in two phases, so that all workers take it or
/// none. What can fail is done and told first, and then the word to commit is waited for.
#[derive(Debug)]
pub(super) struct Renewal {
    pub(super) law: Law,
    pub(super) prepared: oneshot::Sender<io::Result<()>>,
    /// Abandoned when its sender goes.
    pub(super) commit: oneshot::Receiver<()>,
    pub(super) committed: oneshot::Sender<()>,
}

/// What requests are served by.
#[derive(Clone, Debug)]
pub(super) struct Law {
    pub(super) config: Arc<Config>,
    pub(super) auth: Auth,
    pub(super) generation: u64,
}

/// Starts every worker, and waits until each is ready to accept.
pub(super) fn spawn_all(lent: &Lent, sockets: Sockets) -> Result<Vec<Hand>, StartError> {
    let addresses = sockets.bound().addresses;
    // Each worker compiles its own, so that nothing of it is shared; tried here, where it can fail.
    Snapshot::compile(&lent.config, &addresses).map_err(|_conflicts| StartError::Routes)?;
    let mut hands = Vec::new();
    for (number, sockets) in sockets.by_worker(lent.config.server.workers).into_iter().enumerate() {
        let (lent, addresses) = (lent.clone(), addresses.clone());
        let (tell, told) = channel();
        let (renewals, renewing) = mpsc::unbounded_channel();
        let (pings, pinged) = mpsc::unbounded_channel();
        let orders = Orders { renewals, pings };
        let body = move || {
            let ordered = (renewing, pinged);
            if let Err(cause) = run(lent, (sockets, &addresses), ordered, &tell) {
                // Nobody waits any more when this happens after the start.
                let _ = tell.send(Err(cause));
            }
        };
        let thread = Builder::new().name(format!("worker-{number}")).spawn(body)?;
        hands.push(Hand { thread, orders });
        told.recv().map_err(io::Error::other)??;
    }
    Ok(hands)
}

fn run(
    lent: Lent,
    (sockets, addresses): (Own, &[SocketAddr]),
    (renewals, pings): (mpsc::UnboundedReceiver<Renewal>, mpsc::UnboundedReceiver<Ping>),
    ready: &Sender<io::Result<()>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    let Lent { config, auth, telemetry, slots, health, tls, watching } = lent;
    let snapshot = Snapshot::compile(&config, addresses)
        .map_err(|_conflicts| io::Error::other("the routes contradict each other"))?;
    let pools = Pools::new(&config.upstreams, config.server.workers, &health)?;
    let worker = telemetry.worker();
    let news = auth.revocations().listen();
    let detached = auth.parts().detached.clone();
    let gateway = Gateway::new(snapshot, auth, pools, worker.clone());
    let served = Rc::new(Served {
        gateway: RefCell::new(Rc::new(gateway)),
        worker: RefCell::new(worker),
        tuning: Settings::from(&config.server).into(),
        health,
    });
    runtime.block_on(async move {
        let (begin, drain) = watch::channel(false);
        let Own { ours, inherited, unix, redirect, inherited_redirect } = sockets;
        let plain = Door {
            sockets: redirect,
            inherited: inherited_redirect,
            unix: Vec::new(),
            slots: Arc::clone(&slots),
            tls: None,
            drain: drain.clone(),
        };
        let leading = Rc::new(Leading(Rc::clone(&served)));
        let door = Door { sockets: ours, inherited, unix, slots, tls, drain };
        // Whoever waits for it may have given up; then the gateway is stopping.
        let _ = ready.send(Ok(()));
        let outcome = tokio::select! {
            ended = both(
                server::serve(door, Rc::clone(&served), served.tuning.clone()),
                server::serve(plain, leading, served.tuning.clone()),
            ) => ended,
            () = served.renew_all(renewals, addresses) => Ok(()),
            () = answer(pings) => Ok(()),
            () = Gateway::heed(&served.gateway, news) => Ok(()),
            () = Gateway::keep_house(&served.gateway) => Ok(()),
            () = stop(watching, &begin) => Ok(()),
        };
        // What the store has committed is still to be told.
        detached.ended().await;
        outcome
    })
}

/// Tells whoever asks that the worker turns, for as long as it does.
async fn answer(mut pings: mpsc::UnboundedReceiver<Ping>) {
    while let Some(turns) = pings.recv().await {
        // Whoever asked may have lost patience.
        let _ = turns.send(());
    }
    pending().await
}

async fn both(
    main: impl Future<Output = io::Result<()>>,
    redirect: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::try_join!(main, redirect).map(|_| ())
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
    gateway: RefCell<Rc<Gateway>>,
    worker: RefCell<Worker>,
    tuning: Tuning,
    health: Health,
}

impl Served {
    /// Takes over other configurations for as long as it lives.
    async fn renew_all(
        &self,
        mut renewals: mpsc::UnboundedReceiver<Renewal>,
        addresses: &[SocketAddr],
    ) {
        while let Some(renewal) = renewals.recv().await {
            self.renew(renewal, addresses).await;
        }
        pending().await
    }

    async fn renew(&self, renewal: Renewal, addresses: &[SocketAddr]) {
        let Renewal { law, prepared, commit, committed } = renewal;
        match self.prepare(&law, addresses) {
            Ok(next) => {
                let _ = prepared.send(Ok(()));
                if commit.await.is_ok() {
                    self.adopt(next, &law.config);
                    let _ = committed.send(());
                }
            }
            Err(cause) => {
                let _ = prepared.send(Err(cause));
            }
        }
    }

    fn prepare(&self, law: &Law, addresses: &[SocketAddr]) -> io::Result<(Gateway, Worker)> {
        let snapshot = Snapshot::compile(&law.config, addresses)
            .map_err(|_conflicts| io::Error::other("the routes contradict each other"))?;
        let worker = self.worker.borrow().renewed(&law.config.log, law.generation);
        let parts = (law.auth.clone(), worker.clone());
        let gateway = self.gateway.borrow().renewed(snapshot, parts, &self.health)?;
        Ok((gateway, worker))
    }

    /// The swap: requests that begin from now on are served by the new configuration, and those in
    /// flight keep their own, if it still permits them.
    fn adopt(&self, (gateway, worker): (Gateway, Worker), config: &Config) {
        self.gateway.replace(Rc::new(gateway));
        self.gateway.borrow().reconsider();
        self.worker.replace(worker);
        self.tuning.set(Settings::from(&config.server));
    }
}

impl Service for Served {
    type Body = Body;
    type Tunnel = Tunnel;

    fn tunnel(body: &mut Body) -> Option<Tunnel> {
        body.take_tunnel()
    }

    fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        cut: Rc<Cut>,
    ) -> impl Future<Output = Response<Body>> {
        let gateway = Rc::clone(&self.gateway.borrow());
        gateway.serve(request, peer, cut)
    }

    fn peer_kind(&self, peer: Peer) -> PeerKind {
        self.gateway.borrow().peer_kind(peer)
    }

    fn parse_error(&self, error: ParseError, peer: Peer) {
        tracing::debug!("{}: {error}", peer.address);
        self.worker.borrow().count(Counter::ParseErrors, "");
    }

    fn turned_away(&self, peer: Peer) {
        tracing::debug!("{}: no place for another connection", peer.address);
        self.worker.borrow().count(Counter::TurnedAway, "");
    }

    fn cannot_accept(&self, cause: &io::Error) {
        self.worker.borrow().cannot_accept(cause);
    }
}

impl FarSide for Tunnel {
    type Io = Upgraded;

    fn io(&mut self) -> &mut Upgraded {
        self.upgraded()
    }

    fn idle(&self) -> Duration {
        Self::idle(self)
    }

    fn carried(&mut self, from_client: u64, to_client: u64) {
        Self::carried(self, from_client, to_client);
    }

    fn whole(&mut self) {
        self.complete();
    }
}

/// The same behind the plain listener that leads to https.
struct Leading(Rc<Served>);

impl Service for Leading {
    type Body = Body;
    type Tunnel = Tunnel;

    async fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        cut: Rc<Cut>,
    ) -> Response<Body> {
        let gateway = Rc::clone(&self.0.gateway.borrow());
        gateway.redirect(request, peer, cut).await
    }

    fn tunnel(_body: &mut Body) -> Option<Tunnel> {
        None
    }

    fn peer_kind(&self, peer: Peer) -> PeerKind {
        self.0.peer_kind(peer)
    }

    fn parse_error(&self, error: ParseError, peer: Peer) {
        self.0.parse_error(error, peer);
    }

    fn turned_away(&self, peer: Peer) {
        self.0.turned_away(peer);
    }

    fn cannot_accept(&self, cause: &io::Error) {
        self.0.cannot_accept(cause);
    }
}
