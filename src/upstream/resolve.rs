//! Names to addresses, in a static image too.
//!
//! The C library cannot resolve names in a static binary, so the queries are made here, by the
//! system's `resolv.conf` and `hosts`, and remembered for as long as the answers say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Failure;
use crate::config::Upstream;

/// Where an upstream is.
#[derive(Debug)]
pub(super) struct Place {
    name: Name,
    port: u16,
}

enum Name {
    Fixed(Vec<IpAddr>),
    Looked { name: String, resolver: Rc<TokioResolver> },
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(addresses) => write!(f, "{addresses:?}"),
            Self::Looked { name, .. } => f.write_str(name),
        }
    }
}

impl Place {
    /// Addresses and `localhost` (RFC 6761 section 6.3) need no resolver; the first name makes one,
    /// which the others share.
    pub(super) fn new(
        upstream: &Upstream,
        resolver: &mut Option<Rc<TokioResolver>>,
    ) -> io::Result<Self> {
        let name = match upstream.host.parse() {
            Ok(address) => Name::Fixed(vec![address]),
            Err(_) if upstream.host.eq_ignore_ascii_case("localhost") => {
                Name::Fixed(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
            }
            Err(_) => {
                let resolver = match resolver {
                    Some(resolver) => resolver,
                    None => resolver.insert(Rc::new(system_resolver()?)),
                };
                Name::Looked { name: upstream.host.clone(), resolver: Rc::clone(resolver) }
            }
        };
        Ok(Self { name, port: upstream.port })
    }

    /// Connects to the first address that answers, all within `limit`, each having its share of
    /// what is left.
    pub(super) async fn connect(&self, limit: Duration) -> Result<TcpStream, Failure> {
        let end = Instant::now() + limit;
        let looked_up = timeout(limit, self.addresses());
        let addresses = looked_up.await.map_err(|_elapsed| Failure::TimedOut)??;
        let mut failure = Failure::Connect("the name has no address".to_owned());
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let share = end.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            let address = SocketAddr::new(address, self.port);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(cause)) => failure = Failure::Connect(format!("{address}: {cause}")),
                Err(_elapsed) => failure = Failure::TimedOut,
            }
        }
        Err(failure)
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        match &self.name {
            Name::Fixed(addresses) => Ok(addresses.clone()),
            Name::Looked { name, resolver } => {
                let found = resolver.lookup_ip(name.as_str()).await;
                let found = found.map_err(|cause| Failure::Connect(format!("{name}: {cause}")))?;
                Ok(found.iter().collect())
            }
        }
    }
}

fn system_resolver() -> io::Result<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
