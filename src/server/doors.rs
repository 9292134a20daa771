//! The listening sockets of a worker, as its runtime knows them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};

use super::bare::Bare;
use super::closing::Closing;
use crate::request::Peer;

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Doors {
    ours: Vec<TcpListener>,
    lent: Vec<TcpListener>,
    unix: Vec<UnixListener>,
}

impl Doors {
    /// Sockets of our own, those that somebody else keeps open, and Unix sockets.
    pub(super) fn open(
        ours: Vec<std::net::TcpListener>,
        lent: Vec<std::net::TcpListener>,
        unix: Vec<std::os::unix::net::UnixListener>,
    ) -> io::Result<Self> {
        Ok(Self {
            ours: ours.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?,
            lent: lent.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?,
            unix: unix.into_iter().map(UnixListener::from_std).collect::<io::Result<_>>()?,
        })
    }

    /// Who comes next.
    pub(super) async fn accept(&self) -> io::Result<(Bare, Peer)> {
        poll_fn(|cx| {
            let tcp = poll_tcp(self.ours.iter().chain(&self.lent), cx);
            if tcp.is_ready() { tcp } else { self.poll_unix(cx) }
        })
        .await
    }

    /// Begins to close what is ours. Who waits at a lent socket is left to a successor.
    pub(super) fn close(self) -> Closing {
        Closing::begin(self.ours, self.unix)
    }

    fn poll_unix(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Bare, Peer)>> {
        for socket in &self.unix {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(accepted.map(|(stream, _)| (stream.into(), Peer::UNIX)));
            }
        }
        Poll::Pending
    }
}

/// Who comes next by one of these.
pub(super) fn poll_tcp<'a>(
    sockets: impl IntoIterator<Item = &'a TcpListener>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Bare, Peer)>> {
    for socket in sockets {
        if let Poll::Ready(accepted) = socket.poll_accept(cx) {
            return Poll::Ready(accepted.map(|(stream, address)| {
                let _works_without_too = stream.set_nodelay(true);
                (stream.into(), peer(address))
            }));
        }
    }
    Poll::Pending
}

/// A v4-mapped address is the IPv4 address that it maps.
fn peer(address: SocketAddr) -> Peer {
    Peer { address: address.ip().to_canonical(), port: address.port() }
}
