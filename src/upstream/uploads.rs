//! Unfinished uploads to one server, by the network they come from.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Failure;

/// The places of each network that has any. Asked only for requests with a body.
#[derive(Debug, Default)]
pub(super) struct Uploads(RefCell<HashMap<IpAddr, Places>>);

#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// Free ones and others.
    all: usize,
}

/// Held until an upload has ended.
pub(super) type UploadPlace = OwnedSemaphorePermit;

impl Uploads {
    /// Lets one in once its client's network has fewer than `most` unfinished ones, in the order in
    /// which they come. Fails at the end, or at once if `waiting` of them wait.
    pub(super) async fn admit(
        &self,
        client: IpAddr,
        (most, waiting): (usize, usize),
        end: Instant,
    ) -> Result<UploadPlace, Failure> {
        let places = self.places(network(client), most);
        // Each place, each who waits, the table and this one hold it once.
        if Arc::strong_count(&places).saturating_sub(2) >= most.saturating_add(waiting) {
            return Err(Failure::Full);
        }
        let place = timeout_at(end, places.acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Failure::Full)
    }

    /// Whether its network has no place left.
    pub(super) fn are_most_of(&self, client: IpAddr) -> bool {
        let networks = self.0.borrow();
        networks.get(&network(client)).is_some_and(|places| places.free.available_permits() == 0)
    }

    fn places(&self, network: IpAddr, most: usize) -> Arc<Semaphore> {
        let mut networks = self.0.borrow_mut();
        if !networks.contains_key(&network) {
            networks.retain(|_, places| Arc::strong_count(&places.free) > 1);
        }
        let none = || Places { free: Arc::new(Semaphore::new(0)), all: 0 };
        let places = networks.entry(network).or_insert_with(none);
        places.resize(most);
        Arc::clone(&places.free)
    }
}

impl Places {
    /// To so many: what a server takes is known better with each connection. Held ones stay.
    fn resize(&mut self, most: usize) {
        self.free.add_permits(most.saturating_sub(self.all));
        self.all = self.all.max(most);
        self.all -= self.free.forget_permits(self.all - most);
    }
}

/// An IPv4 address, or the /64 that a customer gets of IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_64() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_network_has_as_many_places_as_are_known_by_now_and_keeps_those_it_holds() {
        let uploads = Uploads::default();
        let client = IpAddr::from([192, 0, 2, 1]);
        let take = |most| uploads.places(client, most).try_acquire_owned().ok();
        let one = take(1).unwrap();
        assert!(take(1).is_none());
        let two = take(2).unwrap();
        assert!(take(1).is_none());
        drop(one);
        assert!(take(1).is_none(), "the other one is still held");
        drop(two);
        assert!(take(1).is_some());
    }

    #[test]
    fn a_network_without_uploads_is_forgotten() {
        let uploads = Uploads::default();
        for last in 0..99 {
            drop(uploads.places(IpAddr::from([192, 0, 2, last]), 1));
        }
        assert_eq!(uploads.0.borrow().len(), 1);
    }
}
