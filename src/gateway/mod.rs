//! Takes one HTTP request to one HTTP response, under a [`Snapshot`].
//!
//! The only place where a refusal becomes a status and the only place that writes Set-Cookie. A
//! request reads here from top to bottom: normalise, match, authenticate, authorise, forward.

mod app_cookies;
mod audience;
mod body;
mod cookies;
mod cors;
mod endpoints;
mod explain;
mod fixed;
mod identify;
mod leaving;
mod open;
mod pages;
mod preference;
mod redirect;
mod refusal;
mod serve;
mod snapshot;
mod upgrade;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub use body::Body;
pub use explain::{Explanation, Question, explain, run_tests};
pub use refusal::Refusal;
pub use snapshot::{Snapshot, public_origins};
pub use upgrade::Tunnel;

use self::open::Claim;
use crate::auth::{Auth, Profiles, Seen};
use crate::request::{Peer, PeerKind};
use crate::revocation::Streams;
use crate::telemetry::Worker;
use crate::token::TokenCache;
use crate::upstream::{Health, Pools};

/// A worker's gateway under one configuration: everything that a request needs, nothing shared that
/// is written. A request keeps the gateway that it began with, so no answer is made of two
/// configurations.
#[derive(Debug)]
pub struct Gateway {
    snapshot: Rc<Snapshot>,
    auth: Auth,
    pools: Pools,
    profiles: Rc<Profiles>,
    seen: Rc<Seen>,
    cache: TokenCache,
    streams: Rc<Streams<Claim>>,
    /// The snapshot in force on this worker: another than this gateway's, once that has been replaced.
    in_force: Rc<RefCell<Rc<Snapshot>>>,
    telemetry: Worker,
}

impl Gateway {
    /// A gateway over a worker's own parts.
    pub fn new(snapshot: Snapshot, auth: Auth, pools: Pools, telemetry: Worker) -> Self {
        let snapshot = Rc::new(snapshot);
        Self {
            in_force: Rc::new(RefCell::new(Rc::clone(&snapshot))),
            snapshot,
            auth,
            pools,
            profiles: Rc::default(),
            seen: Rc::default(),
            cache: TokenCache::default(),
            streams: Rc::default(),
            telemetry,
        }
    }

    /// What a peer is to us: a client, or a proxy whose word is taken.
    pub fn peer_kind(&self, peer: Peer) -> PeerKind {
        self.snapshot.reader().trust.peer_kind(peer)
    }

    /// The same worker's gateway under another configuration: what is known of users goes on, and
    /// so do the connections to upstreams of which nothing changed.
    pub fn renewed(
        &self,
        snapshot: Snapshot,
        (auth, telemetry): (Auth, Worker),
        health: &Health,
    ) -> std::io::Result<Self> {
        let pools = self.pools.updated(&snapshot.config().upstreams, health)?;
        Ok(Self {
            snapshot: Rc::new(snapshot),
            auth,
            pools,
            profiles: Rc::clone(&self.profiles),
            seen: Rc::clone(&self.seen),
            // What was verified by other rules is verified anew.
            cache: TokenCache::default(),
            streams: Rc::clone(&self.streams),
            in_force: Rc::clone(&self.in_force),
            telemetry,
        })
    }

    /// Does what waits for a moment between requests, for as long as it is polled, whichever
    /// gateway is in force.
    pub async fn keep_house(current: &RefCell<Rc<Self>>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let gateway = Rc::clone(&current.borrow());
            gateway.auth.tell_seen(&gateway.seen);
        }
    }
}
