//! How many connections there may be, in all and from one address.

use std::array;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of all workers together; touched once at each end of a connection. The networks are
/// spread over many locks, so that workers hardly ever wait for each other.
#[derive(Debug)]
pub struct Slots {
    most: AtomicUsize,
    most_per_network: AtomicUsize,
    taken: AtomicUsize,
    by_network: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    spread: RandomState,
}

impl Slots {
    /// So many in all, and from one IPv4 /32 or IPv6 /64.
    pub fn new(most: usize, most_per_network: usize) -> Arc<Self> {
        let by_network = array::from_fn(|_| Mutex::default());
        let [most, most_per_network] = [most, most_per_network].map(AtomicUsize::new);
        let (taken, spread) = (AtomicUsize::new(0), RandomState::new());
        Arc::new(Self { most, most_per_network, taken, by_network, spread })
    }

    /// Other bounds from now on; whoever has a place keeps it.
    pub fn bound(&self, most: usize, most_per_network: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_network.store(most_per_network, Ordering::Relaxed);
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// A place, given back when it is dropped. Without an address it is bounded in all alone: a
    /// trusted proxy's, who connects for many.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let most = self.most.load(Ordering::Relaxed);
        let add = |taken: usize| (taken < most).then(|| taken.saturating_add(1));
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        let mut slot = Slot { slots: Arc::clone(self), network: None };
        address.is_none_or(|address| slot.bind(address)).then_some(slot)
    }

    fn shard(&self, network: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let shards = u64::try_from(SHARDS).unwrap_or(1);
        let at = usize::try_from(self.spread.hash_one(network) % shards).unwrap_or(0);
        let [first, ..] = &self.by_network;
        let shard = self.by_network.get(at).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place taken.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    network: Option<IpAddr>,
}

impl Slot {
    /// Counts it for an address, once that is known. False: there are too many from there.
    pub(super) fn bind(&mut self, address: IpAddr) -> bool {
        let network = network(address);
        let mut shard = self.slots.shard(network);
        let here = shard.entry(network).or_default();
        if *here >= self.slots.most_per_network.load(Ordering::Relaxed) {
            return false;
        }
        *here = here.saturating_add(1);
        self.network = Some(network);
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut shard = self.slots.shard(network);
        match shard.get_mut(&network) {
            Some(here) if *here > 1 => *here = here.saturating_sub(1),
            _ => {
                shard.remove(&network);
            }
        }
    }
}

/// One client may have a whole /64 of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_per_network_and_come_back() {
        let slots = Slots::new(3, 2);
        let address = |text: &str| Some(text.parse().unwrap());
        let first = slots.take(address("2001:db8::1")).unwrap();
        let second = slots.take(address("2001:db8::ffff:1")).unwrap();
        assert!(slots.take(address("2001:db8::2")).is_none(), "the same /64");
        let third = slots.take(address("192.0.2.1")).unwrap();
        assert!(slots.take(address("192.0.2.2")).is_none(), "all are taken");
        drop(first);
        let fourth = slots.take(address("192.0.2.2")).unwrap();
        assert_eq!(slots.taken(), 3);
        slots.bound(5, 1);
        assert!(slots.take(address("192.0.2.1")).is_none(), "one is enough from now on");
        drop(slots.take(address("192.0.2.3")).unwrap());
        drop((second, third, fourth));
        assert_eq!(slots.taken(), 0);
        let left: usize = slots.by_network.iter().map(|s| s.lock().unwrap().len()).sum();
        assert_eq!(left, 0, "nothing is left behind");
    }

    #[test]
    fn a_proxys_place_counts_for_its_client_once_that_is_known() {
        let slots = Slots::new(4, 1);
        let client = "192.0.2.1".parse().unwrap();
        let mut first = slots.take(None).unwrap();
        let mut second = slots.take(None).unwrap();
        assert!(first.bind(client), "the only one from there");
        assert!(!second.bind(client), "one too many");
        drop(second);
        assert!(slots.take(Some(client)).is_none());
        drop(first);
        assert!(slots.take(Some(client)).is_some());
        assert_eq!(slots.taken(), 0);
    }
}
