//! An application that fails in every way there is, by the path that it is asked for, and that can
//! be killed and started again.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use socket2::SockRef;

use crate::support::{Seen, eventually, read_request};

/// What an answer to `/KIND/ID` is, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Whole,
    Chunked,
    Large,
    /// Comes in pieces, with pauses.
    Slow,
    /// Says the request's body.
    Echo,
    /// A second answer that nobody asked for comes behind the first.
    Surplus,
    /// Comes when the gateway has given it up.
    Late,
    /// Never comes.
    Hung,
    HalfHead,
    /// The connection's half is closed in its place.
    HalfClosed,
    /// The connection is reset amid the body.
    Reset,
    /// It ends amid the body.
    Short,
    /// It stops amid the body.
    Stalled,
    /// Comes before the request's body, which is not read.
    Early,
}

impl Kind {
    /// Those of a GET come first.
    const ALL: [Self; 14] = [
        Self::Whole,
        Self::Chunked,
        Self::Slow,
        Self::Surplus,
        Self::Late,
        Self::Hung,
        Self::HalfHead,
        Self::HalfClosed,
        Self::Reset,
        Self::Short,
        Self::Stalled,
        Self::Large,
        Self::Echo,
        Self::Early,
    ];
    pub const OF_A_GET: &[Self] = Self::ALL.split_at(11).0;

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether whoever asks gets the whole answer while the application runs.
    pub fn is_good(self) -> bool {
        matches!(
            self,
            Self::Whole | Self::Chunked | Self::Large | Self::Slow | Self::Surplus | Self::Echo
        )
    }

    /// Bytes of its body.
    pub fn size(self) -> usize {
        if self == Self::Large { 1 << 20 } else { 4 << 10 }
    }
}

/// The body of an answer, which nobody else's begins like.
pub fn body(kind: Kind, id: &str) -> Vec<u8> {
    let piece = format!("{id};");
    piece.bytes().cycle().take(kind.size()).collect()
}

/// The application.
pub struct Faulty {
    address: SocketAddr,
    open: Arc<Mutex<HashMap<u64, TcpStream>>>,
    /// Odd: it is down.
    life: AtomicU64,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Faulty {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let faulty = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::default(),
            life: AtomicU64::new(0),
            listener: Mutex::default(),
        };
        faulty.listen(listener);
        faulty
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Another number: it was down meanwhile, or is.
    pub fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    pub fn is_up(life: u64) -> bool {
        life.is_multiple_of(2)
    }

    fn listen(&self, listener: TcpListener) {
        let (open, life) = (Arc::clone(&self.open), self.life());
        *self.listener.lock().unwrap() = Some(thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                if stream.peer_addr().is_ok_and(|peer| peer.ip() == FAREWELL) {
                    return;
                }
                let number = (life << 32) + number as u64;
                open.lock().unwrap().insert(number, stream.try_clone().unwrap());
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    serve(stream);
                    open.lock().unwrap().remove(&number);
                });
            }
        }));
    }

    /// Nobody listens any more, and every connection is broken.
    pub fn kill(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::from((FAREWELL, 0)).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        self.listener.lock().unwrap().take().unwrap().join().unwrap();
        for (_, stream) in self.open.lock().unwrap().drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn revive(&self) {
        let listener = eventually("its address is free", || TcpListener::bind(self.address).ok());
        self.listen(listener);
        self.life.fetch_add(1, Ordering::SeqCst);
    }
}

/// Who connects from here bids the listener end.
const FAREWELL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn serve(mut stream: TcpStream) {
    let mut read = Vec::new();
    while let Some((seen, path)) = begin(&mut stream, &mut read) {
        if answer(&seen, &path, &mut stream).is_none() {
            return;
        }
    }
}

/// The next request; None: the connection is over, with the answer to an upload that nobody reads.
fn begin(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(Seen, String)> {
    let mut first = [0; 256];
    let count = if read.is_empty() { stream.peek(&mut first).ok()? } else { 0 };
    let first = String::from_utf8_lossy(&first[..count]);
    if let Some((_, rest)) = first.split_once("/early/") {
        let id = rest.split(' ').next()?;
        let _ = stream.write_all(&whole((id, "-"), &body(Kind::Early, id)));
        return None;
    }
    let seen = read_request(stream, read)?;
    let path = seen.line().split(' ').nth(1)?.to_owned();
    Some((seen, path))
}

/// The lines of an answer that say whose it is.
fn head((id, user): (&str, &str), framing: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\nX-User: {user}\r\n{framing}\r\n\r\n")
}

fn whole(whose: (&str, &str), body: &[u8]) -> Vec<u8> {
    [head(whose, &format!("Content-Length: {}", body.len())).as_bytes(), body].concat()
}

/// Answers a request. None: the connection is over.
fn answer(seen: &Seen, path: &str, stream: &mut TcpStream) -> Option<()> {
    let mut segments = path.rsplit('/');
    let id = segments.next()?;
    if seen.header("upgrade").is_some() {
        return tunnel(seen, stream);
    }
    let kind = Kind::of(segments.next()?)?;
    let body = body(kind, id);
    let whose = (id, seen.header("remote-user").unwrap_or("-"));
    let whole = whole(whose, if kind == Kind::Echo { &seen.body } else { &body });
    let half = &whole[..whole.len() / 2];
    match kind {
        Kind::Whole | Kind::Large | Kind::Echo => stream.write_all(&whole).ok(),
        Kind::Chunked => stream.write_all(&chunked(whose, &body)).ok(),
        Kind::Slow => whole.chunks(500).try_for_each(|piece| {
            sleep(Duration::from_millis(10));
            stream.write_all(piece).ok()
        }),
        Kind::Surplus => {
            let other = self::whole(("of-nobody", "nobody"), b"of-nobody;");
            stream.write_all(&[whole, other].concat()).ok()
        }
        Kind::Late => {
            sleep(Duration::from_secs(6));
            stream.write_all(&whole).ok()
        }
        Kind::Hung => until_closed(stream),
        Kind::HalfHead => {
            let _ = stream.write_all(&whole[..20]);
            None
        }
        Kind::HalfClosed => {
            let _ = stream.shutdown(Shutdown::Write);
            until_closed(stream)
        }
        Kind::Reset => {
            let _ = stream.write_all(half);
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            None
        }
        Kind::Short => {
            let _ = stream.write_all(half);
            None
        }
        Kind::Early => {
            let _ = stream.write_all(&whole);
            None
        }
        Kind::Stalled => {
            let _ = stream.write_all(half);
            until_closed(stream)
        }
    }
}

fn chunked(whose: (&str, &str), body: &[u8]) -> Vec<u8> {
    let chunk =
        |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let chunks = body.chunks(1000).flat_map(chunk);
    let head = head(whose, "Transfer-Encoding: chunked").into_bytes();
    head.into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
}

/// A tunnel in which everything comes back, until the client has said `bye`.
fn tunnel(seen: &Seen, stream: &mut TcpStream) -> Option<()> {
    let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        stream.write_all(&bytes[..count]).ok()?;
        if bytes[..count].ends_with(b"bye") {
            return None;
        }
    }
    None
}

fn until_closed(stream: &mut TcpStream) -> Option<()> {
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    None
}
