//! Listening sockets that a service manager hands over (`sd_listen_fds(3)`).
//!
//! It keeps them open itself: who connects while no gateway runs waits for the next one, so a
//! restart refuses nobody.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use super::listen::{ListenError, Listener};

/// A socket that was handed over, once per worker.
#[derive(Debug)]
pub enum Handed {
    /// By TCP.
    Tcp(Listener),
    /// By a file, which the service manager has made and removes.
    Unix(Vec<UnixListener>),
}

/// Takes every socket over, once per worker, each with its name. `names` are those of `LISTEN_FDNAMES`, in order. To be
/// called once and before there are threads: it takes the variables away, so that no
/// child finds them.
pub fn inherit(names: &[String], workers: usize) -> Result<Vec<(String, Handed)>, ListenError> {
    let mut handed = ListenFd::from_env();
    let named = |number: usize| match names.get(number) {
        Some(name) => format!("number {number}, {name}"),
        None => format!("number {number}"),
    };
    let taken = (0..handed.len()).map(|number| {
        let name = names.get(number).cloned().unwrap_or_default();
        take(&mut handed, number, workers)
            .map(|socket| (name, socket))
            .map_err(|cause| ListenError::Handed { which: named(number), cause })
    });
    taken.collect()
}

fn take(handed: &mut ListenFd, number: usize, workers: usize) -> io::Result<Handed> {
    let before = || io::Error::other("it was taken before");
    // What is of another kind is left in its place.
    if let Ok(socket) = handed.take_unix_listener(number) {
        return shared_unix(socket.ok_or_else(before)?, workers).map(Handed::Unix);
    }
    let socket = handed.take_tcp_listener(number)?;
    shared(socket.ok_or_else(before)?, workers).map(Handed::Tcp)
}

/// One file description for all: whoever is free takes the next connection.
fn shared(socket: TcpListener, workers: usize) -> io::Result<Listener> {
    check_listens(&socket)?;
    socket.set_nonblocking(true)?;
    let address: SocketAddr = socket.local_addr()?;
    let clones = (1..workers).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
    let sockets = clones.into_iter().chain([socket]).collect();
    Ok(Listener { address, sockets })
}

fn shared_unix(socket: UnixListener, workers: usize) -> io::Result<Vec<UnixListener>> {
    check_listens(&socket)?;
    socket.set_nonblocking(true)?;
    let clones = (1..workers).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
    Ok(clones.into_iter().chain([socket]).collect())
}

fn check_listens(socket: impl AsFd) -> io::Result<()> {
    if rustix::net::sockopt::socket_acceptconn(socket)? {
        return Ok(());
    }
    Err(io::Error::other("it does not listen; write Accept=no in its unit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handed_socket_is_shared_by_all_workers() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = shared(socket, 3).unwrap();
        assert_eq!((listener.address, listener.sockets.len()), (address, 3));
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let handed = TcpListener::from(std::os::fd::OwnedFd::from(stream));
        assert!(shared(handed, 1).unwrap_err().to_string().contains("Accept=no"));
    }
}
