//! Takes one HTTP request to one HTTP response, under a [`Snapshot`].
//!
//! The only place where a refusal becomes a status and the only place that writes Set-Cookie. A
//! request reads here from top to bottom: normalise, match, authenticate, authorise, forward.

mod audience;
mod body;
mod cookies;
mod cors;
mod endpoints;
mod explain;
mod identify;
mod pages;
mod preference;
mod refusal;
mod serve;
mod snapshot;

use std::cell::RefCell;
use std::rc::Rc;

pub use body::Body;
pub use explain::{Explanation, Question, explain, run_tests};
pub use refusal::Refusal;
pub use snapshot::{Snapshot, public_origins};

use crate::auth::{Auth, Profiles, Seen};
use crate::telemetry::Worker;
use crate::upstream::Pools;

/// A worker's gateway: everything that a request needs, nothing shared that is written.
#[derive(Debug)]
pub struct Gateway {
    snapshot: RefCell<Rc<Snapshot>>,
    auth: Auth,
    pools: Pools,
    profiles: Profiles,
    seen: Seen,
    telemetry: Worker,
}

impl Gateway {
    /// A gateway over a worker's own parts.
    pub fn new(snapshot: Snapshot, auth: Auth, pools: Pools, telemetry: Worker) -> Self {
        let snapshot = RefCell::new(Rc::new(snapshot));
        Self {
            snapshot,
            auth,
            pools,
            profiles: Profiles::default(),
            seen: Seen::default(),
            telemetry,
        }
    }

    /// The snapshot that a request beginning now is served by, to its end.
    fn pin(&self) -> Rc<Snapshot> {
        Rc::clone(&self.snapshot.borrow())
    }
}
