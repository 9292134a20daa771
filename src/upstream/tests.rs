//! Whole exchanges over loopback sockets, raw bytes on both sides.

mod farewells;
mod http2;
mod kinds;
mod places;
mod shared;
mod streams;

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use kinds::{Door, Kind, Stream};

use super::group::Asker;
use super::*;
use crate::config::{
    Balance, Eject, Protocol, ServerAddress, Upstream, UpstreamServer, UpstreamTls,
};
use crate::policy::{
    Access, Allowances, AnswerRules, BearerPolicy, CachePolicy, HeaderEdits, IdentityHeaders,
    OnDenied, PathPattern, Route, Rule, Target, UpstreamId,
};
use crate::request::{CookieNames, Upload, UploadLimits};

pub(crate) fn route(pattern: &str) -> Route {
    let names = |name| vec![HeaderName::from_static(name)];
    let identity = IdentityHeaders {
        user: names("remote-user"),
        roles: vec![(HeaderName::from_static("remote-groups"), ",".to_owned())],
        name: names("remote-name"),
        email: names("remote-email"),
        ..IdentityHeaders::default()
    };
    Route {
        name: pattern.into(),
        hosts: Vec::new(),
        pattern: PathPattern::read(pattern).unwrap(),
        methods: None,
        rule: Rule {
            access: Access::SignedIn,
            roles: Vec::new(),
            users: Vec::new(),
            addresses: Vec::new(),
        },
        target: Target::Upstream(UpstreamId(0)),
        strict_paths: false,
        allow: Allowances::default(),
        bearer: BearerPolicy::Any,
        on_denied: OnDenied::Auto,
        identity: identity.into(),
        strip_prefix: None,
        app_cookies: None,
        preserve_host: true,
        upgrades: Vec::new(),
        headers: HeaderEdits::default(),
        answer: AnswerRules::default(),
        max_body: None,
        timeouts: crate::policy::Timeouts::default(),
        access_log: true,
        cors: None,
        cache: CachePolicy::Private,
        logout: Vec::new(),
        overrides: None,
    }
}

pub(crate) fn cookie_names() -> CookieNames {
    CookieNames {
        access: "__Host-pc_at".to_owned(),
        refresh: "__Host-pc_rt".to_owned(),
        device: "__Host-pc_dev".to_owned(),
        own: "__Host-pc_own".to_owned(),
    }
}

/// A gateway of nothing but [`Pools`] between a raw client and a raw upstream.
struct House {
    upstream: Door,
    gateway: std::net::SocketAddr,
    pools: Rc<Pools>,
    failures: Rc<RefCell<Vec<Failure>>>,
}

impl House {
    async fn build(change: impl FnOnce(&mut Upstream)) -> Self {
        Self::over(Kind::Tcp, change).await
    }

    /// The same with an upstream that is reached in another way.
    async fn over(kind: Kind, change: impl FnOnce(&mut Upstream)) -> Self {
        let mut config = config(1);
        let upstream = Door::open(kind, &mut config).await;
        change(&mut config);
        let pools = Rc::new(Pools::new(&[config], 1, &Health::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let failures = Rc::new(RefCell::new(Vec::new()));
        tokio::task::spawn_local(accept(listener, Rc::clone(&pools), Rc::clone(&failures)));
        Self { upstream, gateway, pools, failures }
    }

    /// Of its first server.
    fn pool(&self) -> &Rc<pool::Pool> {
        self.pools.group(0).first(Asker::default()).unwrap().1
    }

    async fn plain() -> Self {
        Self::build(|_| {}).await
    }

    async fn client(&self) -> Wire {
        Wire::of(TcpStream::connect(self.gateway).await.unwrap())
    }

    async fn accepted(&self) -> Wire {
        self.upstream.accept().await
    }

    /// A client whose request has arrived at the upstream.
    async fn ask(&self, request: &str) -> (Wire, Wire, String) {
        let mut client = self.client().await;
        client.send(request).await;
        let mut upstream = self.accepted().await;
        let head = upstream.head().await;
        (client, upstream, head)
    }

    fn failures(&self) -> Vec<Failure> {
        self.failures.borrow().clone()
    }
}

pub(crate) fn server(host: &str, port: u16) -> UpstreamServer {
    let address = ServerAddress::Tcp(host.to_owned(), port);
    UpstreamServer { protocol: Protocol::Http, address }
}

pub(crate) fn config(port: u16) -> Upstream {
    Upstream {
        name: "app".into(),
        servers: vec![server("127.0.0.1", port)],
        balance: Balance::RoundRobin,
        health: None,
        eject: Eject { failures: 5, lasts: Duration::from_secs(10), at_most: 50 },
        retries: 1,
        tls: UpstreamTls::default(),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Some(Duration::from_secs(5)),
        idle_timeout: Duration::from_secs(5),
        max_connections: 8,
        max_idle: Duration::from_secs(4),
        title_case: false,
        tolerate_space_before_colon: false,
        tolerate_folded_lines: false,
        tolerate_invalid_names: false,
    }
}

async fn accept(listener: TcpListener, pools: Rc<Pools>, failures: Rc<RefCell<Vec<Failure>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (pools, failures) = (Rc::clone(&pools), Rc::clone(&failures));
        let service = service_fn(move |request| {
            let (pools, failures) = (Rc::clone(&pools), Rc::clone(&failures));
            async move { Ok::<_, Infallible>(forward(&pools, request, &failures).await) }
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::task::spawn_local(async move {
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

enum Either {
    Answer(AnswerBody),
    Text(Full<Bytes>),
}

impl http_body::Body for Either {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Answer(body) => std::pin::Pin::new(body).poll_frame(cx),
            Self::Text(body) => std::pin::Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answer(body) => body.is_end_stream(),
            Self::Text(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Answer(body) => body.size_hint(),
            Self::Text(body) => body.size_hint(),
        }
    }
}

async fn forward(
    pools: &Pools,
    request: Request<Incoming>,
    failures: &RefCell<Vec<Failure>>,
) -> Response<Either> {
    let route = route("/*");
    let rules = HeaderRules::new([&route].into_iter(), &[], &cookie_names());
    let (mut head, body) = request.into_parts();
    rules.strip_request(&mut head.headers, &route);
    head.extensions.clear();
    head.version = http::Version::HTTP_11;
    let limits = UploadLimits { max_bytes: Some(1 << 20), min_rate: 0, grace: Duration::ZERO };
    let trailers = TrailerRules::new(&rules, route.into());
    let outbound = Outbound::of(head, UpstreamId(0), trailers);
    match pools.send(outbound, Upload::new(body, limits)).await {
        Ok(mut answer) => {
            clean_answer(answer.headers_mut(), Keeper::AsSent);
            answer.map(Either::Answer)
        }
        Err(failure) => {
            let status = match failure {
                Failure::Connect(_) | Failure::Protocol(_) | Failure::Answer(_) => {
                    StatusCode::BAD_GATEWAY
                }
                Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                Failure::Full | Failure::Down => StatusCode::SERVICE_UNAVAILABLE,
                Failure::Upload => StatusCode::PAYLOAD_TOO_LARGE,
            };
            failures.borrow_mut().push(failure);
            let mut answer = Response::new(Either::Text(Full::new(Bytes::from_static(b"no"))));
            *answer.status_mut() = status;
            answer
        }
    }
}

pub(super) fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

pub(super) fn lines(headers: &HeaderMap) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

/// One end of a connection, in plain text.
struct Wire(Box<dyn Stream>);

impl Wire {
    /// What is sent goes at once, so that no time-out is met by Nagle's delay.
    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self(Box::new(stream))
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and including `end`.
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

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Everything until the other side closes or resets.
    async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = self.0.read(&mut piece).await {
            read.extend_from_slice(&piece[..count]);
        }
        String::from_utf8(read).unwrap()
    }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.expect("it hangs") });
}

/// The same over every kind of connection.
fn run_over_each<T: Future<Output = ()>>(test: impl Fn(Kind) -> T) {
    for kind in [Kind::Tcp, Kind::Unix, Kind::Tls] {
        run(test(kind));
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_request_and_its_answer_pass_and_the_connection_is_used_again() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, head) =
            house.ask("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(head, "GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n");
        upstream.send(OK).await;
        assert!(client.until("ok").await.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"));
        client.send("GET /again HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(upstream.head().await, "GET /again HTTP/1.1\r\nhost: h\r\n\r\n");
        upstream.send(OK).await;
        client.until("ok").await;
    });
}

#[test]
fn a_length_stays_a_length_and_chunked_stays_chunked() {
    run(async {
        for method in ["POST", "GET", "DELETE", "PROPFIND"] {
            let house = House::plain().await;
            let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
            let (_client, mut upstream, head) = house.ask(&request).await;
            assert!(head.ends_with("\r\ncontent-length: 3\r\n\r\n"), "{head:?}");
            assert_eq!(upstream.until("abc").await, "abc");

            let house = House::plain().await;
            let request = format!(
                "{method} / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-User: admin\r\n\r\n"
            );
            let (_client, mut upstream, head) = house.ask(&request).await;
            assert!(head.ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"), "{head:?}");
            assert!(!head.contains("content-length"), "{head:?}");
            assert_eq!(upstream.until("0\r\n\r\n").await, "3\r\nabc\r\n0\r\n\r\n");
        }
    });
}

#[test]
fn an_empty_post_says_so_and_an_empty_get_says_nothing() {
    run(async {
        let house = House::plain().await;
        let (_client, _upstream, head) =
            house.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(head, "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
        let (_client, _upstream, head) =
            house.ask("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(head, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    });
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.contains("\r\ncontent-length: 42\r\n"), "{head:?}");
        for (status, framing) in
            [("204 No Content", ""), ("304 Not Modified", "Content-Length: 9\r\n")]
        {
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            upstream.head().await;
            upstream.send(&format!("HTTP/1.1 {status}\r\n{framing}ETag: x\r\n\r\n")).await;
            let head = client.head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\netag: x\r\n")), "{head:?}");
            assert!(!head.contains("transfer-encoding"), "{head:?}");
        }
    });
}

#[test]
fn a_get_is_sent_again_when_a_used_connection_closes_unheard() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send(OK).await;
        client.until("ok").await;
        client.send("GET /2 HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n").await;
        let first = upstream.head().await;
        drop(upstream);
        let mut second = house.accepted().await;
        assert_eq!(second.head().await, first);
        second.send(OK).await;
        client.until("ok").await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn a_get_is_not_sent_again_when_a_byte_of_the_answer_came() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send(OK).await;
        client.until("ok").await;
        client.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.head().await;
        upstream.send("H").await;
        drop(upstream);
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
        assert!(matches!(house.failures()[..], [Failure::Answer(_)]), "{:?}", house.failures());
    });
}

#[test]
fn a_post_is_never_sent_twice() {
    run(async {
        for body in ["Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\na"] {
            let house = House::plain().await;
            let (mut client, mut upstream, _) =
                house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
            upstream.send(OK).await;
            client.until("ok").await;
            client.send(&format!("POST /2 HTTP/1.1\r\nHost: h\r\n{body}")).await;
            upstream.head().await;
            drop(upstream);
            assert!(client.head().await.starts_with("HTTP/1.1 502 "));
            let again = timeout(Duration::from_millis(50), house.upstream.accept()).await;
            assert!(again.is_err(), "a second connection was made");
        }
    });
}

#[test]
fn a_post_goes_on_a_new_connection_when_the_used_one_is_found_closed() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send(OK).await;
        client.until("ok").await;
        drop(upstream);
        tokio::task::yield_now().await;
        client.send("POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na").await;
        let mut second = house.accepted().await;
        second.until("\r\n\r\na").await;
        second.send(OK).await;
        client.until("ok").await;
    });
}

#[test]
fn surplus_bytes_never_reach_the_next_request() {
    run_over_each(|kind| async move {
        let planted = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        for answer in [OK, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"] {
            let house = House::over(kind, |_| {}).await;
            let (mut client, mut upstream, _) =
                house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
            upstream.send(&format!("{answer}{planted}")).await;
            client.head().await;
            if answer == OK {
                client.until("ok").await;
            }
            client.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let mut second = house.accepted().await;
            second.head().await;
            second.send(OK).await;
            let answer = client.until("ok").await;
            assert!(!answer.contains("evil"), "{answer:?}");
        }
    });
}

#[test]
fn what_is_no_answer_is_a_502_and_closes_the_connection() {
    run_over_each(|kind| async move {
        let many: String = (0..101).map(|at| format!("X-{at}: y\r\n")).collect();
        let cases = [
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_owned(),
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000),
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
            format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx".to_owned(),
            "HTTP/1.1 200 OK\r\nX : y\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n".to_owned(),
            "SSH-2.0-OpenSSH\r\n".to_owned(),
            "ok".to_owned(),
        ];
        for case in cases {
            let house = House::over(kind, |_| {}).await;
            let (mut client, mut upstream, _) =
                house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            // The gateway may close before it has read all.
            let _ = upstream.0.write_all(case.as_bytes()).await;
            if case == "ok" {
                upstream.0.shutdown().await.unwrap();
            }
            let shown: String = case.chars().take(60).collect();
            let answer = client.until("\r\n\r\nno").await;
            assert!(answer.starts_with("HTTP/1.1 502 "), "{shown:?}: {answer:?}");
            assert_eq!(upstream.rest().await, "", "{shown:?}");
        }
    });
}

#[test]
fn a_few_interim_answers_pass_unseen() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream
            .send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
            .await;
        upstream.send(OK).await;
        let answer = client.until("ok").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), "{answer:?}");
    });
}

#[test]
fn an_early_answer_reaches_the_client_and_ends_the_upload() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) =
            house.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\nabc").await;
        upstream.until("abc").await;
        upstream.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        let answer = client.until("big").await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
        assert_eq!(upstream.rest().await, "");
        assert_eq!(client.rest().await, "");
    });
}

/// As gunicorn does: what was sent and not read makes the kernel reset the connection.
#[test]
fn an_answer_passes_though_its_upstream_closes_with_the_upload_unread() {
    for kind in [Kind::Tcp, Kind::Unix] {
        run(async {
            let house = House::over(kind, |_| {}).await;
            let (mut client, mut upstream, _) =
                house.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\nabc").await;
            // None of this waits, so the gateway finds all of it at once.
            upstream.send("HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\n\r\nbig").await;
            drop(upstream);
            client.send("def").await;
            let answer = client.until("big").await;
            assert!(answer.starts_with("HTTP/1.1 409 "), "{kind:?} {answer:?}");
            assert_eq!(house.failures(), []);
        });
    }
}

#[test]
fn an_upload_goes_on_while_an_early_answer_streams() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) =
            house.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc").await;
        upstream.until("abc").await;
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").await;
        client.until("1\r\nx\r\n").await;
        client.send("def").await;
        upstream.until("def").await;
        upstream.send("0\r\n\r\n").await;
        client.until("0\r\n\r\n").await;
        assert_eq!(upstream.rest().await, "", "used again after an early answer");
    });
}

/// The rest of the body comes in the same turn: whoever asks after the answer finds all of it sent.
#[test]
fn a_connection_whose_answer_came_before_the_rest_of_the_body_was_read_is_not_used_again() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) =
            house.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc").await;
        upstream.until("abc").await;
        upstream.send(OK).await;
        client.send("def").await;
        client.until("ok").await;
        client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let rest = upstream.rest().await;
        assert!(!rest.contains("/next"), "used again after an early answer: {rest:?}");
    });
}

/// What comes before the whole of such a body is no early answer.
#[test]
fn a_connection_is_used_again_after_a_body_that_waited_for_its_100() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house
            .ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        client.head().await;
        client.send("abc").await;
        upstream.until("abc").await;
        upstream.send(OK).await;
        client.until("ok").await;
        client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(upstream.head().await.starts_with("GET /next "));
    });
}

#[test]
fn an_upstream_that_dies_amid_a_body_never_looks_like_an_end() {
    run_over_each(|kind| async move {
        for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
            let house = House::over(kind, |_| {}).await;
            let (mut client, mut upstream, _) =
                house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            upstream.send(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n3\r\nabc\r\n")).await;
            client.until("abc").await;
            drop(upstream);
            let rest = client.rest().await;
            assert!(!rest.contains("0\r\n\r\n"), "{framing}: {rest:?}");
        }
    });
}

#[test]
fn an_http_1_0_answer_ends_with_its_connection() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send("HTTP/1.0 200 OK\r\n\r\nall").await;
        drop(upstream);
        let answer = client.until("0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert!(answer.ends_with("3\r\nall\r\n0\r\n\r\n"), "{answer:?}");
    });
}

#[test]
fn a_connection_that_spoke_http_1_0_is_not_used_again() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream
            .send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
            .await;
        client.until("ok").await;
        assert_eq!(upstream.rest().await, "");
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
            .await;
        let mut second = house.accepted().await;
        second.until("1\r\na\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_login_that_binds_to_the_connection_ends_it() {
    run(async {
        let house = House::plain().await;
        for scheme in ["NTLM abc", "negotiate abc", "Kerberos x"] {
            let (mut client, mut upstream, _) = house
                .ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: {scheme}\r\n\r\n"))
                .await;
            upstream.send(OK).await;
            client.until("ok").await;
            assert_eq!(upstream.rest().await, "", "{scheme}");
        }
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream
            .send("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic, NTLM\r\nContent-Length: 2\r\n\r\nok")
            .await;
        client.until("ok").await;
        assert_eq!(upstream.rest().await, "");
    });
}

#[test]
fn contradictory_framing_is_resolved_and_ends_the_connection() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
        let answer = client.until("0\r\n\r\n").await;
        assert!(!answer.contains("content-length"), "{answer:?}");
        assert_eq!(upstream.rest().await, "");
    });
}

#[test]
fn trailers_of_answers_are_filtered() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, head) = house
            .ask("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers, deflate\r\nConnection: TE\r\n\r\n")
            .await;
        assert!(head.contains("\r\nte: trailers\r\n"), "{head:?}");
        let named = "Trailer: X-Sum, Remote-User, Set-Cookie, Content-Length\r\n";
        let trailers = "X-Sum: 1\r\nRemote-User: admin\r\nSet-Cookie: a=b\r\nContent-Length: 5\r\n";
        upstream
            .send(&format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{named}\r\n2\r\nok\r\n0\r\n{trailers}\r\n"
            ))
            .await;
        client.head().await;
        assert_eq!(client.until("\r\n\r\n").await, "2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n");
    });
}

#[test]
fn a_body_waits_for_the_upstreams_100() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, head) = house
            .ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head:?}");
        upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("abc").await;
        assert_eq!(upstream.until("abc").await, "abc");
        upstream.send(OK).await;
        client.until("ok").await;
    });
}

#[test]
fn a_refusal_instead_of_100_reaches_the_client_and_no_body_is_asked_for() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house
            .ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        upstream.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nok").await;
        let answer = client.until("ok").await;
        assert!(answer.starts_with("HTTP/1.1 417 "), "{answer:?}");
        assert_eq!(upstream.rest().await, "");
    });
}

/// Not even when an upstream that says nothing would have got it.
#[test]
fn a_final_answer_that_is_under_way_lets_no_body_through_that_waited_for_its_100() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house
            .ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        upstream.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nha").await;
        let begun = client.until("ha").await;
        assert!(begun.starts_with("HTTP/1.1 401 "), "{begun:?}");
        client.send("abc").await;
        tokio::time::sleep(super::sent::PATIENCE + Duration::from_millis(200)).await;
        upstream.send("lf").await;
        assert_eq!(client.until("lf").await, "lf");
        assert_eq!(upstream.rest().await, "", "sent, or used again");
    });
}

#[test]
fn an_upstream_that_never_says_100_gets_the_body_all_the_same() {
    run(async {
        let house = House::plain().await;
        let (mut client, mut upstream, _) = house
            .ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
        client.send("abc").await;
        upstream.until("abc").await;
    });
}

#[test]
fn silence_is_a_504_before_the_head_and_a_cut_after_it() {
    run(async {
        let short = Duration::from_millis(30);
        let house = House::build(|upstream| upstream.response_timeout = Some(short)).await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 504 "));
        assert_eq!(house.failures(), [Failure::TimedOut]);
        assert_eq!(upstream.rest().await, "");

        let house = House::build(|upstream| upstream.idle_timeout = short).await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        client.until("1\r\na\r\n").await;
        assert_eq!(client.rest().await, "");
        assert_eq!(upstream.rest().await, "");
    });
}

#[test]
fn a_refused_connection_and_a_full_house_are_told_apart() {
    run(async {
        let house = House::build(|upstream| {
            upstream.max_connections = 1;
            upstream.connect_timeout = Duration::from_millis(30);
        })
        .await;
        let (_first, _upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut second = house.client().await;
        second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(second.head().await.starts_with("HTTP/1.1 503 "));
        let house = House::build(|upstream| upstream.servers = vec![server("127.0.0.1", 1)]).await;
        let mut client = house.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = client.until("no").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer:?}");
        assert!(matches!(house.failures()[..], [Failure::Connect(_)]));
    });
}

#[test]
fn a_client_that_leaves_cancels_the_request_upstream() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        drop(client);
        assert_eq!(upstream.rest().await, "");
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        client.until("1\r\na\r\n").await;
        drop(client);
        assert_eq!(upstream.rest().await, "");
    });
}

#[test]
fn an_upload_beyond_its_limit_is_nobodys_failure_but_its_own() {
    run(async {
        let house = House::plain().await;
        let mut client = house.client().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 413 "));
        let (mut client, mut upstream, _) =
            house.ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(&format!("100001\r\n{}", "a".repeat(0x10_0001))).await;
        upstream.rest().await;
        assert!(client.head().await.starts_with("HTTP/1.1 413 "));
        assert_eq!(house.failures(), [Failure::Upload, Failure::Upload]);
    });
}

#[test]
fn an_upload_that_is_framed_badly_breaks_the_request_and_no_more() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house
            .ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            .await;
        upstream.until("1\r\na\r\n").await;
        client.send("zz\r\n").await;
        assert_eq!(upstream.rest().await, "", "the end of a broken body was sent");
        client.head().await;
        assert_eq!(house.failures(), [Failure::Upload]);
    });
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    run(async {
        let house = House::build(|upstream| upstream.max_idle = Duration::from_millis(30)).await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send(OK).await;
        client.until("ok").await;
        assert_eq!(upstream.rest().await, "");
    });
}

#[test]
fn a_large_answer_streams_whole() {
    run_over_each(|kind| async move {
        let house = House::over(kind, |_| {}).await;
        let (mut client, mut upstream, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let body = "0123456789".repeat(300_000);
        let length = body.len();
        let sent = body.clone();
        tokio::task::spawn_local(async move {
            upstream
                .send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{sent}"))
                .await;
            upstream.head().await;
        });
        client.head().await;
        let mut read = vec![0; length];
        client.0.read_exact(&mut read).await.unwrap();
        assert!(read == body.as_bytes(), "the bytes differ");
    });
}
