//! Unfinished uploads to one server, by the network they come from.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};

use crate::request::UploadState;

/// Those that were let in and may not have ended. Asked only for requests with a body.
#[derive(Debug, Default)]
pub(super) struct Uploads(RefCell<Vec<(IpAddr, UploadState)>>);

impl Uploads {
    /// Lets one in, unless the client's network has `most` unfinished ones.
    pub(super) fn admit(&self, upload: &UploadState, client: Option<IpAddr>, most: usize) -> bool {
        let Some(network) = client.map(network) else {
            return true;
        };
        let mut under_way = self.0.borrow_mut();
        under_way.retain(|(_, state)| state.is_under_way());
        if under_way.iter().filter(|(other, _)| *other == network).count() >= most {
            return false;
        }
        under_way.push((network, upload.clone()));
        true
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
}
