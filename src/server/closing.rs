//! Closing a listening socket without losing who came.
//!
//! The kernel finishes handshakes by itself, and resets whoever waits in the queue of a socket that
//! is closed: such a client has connected, has perhaps sent its request, and finds it lost. So no
//! new handshake is begun first; then the queue is emptied, for as long as begun ones may take; and
//! only then the socket is closed. Who comes meanwhile is refused a moment later. A Unix socket knows no
//! handshake: it takes nobody more at once, and its queue is all there is.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, UnixStream};
use tokio::time::timeout;

use super::bare::Bare;
use super::doors::poll_tcp;
use crate::request::Peer;

/// Sockets about to be closed.
#[derive(Debug)]
pub(super) struct Closing {
    tcp: Vec<TcpListener>,
    /// Apart from the runtime: nobody more is on the way to them, so there is nothing to wait for.
    unix: Vec<UnixListener>,
}

impl Closing {
    /// Begins no new handshake from now on.
    pub(super) fn begin(tcp: Vec<TcpListener>, unix: Vec<tokio::net::UnixListener>) -> Self {
        tcp.iter().for_each(refuse_handshakes);
        let unix = unix.into_iter().filter_map(|socket| socket.into_std().ok());
        let unix = unix.inspect(|socket| {
            // For all workers at once, since they share it. Without it few are lost instead of none.
            let _as_it_was = SockRef::from(socket).shutdown(Shutdown::Read);
        });
        Self { tcp, unix: unix.collect() }
    }

    /// Who came before; None: nobody more, and the sockets are closed.
    pub(super) async fn next(&mut self) -> Option<(Bare, Peer)> {
        if let Some(stream) = self.next_unix() {
            return Some((stream.into(), Peer::UNIX));
        }
        while !self.tcp.is_empty() {
            match timeout(HANDSHAKE, poll_fn(|cx| self.poll_tcp(cx))).await {
                Ok(Ok(accepted)) => return Some(accepted),
                // One that left while it waited: the next may be there.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Ok(Err(_)) | Err(_) => self.tcp.clear(),
            }
        }
        None
    }

    fn poll_tcp(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Bare, Peer)>> {
        let mut polled = self.tcp.iter().map(|socket| poll_tcp(socket, cx));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    fn next_unix(&mut self) -> Option<UnixStream> {
        while let Some(socket) = self.unix.last() {
            match socket.accept() {
                Ok((stream, _)) => match adopted(stream) {
                    Ok(stream) => return Some(stream),
                    Err(_) => continue,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.unix.pop();
                }
            }
        }
        None
    }
}

fn adopted(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Drops the first packet of each handshake, the one with SYN and without ACK, before the kernel
/// answers it. The client sends it again a second later and is refused, the socket being closed.
#[cfg(target_os = "linux")]
fn refuse_handshakes(socket: &TcpListener) {
    use socket2::SockFilter;
    /// Where the flags of a TCP header are (RFC 9293 section 3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    // The opcodes of classic BPF: load a byte, mask it, compare it, and say how much to keep.
    const LOAD: u16 = 0x30;
    const AND: u16 = 0x54;
    const IS: u16 = 0x15;
    const KEEP: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN_AND_ACK),
        SockFilter::new(IS, 0, 1, SYN),
        SockFilter::new(KEEP, 0, 0, 0),
        SockFilter::new(KEEP, 0, 0, u32::MAX),
    ];
    // Without it few are lost instead of none.
    let _as_it_was = SockRef::from(socket).attach_filter(&filter);
}

#[cfg(not(target_os = "linux"))]
fn refuse_handshakes(_: &TcpListener) {}

/// How long a handshake takes that has begun.
const HANDSHAKE: Duration = Duration::from_millis(200);
