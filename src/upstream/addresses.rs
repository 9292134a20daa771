//! The addresses of a name: asked for again and again, and kept for a while when no answer comes.
//!
//! Not for connecting: that is the business of [`Place`](super::resolve::Place).

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::time::{Instant, timeout};

use super::Failure;

/// One name and what is known of it.
pub(super) struct Addresses {
    name: String,
    resolver: Arc<TokioResolver>,
    known: Mutex<Option<Known>>,
    turn: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    since: Instant,
    until: Instant,
}

impl Addresses {
    /// Nothing is asked yet.
    pub(super) fn new(name: &str, resolver: Arc<TokioResolver>) -> Self {
        Self { name: name.to_owned(), resolver, known: Mutex::default(), turn: AtomicUsize::new(0) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the name leads now, or led not long ago if nobody can tell within `patience`.
    pub(super) async fn look_up(&self, patience: Duration) -> Result<Vec<IpAddr>, Failure> {
        let last = self.last();
        // With something to fall back on, a resolver that is silent holds nobody up.
        let patience = if last.is_some() { patience.min(SHORT_PATIENCE) } else { patience };
        let failure = match timeout(patience, self.resolver.lookup_ip(self.name.as_str())).await {
            Ok(Ok(found)) => {
                let addresses: Vec<IpAddr> = found.iter().take(MOST_ADDRESSES).collect();
                if !addresses.is_empty() {
                    self.remember(&addresses, Instant::from_std(found.valid_until()));
                    return Ok(addresses);
                }
                Failure::Connect(format!("{}: the name has no address", self.name))
            }
            Ok(Err(cause)) => Failure::Connect(format!("{}: {cause}", self.name)),
            Err(_elapsed) => Failure::TimedOut,
        };
        last.map(|known| known.addresses).ok_or(failure)
    }

    /// When it should be asked for again.
    pub(super) fn due(&self) -> Instant {
        let now = Instant::now();
        let until = self.known().as_ref().map_or(now, |known| known.until);
        until.clamp(now + MOST_OFTEN, now + MOST_SELDOM)
    }

    /// The order in which they are tried: both families by turns, and each time another one first
    /// (RFC 8305 section 4), so that several servers behind one name share the connections.
    pub(super) fn in_turn(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        by_turns(addresses, self.turn.fetch_add(1, Ordering::Relaxed))
    }

    fn last(&self) -> Option<Known> {
        self.known().clone().filter(|known| known.since.elapsed() < KEPT_FOR)
    }

    fn remember(&self, addresses: &[IpAddr], until: Instant) {
        let known = Known { addresses: addresses.to_vec(), since: Instant::now(), until };
        *self.known() = Some(known);
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if it had been looked up so long ago.
    #[cfg(test)]
    pub(super) fn grow_old(&self, by: Duration) {
        if let Some(known) = &mut *self.known() {
            known.since -= by;
        }
    }
}

/// Both families by turns, each beginning with its `turn`th.
pub(super) fn by_turns(addresses: &[IpAddr], turn: usize) -> Vec<IpAddr> {
    let (mut sixes, mut fours): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv6());
    for family in [&mut sixes, &mut fours] {
        let start = turn.checked_rem(family.len()).unwrap_or_default();
        family.rotate_left(start);
    }
    let (mut sixes, mut fours) = (sixes.into_iter(), fours.into_iter());
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(sixes.next());
        ordered.extend(fours.next());
    }
    ordered
}

/// How long the last good answer serves while no other comes.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
const MOST_OFTEN: Duration = Duration::from_secs(1);
/// An answer that is valid for days may be wrong after a minute all the same: the operator's
/// answer to an outage is to change it.
const MOST_SELDOM: Duration = Duration::from_secs(60);
const MOST_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests;
