//! Connections over loopback sockets, with a service of our own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::policy::UpstreamId;
use crate::request::{Upload, UploadLimits};
use crate::revocation::Cut;
use crate::upstream::{
    self, AnswerBody, HeaderRules, Health, Keeper, Outbound, Pools, TrailerRules, clean_answer,
};

/// Answers by path.
#[derive(Default)]
pub(super) struct Desk {
    errors: RefCell<Vec<ParseError>>,
    turned_away: RefCell<Vec<Peer>>,
    peers: RefCell<Vec<Peer>>,
}

/// Chunks, then the end, an error, or silence.
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    End,
    Fail,
    Silence,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match (self.pieces.pop_front(), self.then) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Then::End) => Poll::Ready(None),
            (None, Then::Fail) => Poll::Ready(Some(Err("the upstream died".into()))),
            (None, Then::Silence) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.then {
            Then::End => {
                let length: usize = self.pieces.iter().map(Bytes::len).sum();
                SizeHint::with_exact(length.try_into().unwrap())
            }
            Then::Fail | Then::Silence => SizeHint::default(),
        }
    }
}

fn pieces(pieces: impl IntoIterator<Item = impl Into<Bytes>>, then: Then) -> Response<Pieces> {
    Response::new(Pieces { pieces: pieces.into_iter().map(Into::into).collect(), then })
}

impl Service for Desk {
    type Body = Pieces;
    type Tunnel = Infallible;

    fn tunnel(_body: &mut Pieces) -> Option<Infallible> {
        None
    }

    async fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        _cut: Rc<Cut>,
    ) -> Response<Pieces> {
        self.peers.borrow_mut().push(peer);
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/echo" => pieces([request.into_body().collect().await.unwrap().to_bytes()], Then::End),
            "/refuse" => {
                let mut answer = pieces(["refused"], Then::End);
                *answer.status_mut() = StatusCode::FORBIDDEN;
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                answer
            }
            "/die" => pieces(["half"], Then::Fail),
            "/hang" => pieces(["x"], Then::Silence),
            "/never" => std::future::pending().await,
            "/endless" => pieces(vec![vec![b'x'; 1 << 16]; 1000], Then::Silence),
            path => pieces([path.to_owned()], Then::End),
        }
    }

    fn parse_error(&self, error: ParseError, _peer: Peer) {
        self.errors.borrow_mut().push(error);
    }

    fn turned_away(&self, peer: Peer) {
        self.turned_away.borrow_mut().push(peer);
    }

    fn cannot_accept(&self, _cause: &std::io::Error) {}
}

struct House {
    desk: Rc<Desk>,
    address: SocketAddr,
    slots: Arc<Slots>,
    drain: watch::Sender<bool>,
    worker: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl House {
    fn build(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_slots(Slots::new(1000, 1000), change)
    }

    fn with_slots(slots: Arc<Slots>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let listener = listen(&["127.0.0.1:0".parse().unwrap()], 1).unwrap().remove(0);
        let (drain, draining) = watch::channel(false);
        let door = Door {
            sockets: listener.sockets,
            inherited: Inherited::default(),
            unix: Vec::new(),
            slots: Arc::clone(&slots),
            tls: None,
            drain: draining,
        };
        let desk = Rc::new(Desk::default());
        let worker = tokio::task::spawn_local(serve(door, Rc::clone(&desk), settings.into()));
        Self { desk, address: listener.address, slots, drain, worker }
    }

    async fn client(&self) -> Wire {
        Wire::of(TcpStream::connect(self.address).await.unwrap())
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        header_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(10),
        head_bytes: 64 * 1024,
        fields: 100,
    }
}

struct Wire(TcpStream);

impl Wire {
    /// What is sent goes at once, so that no time-out is met by Nagle's delay.
    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let count = self.0.read(&mut byte).await.unwrap_or(0);
            assert_ne!(count, 0, "ended before {end:?}: {:?}", String::from_utf8_lossy(&read));
            read.push(byte[0]);
        }
        String::from_utf8(read).unwrap()
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        self.until(&format!("\r\n\r\n{path}")).await
    }

    /// What comes until the end, and whether the end is a reset.
    async fn rest(&mut self) -> (String, bool) {
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        let reset = loop {
            match self.0.read(&mut piece).await {
                Ok(0) => break false,
                Ok(count) => read.extend_from_slice(&piece[..count]),
                Err(_) => break true,
            }
        };
        (String::from_utf8(read).unwrap(), reset)
    }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.expect("it hangs") });
}

#[test]
fn requests_are_answered_one_after_the_other_and_pipelined() {
    run(async {
        let house = House::build(|_| {});
        let mut client = house.client().await;
        client.get("/a").await;
        client.get("/b").await;
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        client.send(&(request("/1") + &request("/2") + &request("/3"))).await;
        for path in ["/1", "/2", "/3"] {
            client.until(&format!("\r\n\r\n{path}")).await;
        }
        let peer = house.desk.peers.borrow()[0];
        assert_eq!(peer.address.to_string(), "127.0.0.1");
        assert_eq!(peer.port, client.0.local_addr().unwrap().port());
    });
}

#[test]
fn a_silent_connection_is_parked_and_serves_again() {
    run(async {
        let house = House::build(|settings| settings.header_timeout = Duration::from_millis(100));
        let mut client = house.client().await;
        client.get("/a").await;
        // Several header time-outs, and ticks, long.
        tokio::time::sleep(Duration::from_millis(350)).await;
        client.send("GET /b HT").await;
        client.send("TP/1.1\r\nHost: h\r\n\r\nGET /c").await;
        client.until("\r\n\r\n/b").await;
        client.send(" HTTP/1.1\r\nHost: h\r\n\r\n").await;
        client.until("\r\n\r\n/c").await;
        assert_eq!(*house.desk.errors.borrow(), []);
    });
}

#[test]
fn five_hundred_silent_connections_all_serve_again() {
    run(async {
        let house = House::build(|settings| settings.header_timeout = Duration::from_millis(200));
        let mut clients = Vec::new();
        for _ in 0..500 {
            let mut client = house.client().await;
            client.get("/a").await;
            clients.push(client);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        for client in &mut clients {
            let answer = client.get("/b").await;
            assert!(!answer.contains("close"), "{answer:?}");
        }
        assert_eq!(house.slots.taken(), 500);
        drop(clients);
        while house.slots.taken() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_late_head_and_a_silent_client_have_a_time_out_each() {
    run(async {
        let house = House::build(|settings| settings.header_timeout = Duration::from_millis(30));
        let mut fresh = house.client().await;
        let mut late = house.client().await;
        late.send("GET / HTTP/1.1\r\nX: ").await;
        let mut late_again = house.client().await;
        late_again.get("/a").await;
        late_again.send("GET / HT").await;
        let mut silent = house.client().await;
        silent.get("/a").await;
        assert_eq!(fresh.rest().await, (String::new(), false));
        assert_eq!(late.rest().await, (String::new(), false));
        assert_eq!(late_again.rest().await, (String::new(), false));
        silent.get("/still-there").await;
        assert_eq!(*house.desk.errors.borrow(), [ParseError::Late, ParseError::Late]);

        let house = House::build(|settings| settings.idle_timeout = Duration::from_millis(30));
        let mut silent = house.client().await;
        silent.get("/a").await;
        assert_eq!(silent.rest().await, (String::new(), false));
        assert_eq!(*house.desk.errors.borrow(), []);
    });
}

#[test]
fn a_slow_answer_outlives_every_time_out_of_silence() {
    run(async {
        let house = House::build(|settings| {
            settings.header_timeout = Duration::from_millis(20);
            settings.idle_timeout = Duration::from_millis(20);
        });
        let mut client = house.client().await;
        client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = client.until("1\r\nx\r\n").await;
        assert!(!answer.contains("close"), "{answer:?}");
        let ended = timeout(Duration::from_millis(150), client.rest()).await;
        assert!(ended.is_err(), "cut: {ended:?}");
    });
}

#[test]
fn a_client_that_takes_no_byte_is_reset() {
    run(async {
        let house = House::build(|settings| settings.idle_timeout = Duration::from_millis(30));
        let mut client = house.client().await;
        client.send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").await;
        while house.slots.taken() == 0 {
            tokio::task::yield_now().await;
        }
        while house.slots.taken() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(client.rest().await.1, "the end must be a reset");
    });
}

#[test]
fn a_refusal_is_read_though_the_body_was_not() {
    run(async {
        let house = House::build(|_| {});
        let mut client = house.client().await;
        client.send("POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").await;
        // More than the sockets' buffers would take, if it were not drained.
        client.send(&"x".repeat(200_000)).await;
        let (answer, reset) = client.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 403 Forbidden\r\nconnection: close\r\n"),
            "{answer:?}"
        );
        assert!(answer.ends_with("\r\n\r\nrefused"), "{answer:?}");
        assert!(!reset, "the answer was followed by a reset");
    });
}

#[test]
fn what_hyper_refuses_is_answered_told_and_closed() {
    run(async {
        let cases = [
            ("GET / HTTP/1.1\r\nHost : h\r\n\r\n".to_owned(), "400", ParseError::Malformed),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n".to_owned(), "400", ParseError::Malformed),
            ("nonsense\r\n\r\n".to_owned(), "400", ParseError::Malformed),
            (
                format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(70_000)),
                "431",
                ParseError::TooLarge,
            ),
            (
                format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)),
                "431",
                ParseError::TooLarge,
            ),
        ];
        for (request, status, error) in cases {
            let house = House::build(|_| {});
            let mut client = house.client().await;
            client.send(&request).await;
            let (answer, _) = client.rest().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
            assert_eq!(*house.desk.errors.borrow(), [error]);
        }
    });
}

#[test]
fn fewer_fields_can_be_asked_for() {
    run(async {
        let house = House::build(|settings| settings.fields = 2);
        let mut client = house.client().await;
        client.send("GET /a HTTP/1.1\r\nA: b\r\nA: b\r\n\r\n").await;
        client.until("/a").await;
        client.send("GET /a HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\n\r\n").await;
        assert!(client.rest().await.0.starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn an_answer_that_breaks_off_ends_in_a_reset() {
    run(async {
        let house = House::build(|_| {});
        for version in ["1.0", "1.1"] {
            let mut client = house.client().await;
            client.send(&format!("GET /die HTTP/{version}\r\nHost: h\r\n\r\n")).await;
            let (answer, reset) = client.rest().await;
            assert!(reset, "HTTP/{version}: {answer:?}");
            assert!(!answer.contains("0\r\n\r\n"), "{answer:?}");
        }
    });
}

#[test]
fn a_connection_too_many_is_turned_away_and_its_place_comes_back() {
    run(async {
        let house = House::with_slots(Slots::new(10, 1), |_| {});
        let mut first = house.client().await;
        first.get("/a").await;
        let mut second = house.client().await;
        assert_eq!(second.rest().await.0, "");
        assert_eq!(house.desk.turned_away.borrow().len(), 1);
        drop(first);
        while house.slots.taken() > 0 {
            tokio::task::yield_now().await;
        }
        house.client().await.get("/a").await;
    });
}

#[test]
fn a_client_that_leaves_drops_its_request() {
    run(async {
        let house = House::build(|_| {});
        let mut client = house.client().await;
        client.send("GET /never HTTP/1.1\r\nHost: h\r\n\r\n").await;
        while house.desk.peers.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(client);
        while house.slots.taken() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn the_drain_closes_what_is_silent_and_lets_what_is_under_way_finish() {
    run(async {
        let house = House::build(|settings| settings.header_timeout = Duration::from_millis(20));
        let mut parked = house.client().await;
        parked.get("/a").await;
        let mut busy = house.client().await;
        busy.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab").await;
        tokio::time::sleep(Duration::from_millis(80)).await;
        house.drain.send(true).unwrap();
        assert_eq!(parked.rest().await, (String::new(), false));
        busy.send("cd").await;
        let (answer, _) = busy.rest().await;
        assert!(
            answer.contains("\r\nconnection: close\r\n") && answer.ends_with("abcd"),
            "{answer:?}"
        );
        drop(busy);
        house.worker.await.unwrap().unwrap();
        assert!(TcpStream::connect(house.address).await.is_err(), "still listening");
    });
}

#[test]
fn the_drain_ends_in_time_whatever_is_under_way() {
    run(async {
        let house = House::build(|settings| settings.drain_timeout = Duration::from_millis(30));
        let mut busy = house.client().await;
        busy.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").await;
        busy.until("1\r\nx\r\n").await;
        house.drain.send(true).unwrap();
        house.worker.await.unwrap().unwrap();
        assert_eq!(busy.rest().await, (String::new(), true), "the cut must be a reset");
        assert_eq!(house.slots.taken(), 0);
    });
}

#[test]
fn a_half_closed_client_gets_no_more() {
    run(async {
        let house = House::build(|_| {});
        let client = TcpStream::connect(house.address).await.unwrap();
        let client = client.into_std().unwrap();
        while house.slots.taken() == 0 {
            tokio::task::yield_now().await;
        }
        client.shutdown(Shutdown::Write).unwrap();
        while house.slots.taken() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*house.desk.errors.borrow(), []);
    });
}

/// Forwards everything to one upstream.
struct Relay(Pools);

impl Service for Relay {
    type Body = AnswerBody;
    type Tunnel = Infallible;

    fn tunnel(_body: &mut AnswerBody) -> Option<Infallible> {
        None
    }

    async fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        _peer: Peer,
        _cut: Rc<Cut>,
    ) -> Response<AnswerBody> {
        let route = upstream::tests::route("/*");
        let rules = HeaderRules::new([&route].into_iter(), &[], &upstream::tests::cookie_names());
        let (mut head, body) = request.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        let limits = UploadLimits { max_bytes: None, min_rate: 0, grace: Duration::ZERO };
        let trailers = TrailerRules::new(&rules, route.into());
        let outbound = Outbound::of(head, UpstreamId(0), trailers);
        let mut answer = self.0.send(outbound, Upload::new(body, limits)).await.unwrap();
        clean_answer(answer.headers_mut(), Keeper::AsSent);
        answer
    }

    fn parse_error(&self, error: ParseError, _peer: Peer) {
        panic!("{error}");
    }

    fn turned_away(&self, _peer: Peer) {}

    fn cannot_accept(&self, _cause: &std::io::Error) {}
}

async fn relay() -> (Wire, TcpListener, watch::Sender<bool>) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = upstream::tests::config(upstream.local_addr().unwrap().port());
    let listener = listen(&["127.0.0.1:0".parse().unwrap()], 1).unwrap().remove(0);
    let (drain, draining) = watch::channel(false);
    let door = Door {
        sockets: listener.sockets,
        inherited: Inherited::default(),
        unix: Vec::new(),
        slots: Slots::new(9, 9),
        tls: None,
        drain: draining,
    };
    let service = Rc::new(Relay(Pools::new(&[config], 1, &Health::default()).unwrap()));
    tokio::task::spawn_local(serve(door, service, settings().into()));
    (Wire::of(TcpStream::connect(listener.address).await.unwrap()), upstream, drain)
}

#[test]
fn an_early_answer_of_an_upstream_is_read_while_the_client_still_sends() {
    run(async {
        let (mut client, upstream, _drain) = relay().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n").await;
        let mut upstream = Wire::of(upstream.accept().await.unwrap().0);
        upstream.until("\r\n\r\n").await;
        client.send(&"x".repeat(100_000)).await;
        upstream.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        client.send(&"x".repeat(100_000)).await;
        let (answer, reset) = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("big"), "{answer:?}");
        assert!(!reset, "the answer was followed by a reset");
    });
}

#[test]
fn an_upstream_that_dies_resets_an_http_1_0_client() {
    run(async {
        let (mut client, upstream, _drain) = relay().await;
        client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
        let mut upstream = Wire::of(upstream.accept().await.unwrap().0);
        upstream.until("\r\n\r\n").await;
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        client.until("abc").await;
        drop(upstream);
        assert_eq!(client.rest().await, (String::new(), true), "the end must be a reset");
    });
}

#[test]
fn a_large_upload_passes_whole_and_in_order() {
    run(async {
        let (mut client, upstream, _drain) = relay().await;
        let body: String = (0..500_000).map(|at| format!("{at:06}")).collect();
        client
            .send(&format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()))
            .await;
        let mut upstream = Wire::of(upstream.accept().await.unwrap().0);
        upstream.until("\r\n\r\n").await;
        let sent = body.clone();
        let sending = tokio::task::spawn_local(async move {
            client.send(&sent).await;
            client
        });
        let mut read = vec![0; body.len()];
        upstream.0.read_exact(&mut read).await.unwrap();
        assert!(read == body.as_bytes(), "the bytes differ");
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        sending.await.unwrap().until("\r\n\r\n").await;
    });
}
