//! The listening sockets of a worker, as its runtime knows them.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::bare::Bare;
use super::closing::Closing;
use crate::request::Peer;

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Doors {
    ours: Vec<TcpListener>,
    inherited: Vec<TcpListener>,
    unix: Vec<UnixListener>,
    inherited_unix: Vec<UnixListener>,
    /// Which is asked first.
    turn: Cell<usize>,
}

/// Sockets that somebody else keeps open: who waits there is left to a successor.
#[derive(Debug, Default)]
pub struct Inherited {
    /// By TCP.
    pub tcp: Vec<std::net::TcpListener>,
    /// By a file, which is not ours either.
    pub unix: Vec<std::os::unix::net::UnixListener>,
}

/// One of them.
enum Listening<'a> {
    Tcp(&'a TcpListener),
    Unix(&'a UnixListener),
}

impl Doors {
    /// Sockets of our own, by TCP and by files, and those that somebody else keeps open.
    pub(super) fn open(
        ours: Vec<std::net::TcpListener>,
        unix: Vec<std::os::unix::net::UnixListener>,
        inherited: Inherited,
    ) -> io::Result<Self> {
        Ok(Self {
            ours: ours.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?,
            inherited: inherited
                .tcp
                .into_iter()
                .map(TcpListener::from_std)
                .collect::<io::Result<_>>()?,
            unix: unix.into_iter().map(UnixListener::from_std).collect::<io::Result<_>>()?,
            inherited_unix: inherited
                .unix
                .into_iter()
                .map(UnixListener::from_std)
                .collect::<io::Result<_>>()?,
            turn: Cell::new(0),
        })
    }

    /// Who comes next. The sockets take turns, so that a flood at one keeps nobody out who comes by
    /// another.
    pub(super) async fn accept(&self) -> io::Result<(Bare, Peer)> {
        poll_fn(|cx| {
            let all = self.sockets().enumerate();
            let in_turn = all.cycle().skip(self.turn.get()).take(self.sockets().count());
            for (at, socket) in in_turn {
                let accepted = socket.poll_accept(cx);
                if accepted.is_ready() {
                    self.turn.set(at.saturating_add(1));
                    return accepted;
                }
            }
            Poll::Pending
        })
        .await
    }

    fn sockets(&self) -> impl Iterator<Item = Listening<'_>> + Clone {
        let tcp = self.ours.iter().chain(&self.inherited).map(Listening::Tcp);
        tcp.chain(self.unix.iter().chain(&self.inherited_unix).map(Listening::Unix))
    }

    /// Begins to close what is ours. Who waits at an inherited socket is left to a successor.
    pub(super) fn close(self) -> Closing {
        Closing::begin(self.ours, self.unix)
    }
}

impl Listening<'_> {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Bare, Peer)>> {
        match self {
            Self::Tcp(socket) => poll_tcp(socket, cx),
            Self::Unix(socket) => {
                let named = |(stream, _): (UnixStream, _)| (stream.into(), Peer::UNIX);
                socket.poll_accept(cx).map_ok(named)
            }
        }
    }
}

/// Who comes next by one of TCP.
pub(super) fn poll_tcp(
    socket: &TcpListener,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Bare, Peer)>> {
    socket.poll_accept(cx).map_ok(|(stream, address)| {
        let _works_without_too = stream.set_nodelay(true);
        (stream.into(), peer(address))
    })
}

/// A v4-mapped address is the IPv4 address that it maps.
fn peer(address: SocketAddr) -> Peer {
    Peer { address: address.ip().to_canonical(), port: address.port() }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_flood_at_one_socket_keeps_nobody_out_who_comes_by_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let bind = || {
                let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                socket.set_nonblocking(true).unwrap();
                (socket.local_addr().unwrap(), socket)
            };
            let unix = |name: &str| {
                let path = folder.path().join(name);
                let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
                socket.set_nonblocking(true).unwrap();
                (path, socket)
            };
            let ((flooded, first), (other, second)) = (bind(), bind());
            let ((file, third), (inherited, fourth)) = (unix("ours"), unix("inherited"));
            let _flood: Vec<_> = (0..20).map(|_| TcpStream::connect(flooded).unwrap()).collect();
            let _tcp = TcpStream::connect(other).unwrap();
            let _files = [&file, &inherited]
                .map(|path| std::os::unix::net::UnixStream::connect(path).unwrap());
            let inherited = Inherited { tcp: vec![second], unix: vec![fourth] };
            let doors = Doors::open(vec![first], vec![third], inherited).unwrap();
            // As soon as the runtime knows of all that wait.
            let mut came = Vec::new();
            for _ in 0..8 {
                came.push(match doors.accept().await.unwrap().0 {
                    Bare::Tcp(stream) => stream.local_addr().unwrap().to_string(),
                    Bare::Unix(_) => "a file".to_owned(),
                });
            }
            let count = |name: &str| came.iter().filter(|socket| *socket == name).count();
            assert_eq!((count(&other.to_string()), count("a file")), (1, 2), "{came:?}");
        });
    }
}
