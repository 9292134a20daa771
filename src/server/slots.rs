//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of all workers together; touched once at each end of a connection.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    most_per_network: usize,
    taken: AtomicUsize,
    by_network: Mutex<HashMap<IpAddr, usize>>,
}

impl Slots {
    /// So many in all, and from one IPv4 /32 or IPv6 /64.
    pub fn new(most: usize, most_per_network: usize) -> Arc<Self> {
        let (taken, by_network) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { most, most_per_network, taken, by_network })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// A place, given back when it is dropped.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let network = network(address);
        let mut by_network = self.by_network();
        // Under the lock, so that the bound is exact.
        if self.taken() >= self.most {
            return None;
        }
        let here = by_network.entry(network).or_default();
        if *here >= self.most_per_network {
            return None;
        }
        *here = here.saturating_add(1);
        self.taken.fetch_add(1, Ordering::Relaxed);
        drop(by_network);
        Some(Slot { slots: Arc::clone(self), network })
    }

    fn by_network(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, network: IpAddr) {
        let mut by_network = self.by_network();
        self.taken.fetch_sub(1, Ordering::Relaxed);
        match by_network.get_mut(&network) {
            Some(here) if *here > 1 => *here = here.saturating_sub(1),
            _ => {
                by_network.remove(&network);
            }
        }
    }
}

/// A place taken.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    network: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(self.network);
    }
}

/// One client may have a whole /64 of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_per_network_and_come_back() {
        let slots = Slots::new(3, 2);
        let address = |text: &str| text.parse().unwrap();
        let first = slots.take(address("2001:db8::1")).unwrap();
        let second = slots.take(address("2001:db8::ffff:1")).unwrap();
        assert!(slots.take(address("2001:db8::2")).is_none(), "the same /64");
        let third = slots.take(address("192.0.2.1")).unwrap();
        assert!(slots.take(address("192.0.2.2")).is_none(), "all are taken");
        drop(first);
        let fourth = slots.take(address("192.0.2.2")).unwrap();
        assert_eq!(slots.taken(), 3);
        drop((second, third, fourth));
        assert_eq!(slots.taken(), 0);
        assert_eq!(slots.by_network().len(), 0, "nothing is left behind");
    }
}
