//! Listening sockets: one per worker and address.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// One address, listened on by every worker.
#[derive(Debug)]
pub struct Listener {
    /// The address as bound: the port is never 0.
    pub address: SocketAddr,
    /// One per worker; the kernel shares connections out among them.
    pub sockets: Vec<TcpListener>,
}

/// Why nobody can listen there.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error("cannot listen on {0}: the port is in use, perhaps by another gateway")]
    InUse(SocketAddr),
    /// Ports below 1024 want a privilege.
    #[error("cannot listen on {0}: permission denied")]
    Denied(SocketAddr),
    /// There is none of the promised sockets; how they are told apart, if they are.
    #[error("no socket{0} was handed over")]
    NothingHanded(&'static str),
    /// A socket that was handed over cannot be used.
    #[error("cannot use the socket of systemd, {which}: {cause}")]
    Handed {
        /// Its number and name.
        which: String,
        /// Why not.
        cause: io::Error,
    },
    /// Whoever comes by a file has no address, and is trusted or nobody.
    #[error(
        "systemd hands over a Unix socket, and server.trusted_proxies does not name \"unix\": whoever comes by it would be nobody"
    )]
    HandedUntrusted,
    /// Somebody else listens at the file.
    #[error("cannot listen on unix:{}: another process listens there, perhaps a gateway", .0.display())]
    UnixInUse(PathBuf),
    /// The file of a socket cannot be made.
    #[error("cannot listen on unix:{}", .path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Anything else, as an address that is not of this machine.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// Listens on each address, once per worker. All or none: what was bound is closed on failure.
pub fn listen(addresses: &[SocketAddr], workers: usize) -> Result<Vec<Listener>, ListenError> {
    let only_v6 = |address: &SocketAddr| {
        let v4 = |other: &SocketAddr| is_v4_wildcard(other) && other.port() == address.port();
        address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && addresses.iter().any(v4)
    };
    let family = |address: &SocketAddr| match address {
        SocketAddr::V6(_) if only_v6(address) => Family::OnlyV6,
        SocketAddr::V6(_) => Family::V6,
        SocketAddr::V4(_) => Family::V4,
    };
    let bound = addresses.iter().map(|address| {
        listen_on(*address, family(address), workers).map_err(|cause| explained(*address, cause))
    });
    bound.collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    /// With v4-mapped peers.
    V6,
    OnlyV6,
}

fn is_v4_wildcard(address: &SocketAddr) -> bool {
    address.is_ipv4() && address.ip().is_unspecified()
}

/// Sockets that share a port would share it with another gateway too, which then got half of the
/// connections: so the port is first taken alone.
fn listen_on(address: SocketAddr, family: Family, workers: usize) -> io::Result<Listener> {
    let alone = bound(address, family, Port::Alone)?;
    let address = alone.local_addr()?.as_socket().unwrap_or(address);
    drop(alone);
    let sockets = (0..workers.max(1)).map(|_| {
        let socket = bound(address, family, Port::Shared)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    });
    Ok(Listener { address, sockets: sockets.collect::<io::Result<_>>()? })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Alone,
    Shared,
}

fn bound(address: SocketAddr, family: Family, port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Else a restart waits for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if family != Family::V4 {
        socket.set_only_v6(family == Family::OnlyV6)?;
    }
    if port == Port::Shared {
        rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn explained(address: SocketAddr, cause: io::Error) -> ListenError {
    let is = |kind| cause.kind() == kind;
    if is(io::ErrorKind::AddrInUse) {
        ListenError::InUse(address)
    } else if is(io::ErrorKind::PermissionDenied) {
        ListenError::Denied(address)
    } else {
        ListenError::Other { address, cause }
    }
}

/// Connections that wait to be accepted, per socket.
pub(super) const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests;
