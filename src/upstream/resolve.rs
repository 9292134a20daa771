//! Names to addresses, in a static image too.
//!
//! The C library cannot resolve names in a static binary, so the queries are made here, by the
//! system's `resolv.conf` and `hosts`, and remembered for as long as the answers say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Failure;
use super::addresses::Addresses;
use super::socket::Socket;
use super::streams::Speaks;
use super::tls::{self, Offer, Tls};
use crate::config::{Protocol, ServerAddress, UpstreamServer};

/// Makes the system's resolver when the first name asks for it; all others share it.
#[derive(Default)]
pub(super) struct Resolver(Option<Arc<TokioResolver>>);

impl Resolver {
    fn get(&mut self) -> io::Result<Arc<TokioResolver>> {
        if let Some(resolver) = &self.0 {
            return Ok(Arc::clone(resolver));
        }
        let resolver = Arc::new(system_resolver()?);
        Ok(Arc::clone(self.0.insert(resolver)))
    }

    /// One that asks elsewhere.
    #[cfg(test)]
    pub(super) fn of(resolver: TokioResolver) -> Self {
        Self(Some(Arc::new(resolver)))
    }
}

/// Where a server is.
pub(super) struct Place {
    name: Name,
    port: u16,
    protocol: Protocol,
    tls: Option<Tls>,
}

enum Name {
    Fixed(Vec<IpAddr>),
    Looked(Addresses),
    File(PathBuf),
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(addresses) => write!(f, "{addresses:?}"),
            Self::Looked(addresses) => f.write_str(addresses.name()),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}:{}", self.name, self.port)
    }
}

impl Place {
    /// Addresses, sockets in the file system and `localhost` (RFC 6761 section 6.3) need no
    /// resolver.
    pub(super) fn new(
        server: &UpstreamServer,
        tls: Option<Tls>,
        resolver: &mut Resolver,
    ) -> io::Result<Self> {
        let protocol = server.protocol;
        let (host, port) = match &server.address {
            ServerAddress::Tcp(host, port) => (host, *port),
            ServerAddress::Unix(path) => {
                return Ok(Self { name: Name::File(path.clone()), port: 0, protocol, tls });
            }
        };
        let name = match host.parse() {
            Ok(address) => Name::Fixed(vec![address]),
            Err(_) if host.eq_ignore_ascii_case("localhost") => {
                Name::Fixed(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
            }
            Err(_) => Name::Looked(Addresses::new(host, resolver.get()?)),
        };
        Ok(Self { name, port, protocol, tls })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// What its server speaks, as far as the configuration tells.
    pub(super) fn speaks(&self) -> Speaks {
        match (self.protocol, &self.tls) {
            (_, Some(_)) => Speaks::Either,
            (Protocol::H2c, None) => Speaks::Http2,
            (Protocol::Http | Protocol::Https, None) => Speaks::Http1,
        }
    }

    /// Connects within `limit`, to the end of the handshake.
    pub(super) async fn connect(&self, limit: Duration, offer: Offer) -> Result<Socket, Failure> {
        let refused = |cause: io::Error| Failure::Connect(format!("{:?}: {cause}", self.name));
        if let Name::File(path) = &self.name {
            let connected = timeout(limit, UnixStream::connect(path)).await;
            let stream = connected.map_err(|_elapsed| Failure::TimedOut)?.map_err(refused)?;
            return Ok(Socket::Unix(stream));
        }
        let end = Instant::now() + limit;
        let stream = self.connect_over_network(limit).await?;
        stream.set_nodelay(true).map_err(refused)?;
        let Some(tls) = &self.tls else {
            return Ok(Socket::Tcp(stream));
        };
        let begun = timeout_at(end, tls.begin(stream, offer)).await;
        let told = |cause: io::Error| {
            if tls::is_of_protocol(&cause) {
                Failure::Protocol(format!("{:?}: {cause}", self.name))
            } else {
                refused(cause)
            }
        };
        let stream = begun.map_err(|_elapsed| Failure::TimedOut)?.map_err(told)?;
        Ok(Socket::Tls(Box::new(stream)))
    }

    /// Connects to the first address that answers, all within `limit`.
    async fn connect_over_network(&self, limit: Duration) -> Result<TcpStream, Failure> {
        let end = Instant::now() + limit;
        let addresses = self.addresses(limit).await?;
        let ordered = match &self.name {
            Name::Looked(name) => name.in_turn(&addresses),
            Name::Fixed(_) | Name::File(_) => addresses,
        };
        let connected = timeout_at(end, race(&ordered, self.port)).await;
        connected.map_err(|_elapsed| Failure::TimedOut)?
    }

    async fn addresses(&self, limit: Duration) -> Result<Vec<IpAddr>, Failure> {
        match &self.name {
            Name::Fixed(addresses) => Ok(addresses.clone()),
            Name::File(_) => Ok(Vec::new()),
            Name::Looked(name) => name.look_up(limit).await,
        }
    }

    /// When its addresses should be asked for again; None: they never change.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.name {
            Name::Looked(name) => Some(name.due()),
            Name::Fixed(_) | Name::File(_) => None,
        }
    }

    /// Where its name leads now; nothing if nobody can tell.
    pub(super) async fn look_again(&self) -> Option<Vec<IpAddr>> {
        self.addresses(LONGEST_LOOK_UP).await.ok()
    }
}

/// The first connection of several, each address having a head start on the next one and losing it
/// by failing (RFC 8305 section 5).
async fn race(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    if let [only] = addresses {
        return connect(SocketAddr::new(*only, port)).await;
    }
    let mut failure = Failure::Connect("the name has no address".to_owned());
    let (mut left, mut attempts) = (addresses.iter(), JoinSet::new());
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(connect(SocketAddr::new(*address, port)));
        }
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(cause))) => failure = cause,
                Some(Err(_panicked)) => {}
                None => return Err(failure),
            },
            () = sleep(HEAD_START), if left.len() > 0 => {}
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let told = |cause: io::Error| Failure::Connect(format!("{address}: {cause}"));
    TcpStream::connect(address).await.map_err(told)
}

/// RFC 8305 section 5 recommends it.
const HEAD_START: Duration = Duration::from_millis(250);
const LONGEST_LOOK_UP: Duration = Duration::from_secs(5);

fn system_resolver() -> io::Result<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
