//! Who holds the connections to one server, by network.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use super::uploads::network;

/// Requests under way on connections of their own, of each network that has any.
#[derive(Debug, Default)]
pub(super) struct Holders(RefCell<HashMap<IpAddr, usize>>);

impl Holders {
    pub(super) fn begin(&self, client: IpAddr) {
        let mut held = self.0.borrow_mut();
        let held = held.entry(network(client)).or_default();
        *held = held.saturating_add(1);
    }

    pub(super) fn end(&self, client: IpAddr) {
        let mut all = self.0.borrow_mut();
        let network = network(client);
        if let Some(held) = all.get_mut(&network) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                all.remove(&network);
            }
        }
    }

    /// Those of a client's network.
    pub(super) fn of(&self, client: IpAddr) -> usize {
        self.0.borrow().get(&network(client)).copied().unwrap_or(0)
    }
}
