//! Who may wait for a hash: half of the queue is for known clients alone, and the strangers of one
//! network hold few places of the other half. So a flood of guesses cannot shut the owner out.
//!
//! Bounded by itself: there is an entry for each network that holds a place, and no more places
//! than the queue has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For whom a hash is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client that the user signed in with before, or somebody who is signed in.
    Known,
    /// Anybody else, from this /24 or /48.
    Stranger([u8; 16]),
}

/// The places that strangers may hold.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    most_per_network: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_network: HashMap<[u8; 16], usize>,
}

impl Seats {
    /// Half of the queue, but at least one place, and so many of it for each network.
    pub(super) fn new(queue: usize, most_per_network: usize) -> Self {
        Self { most: queue.div_ceil(2), most_per_network, taken: Mutex::default() }
    }

    /// A place for whoever asks; Err: none is left for the likes of that one.
    pub(super) fn take(self: &Arc<Self>, asker: Asker) -> Result<Seat, Full> {
        let Asker::Stranger(network) = asker else {
            return Ok(Seat(None));
        };
        let mut taken = self.taken();
        let held = taken.by_network.get(&network).copied().unwrap_or(0);
        if taken.all >= self.most || held >= self.most_per_network {
            return Err(Full);
        }
        taken.all += 1;
        taken.by_network.insert(network, held + 1);
        Ok(Seat(Some((Arc::clone(self), network))))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, network: [u8; 16]) {
        let mut taken = self.taken();
        taken.all = taken.all.saturating_sub(1);
        match taken.by_network.get_mut(&network) {
            Some(held) if *held > 1 => *held -= 1,
            Some(_) | None => drop(taken.by_network.remove(&network)),
        }
    }

    #[cfg(test)]
    pub(super) fn networks(&self) -> usize {
        self.taken().by_network.len()
    }
}

/// No place for a stranger.
#[derive(Debug)]
pub(super) struct Full;

/// A place in the queue, held until its job begins or is dropped.
#[derive(Debug)]
pub(super) struct Seat(Option<(Arc<Seats>, [u8; 16])>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((seats, network)) = self.0.take() {
            seats.give_back(network);
        }
    }
}
