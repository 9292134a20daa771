use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::revocation::Cut;
use crate::server::{Settings, listen, listen_unix};

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Tells everybody their address. All who come are of one kind.
struct Booth {
    peer_kind: PeerKind,
    errors: RefCell<Vec<ParseError>>,
}

impl Service for Booth {
    type Body = MapErr<Full<Bytes>, fn(Infallible) -> Fault>;
    type Tunnel = Infallible;

    fn tunnel(_body: &mut Self::Body) -> Option<Infallible> {
        None
    }

    async fn serve(
        self: Rc<Self>,
        _request: Request<Incoming>,
        peer: Peer,
        _cut: Rc<Cut>,
    ) -> Response<Self::Body> {
        let told = Full::new(Bytes::from(format!("you are {}", peer.address)));
        Response::new(told.map_err(|never| match never {}))
    }

    fn peer_kind(&self, _peer: Peer) -> PeerKind {
        self.peer_kind
    }

    fn parse_error(&self, error: ParseError, _peer: Peer) {
        self.errors.borrow_mut().push(error);
    }

    fn turned_away(&self, _peer: Peer) {}

    fn cannot_accept(&self, _cause: &std::io::Error) {}
}

struct House {
    booth: Rc<Booth>,
    address: SocketAddr,
    slots: Arc<Slots>,
    drain: watch::Sender<bool>,
    worker: JoinHandle<io::Result<()>>,
}

impl House {
    fn open(peer_kind: PeerKind, unix: Vec<UnixListener>, drain_timeout: Duration) -> Self {
        let settings = Settings {
            header_timeout: Duration::from_secs(1_000),
            handshake_timeout: Duration::from_secs(1_000),
            idle_timeout: Duration::from_secs(1_000),
            drain_timeout,
            head_bytes: 64 * 1024,
            fields: 100,
        };
        let listener = listen(&["127.0.0.1:0".parse().unwrap()], 1).unwrap().remove(0);
        let (slots, (drain, draining)) = (Slots::new(100, 100), watch::channel(false));
        let door = Door {
            sockets: listener.sockets,
            inherited: Inherited::default(),
            unix,
            slots: Arc::clone(&slots),
            tls: None,
            drain: draining,
        };
        let booth = Rc::new(Booth { peer_kind, errors: RefCell::default() });
        let worker = tokio::task::spawn_local(serve(door, Rc::clone(&booth), settings.into()));
        Self { booth, address: listener.address, slots, drain, worker }
    }

    /// A client that has been let in.
    async fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).await.unwrap();
        while self.slots.taken() == 0 {
            tokio::task::yield_now().await;
        }
        client
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.expect("it hangs") });
}

/// Sends, and reads to the end.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("a proper end");
    answer
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn who_waits_at_a_unix_socket_when_the_drain_begins_is_answered_and_who_comes_later_is_refused() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        let (sockets, _file) = listen_unix(&path, 2).unwrap().into_parts();
        // The first worker never accepts: all is up to the second one.
        let [_first, second] = <[UnixListener; 2]>::try_from(sockets).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(UnixStream::connect(&path).await.unwrap());
        }
        let house = House::open(PeerKind::Proxy, vec![second], Duration::from_secs(1_000));
        house.drain.send(true).unwrap();
        for stream in &mut waiting {
            let answer = ask(stream, GET).await;
            assert!(answer.ends_with("you are 0.0.0.0"), "{answer:?}");
        }
        house.worker.await.unwrap().unwrap();
        assert_eq!(refused(&path).await, ErrorKind::ConnectionRefused);
    });
}

async fn refused(path: &Path) -> ErrorKind {
    UnixStream::connect(path).await.expect_err("nobody listens").kind()
}

#[test]
fn a_proxy_may_announce_a_last_client_amid_the_drain() {
    run(async {
        let house = House::open(PeerKind::Announcer, Vec::new(), Duration::from_secs(1_000));
        let mut proxy = house.client().await;
        house.drain.send(true).unwrap();
        // The worker has seen it once it closes its sockets.
        while TcpStream::connect(house.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let preamble = "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n";
        let answer = ask(&mut proxy, &format!("{preamble}{GET}")).await;
        assert!(answer.ends_with("you are 203.0.113.7"), "{answer:?}");
    });
}

#[test]
fn a_silent_proxy_holds_up_no_drain_and_is_not_blamed_for_it() {
    run(async {
        // Whole it would take longer than this test may.
        let house = House::open(PeerKind::Announcer, Vec::new(), Duration::from_secs(25));
        let mut proxy = house.client().await;
        house.drain.send(true).unwrap();
        assert_eq!(ask(&mut proxy, "").await, "");
        house.worker.await.unwrap().unwrap();
        assert_eq!(*house.booth.errors.borrow(), []);
        assert_eq!(house.slots.taken(), 0);
    });
}
