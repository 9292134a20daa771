//! Upstreams that speak HTTP/2 (RFC 9113), and gRPC over it.

use std::future::poll_fn;

use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use tokio::sync::mpsc;

use super::kinds::Stream;
use super::*;

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// One connection at its upstream's end.
struct Server {
    asked: mpsc::UnboundedReceiver<Asked>,
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    SayFarewell,
    HangUp,
}

impl Server {
    async fn accepted(house: &House) -> Self {
        Self::with(house, &h2::server::Builder::new()).await
    }

    async fn with(house: &House, builder: &h2::server::Builder) -> Self {
        let connection = builder.handshake(house.accepted().await.0).await.unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();
        tokio::task::spawn_local(Self::serve(connection, tell, ordered));
        Self { asked, orders }
    }

    async fn serve(
        mut connection: Connection<Box<dyn Stream>, Bytes>,
        tell: mpsc::UnboundedSender<Asked>,
        mut ordered: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut farewell = false;
        loop {
            tokio::select! {
                asked = connection.accept() => match asked {
                    Some(Ok(asked)) => drop(tell.send(asked)),
                    Some(Err(_)) | None => return,
                },
                order = ordered.recv(), if !farewell => match order {
                    Some(Order::SayFarewell) => connection.graceful_shutdown(),
                    Some(Order::HangUp) => return,
                    None => farewell = true,
                }
            }
        }
    }

    async fn asked(&mut self) -> Asked {
        self.asked.recv().await.expect("a request")
    }

    /// The connection has ended.
    async fn over(mut self) {
        assert!(self.asked.recv().await.is_none(), "one more request");
    }

    fn order(&self, order: Order) {
        self.orders.send(order).ok().unwrap();
    }
}

fn answer(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

fn ok(mut respond: SendResponse<Bytes>, body: &'static str) {
    let mut stream = respond.send_response(answer(200), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

async fn house() -> House {
    House::over(Kind::H2c, |_| {}).await
}

/// A client that asks, and its request at the upstream.
async fn ask(house: &House, server: &mut Server, request: &str) -> (Wire, Asked) {
    let mut client = house.client().await;
    client.send(request).await;
    (client, server.asked().await)
}

/// The same on a connection that is made for it.
async fn begin(house: &House, request: &str) -> (Wire, Server, Asked) {
    let mut client = house.client().await;
    client.send(request).await;
    let mut server = Server::accepted(house).await;
    let asked = server.asked().await;
    (client, server, asked)
}

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: h:8\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";

async fn body_of(asked: &mut Request<RecvStream>) -> String {
    let mut body = String::new();
    while let Some(data) = asked.body_mut().data().await {
        body.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
    }
    body
}

async fn reset_of(respond: &mut SendResponse<Bytes>) -> Reason {
    poll_fn(|cx| respond.poll_reset(cx)).await.unwrap()
}

#[test]
fn many_requests_share_a_connection_and_each_gets_its_own_answer() {
    for (kind, scheme) in [(Kind::H2c, "http"), (Kind::H2, "https")] {
        run(async {
            let house = House::over(kind, |_| {}).await;
            let (mut first, mut server, (one, answer_one)) = begin(&house, GET).await;
            let uri = format!("{scheme}://h:8/a?b");
            assert_eq!((one.method(), one.uri().to_string()), (&http::Method::GET, uri));
            assert_eq!(lines(one.headers()), Vec::<String>::new());
            let (mut second, (two, answer_two)) = ask(&house, &mut server, POST).await;
            assert_eq!(lines(two.headers()), ["content-length: 3"]);
            ok(answer_two, "two");
            ok(answer_one, "one");
            assert!(second.until("two\r\n0\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
            first.until("one\r\n0\r\n\r\n").await;
            first.send(GET).await;
            ok(server.asked().await.1, "again");
            first.until("again\r\n0\r\n\r\n").await;
        });
    }
}

#[test]
fn nothing_of_one_connection_alone_is_written_here() {
    run(async {
        let house = house().await;
        let request = "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers, gzip\r\nConnection: TE, X-A\r\nX-A: b\r\nKeep-Alive: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Late: 1\r\n\r\n";
        let (mut client, _server, (mut asked, respond)) = begin(&house, request).await;
        assert_eq!(lines(asked.headers()), ["te: trailers"]);
        assert_eq!(body_of(&mut asked).await, "a");
        assert_eq!(asked.body_mut().trailers().await.unwrap(), None, "only gRPC has trailers");
        ok(respond, "ok");
        client.until("ok\r\n0\r\n\r\n").await;
    });
}

#[test]
fn grpc_streams_both_ways_and_has_filtered_trailers_at_both_ends() {
    run(async {
        let house = house().await;
        let head = "POST /s/M HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\nContent-Type: application/grpc+proto\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (mut client, _server, (mut asked, mut respond)) = begin(&house, head).await;
        let mut told = answer(200);
        // Without it no trailers are written to a client of HTTP/1.1.
        told.headers_mut().extend(map(&[("trailer", "grpc-status, remote-user")]));
        let mut stream = respond.send_response(told, false).unwrap();
        client.head().await;
        for word in ["one", "two"] {
            client.send(&format!("3\r\n{word}\r\n")).await;
            let data = asked.body_mut().data().await.unwrap().unwrap();
            assert_eq!(data, word);
            stream.send_data(data, false).unwrap();
            assert_eq!(client.until("\r\n").await, "3\r\n");
            client.until(&format!("{word}\r\n")).await;
        }
        client.send("0\r\nX-Sum: 1\r\nRemote-User: admin\r\n\r\n").await;
        assert_eq!(body_of(&mut asked).await, "");
        let trailers = asked.body_mut().trailers().await.unwrap().expect("trailers");
        assert_eq!(lines(&trailers), ["x-sum: 1"]);
        stream.send_trailers(map(&[("grpc-status", "0"), ("remote-user", "admin")])).unwrap();
        assert_eq!(client.until("\r\n\r\n").await, "0\r\ngrpc-status: 0\r\n\r\n");
    });
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_nobody_elses() {
    run(async {
        let house = house().await;
        let (first, mut server, (_one, mut respond)) = begin(&house, GET).await;
        let (mut second, (_two, other)) = ask(&house, &mut server, GET).await;
        drop(first);
        assert_eq!(reset_of(&mut respond).await, Reason::CANCEL);
        ok(other, "other");
        second.until("other\r\n0\r\n\r\n").await;

        let (mut third, (_three, mut respond)) = ask(&house, &mut server, GET).await;
        let mut stream = respond.send_response(answer(200), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        third.until("half\r\n").await;
        drop(third);
        assert_eq!(poll_fn(|cx| stream.poll_reset(cx)).await.unwrap(), Reason::CANCEL);
    });
}

#[test]
fn a_broken_upload_is_reset_and_never_ended() {
    run(async {
        let house = house().await;
        let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        let (mut client, _server, (mut asked, _respond)) = begin(&house, request).await;
        assert_eq!(asked.body_mut().data().await.unwrap().unwrap(), "a");
        client.send("zz\r\n").await;
        let end = asked.body_mut().data().await.expect("an error, not an end").unwrap_err();
        assert_eq!(end.reason(), Some(Reason::CANCEL));
        client.head().await;
        assert_eq!(house.failures(), [Failure::Upload]);
    });
}

#[test]
fn an_early_answer_reaches_the_client() {
    run(async {
        let house = house().await;
        let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\nabc";
        let (mut client, _server, (mut asked, mut respond)) = begin(&house, request).await;
        assert_eq!(asked.body_mut().data().await.unwrap().unwrap(), "abc");
        let mut stream = respond.send_response(answer(413), false).unwrap();
        stream.send_data(Bytes::from_static(b"big"), true).unwrap();
        assert!(client.until("big").await.starts_with("HTTP/1.1 413 "));
    });
}

#[test]
fn an_upload_waits_for_the_window_and_arrives_whole() {
    run(async {
        let house = house().await;
        let body = "0123456789".repeat(50_000);
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        let (mut client, _server, (mut asked, respond)) = begin(&house, &head).await;
        let sent = body.clone();
        let client = tokio::task::spawn_local(async move {
            client.send(&sent).await;
            client.until("ok\r\n0\r\n\r\n").await;
        });
        let mut got = Vec::new();
        while let Some(data) = asked.body_mut().data().await {
            let data = data.unwrap();
            asked.body_mut().flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        assert!(got == body.as_bytes(), "{} bytes differ", got.len());
        ok(respond, "ok");
        client.await.unwrap();
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    run(async {
        let house = house().await;
        let (_deaf, mut server, (_one, mut respond)) = begin(&house, GET).await;
        let mut stream = respond.send_response(answer(200), false).unwrap();
        // Beyond every buffer between here and the client.
        tokio::task::spawn_local(async move {
            let piece = Bytes::from(vec![b'x'; 1 << 20]);
            for _ in 0..64 {
                stream.reserve_capacity(piece.len());
                let _ = stream.send_data(piece.clone(), false);
            }
            std::future::pending::<()>().await;
        });
        for _ in 0..20 {
            let (mut other, (_, respond)) = ask(&house, &mut server, GET).await;
            ok(respond, "served");
            other.until("served\r\n0\r\n\r\n").await;
        }
    });
}

#[test]
fn a_farewell_lets_what_is_under_way_end_and_the_next_request_goes_elsewhere() {
    run(async {
        let house = house().await;
        let (mut first, server, (_one, respond)) = begin(&house, GET).await;
        server.order(Order::SayFarewell);
        tokio::task::yield_now().await;
        ok(respond, "ended");
        first.until("ended\r\n0\r\n\r\n").await;
        server.over().await;
        first.send(POST).await;
        let mut next = Server::accepted(&house).await;
        let (mut asked, respond) = next.asked().await;
        assert_eq!(asked.body_mut().data().await.unwrap().unwrap(), "abc");
        ok(respond, "next");
        first.until("next\r\n0\r\n\r\n").await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn what_was_refused_unprocessed_is_sent_again_and_not_for_ever() {
    run(async {
        let house = house().await;
        let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
        let (mut client, mut server, (_, mut respond)) = begin(&house, post).await;
        respond.send_reset(Reason::REFUSED_STREAM);
        ok(server.asked().await.1, "second");
        client.until("second\r\n0\r\n\r\n").await;
        client.send(post).await;
        for _ in 0..3 {
            server.asked().await.1.send_reset(Reason::REFUSED_STREAM);
        }
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
    });
}

#[test]
fn what_may_have_been_processed_is_never_sent_again() {
    run(async {
        let house = house().await;
        let (gone, mut server, _) = begin(&house, GET).await;
        drop(gone);
        for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
            let (mut client, (_, mut respond)) = ask(&house, &mut server, POST).await;
            respond.send_reset(reason);
            assert!(client.head().await.starts_with("HTTP/1.1 502 "), "{reason:?}");
        }
        // Also when part of a body has been read: it cannot be had again.
        let (mut client, (mut asked, mut respond)) = ask(&house, &mut server, POST).await;
        asked.body_mut().data().await.unwrap().unwrap();
        respond.send_reset(Reason::REFUSED_STREAM);
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
        let post = "POST /once HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
        let (mut client, _held) = ask(&house, &mut server, post).await;
        server.order(Order::HangUp);
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
        // The next connection's first request is another one.
        let (_client, _server, (asked, _)) = begin(&house, GET).await;
        assert_eq!(asked.method(), http::Method::GET);
    });
}

#[test]
fn a_get_is_sent_again_when_a_used_connection_breaks_unheard() {
    run(async {
        let house = house().await;
        let (mut client, mut server, (_, respond)) = begin(&house, GET).await;
        ok(respond, "first");
        client.until("first\r\n0\r\n\r\n").await;
        client.send(GET).await;
        let _unanswered = server.asked().await;
        server.order(Order::HangUp);
        let mut next = Server::accepted(&house).await;
        ok(next.asked().await.1, "second");
        client.until("second\r\n0\r\n\r\n").await;
    });
}

#[test]
fn silence_is_a_504_before_the_head_and_a_cut_after_it_and_the_connection_gets_no_more() {
    run(async {
        let short = Duration::from_millis(30);
        let house =
            House::over(Kind::H2c, |upstream| upstream.response_timeout = Some(short)).await;
        let (mut client, _server, (_, mut respond)) = begin(&house, GET).await;
        assert!(client.head().await.starts_with("HTTP/1.1 504 "));
        assert_eq!(house.failures(), [Failure::TimedOut]);
        assert_eq!(reset_of(&mut respond).await, Reason::CANCEL);
        let (_client, _other_server, _) = begin(&house, GET).await;

        let house = House::over(Kind::H2c, |upstream| upstream.idle_timeout = short).await;
        let (mut client, _server, (_, mut respond)) = begin(&house, GET).await;
        let mut stream = respond.send_response(answer(200), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        client.until("half\r\n").await;
        assert_eq!(client.rest().await, "");
        assert_eq!(poll_fn(|cx| stream.poll_reset(cx)).await.unwrap(), Reason::CANCEL);
    });
}

#[test]
fn an_answer_that_breaks_off_never_looks_like_an_end() {
    run(async {
        for length in [None, Some("9"), Some("2")] {
            let house = house().await;
            let (mut client, _server, (_, mut respond)) = begin(&house, GET).await;
            let mut head = answer(200);
            if let Some(length) = length {
                head.headers_mut().insert("content-length", HeaderValue::from_static(length));
            }
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), length.is_some()).unwrap();
            if length.is_none() {
                client.until("half\r\n").await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            let all = client.rest().await;
            assert!(!all.contains("0\r\n\r\n"), "{length:?}: {all:?}");
            assert!(!all.ends_with("half") || length == Some("9"), "{length:?}: {all:?}");
        }
    });
}

#[test]
fn what_is_no_answer_is_a_502() {
    run(async {
        let many: Vec<_> =
            (0..101).map(|at| HeaderName::try_from(format!("x-{at}")).unwrap()).collect();
        let heads: [&dyn Fn(&mut HeaderMap); 4] = [
            &|headers| {
                headers
                    .extend(many.iter().map(|name| (name.clone(), HeaderValue::from_static("y"))));
            },
            &|headers| headers.extend(map(&[("content-length", "1"), ("content-length", "2")])),
            &|headers| headers.extend(map(&[("content-length", "1"), ("content-length", "1")])),
            &|headers| headers.extend(map(&[("content-length", "+1")])),
        ];
        for (at, write) in heads.iter().enumerate() {
            let house = house().await;
            let (mut client, _server, (_, mut respond)) = begin(&house, GET).await;
            let mut head = answer(200);
            write(head.headers_mut());
            let mut stream = respond.send_response(head, false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"a"), true);
            assert!(client.head().await.starts_with("HTTP/1.1 502 "), "case {at}");
        }
        let house = house().await;
        let mut client = house.client().await;
        client.send(GET).await;
        let mut plain = house.accepted().await;
        plain.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
    });
}

#[test]
fn a_few_interim_answers_pass_unseen_and_a_flood_is_cut() {
    run(async {
        for (count, status) in [(20, "200"), (1000, "502")] {
            let house = house().await;
            let (mut client, _server, (_, mut respond)) = begin(&house, GET).await;
            for _ in 0..count {
                let _ = respond.send_informational(answer(103));
            }
            if let Ok(mut stream) = respond.send_response(answer(200), false) {
                let _ = stream.send_data(Bytes::from_static(b"ok"), true);
            }
            let head = client.head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{count}: {head:?}");
        }
    });
}

#[test]
fn a_body_waits_for_the_upstreams_100_here_too() {
    run(async {
        let house = house().await;
        let request =
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        let (mut client, _server, (mut asked, mut respond)) = begin(&house, request).await;
        assert_eq!(lines(asked.headers()), ["content-length: 3", "expect: 100-continue"]);
        respond.send_informational(answer(100)).unwrap();
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("abc").await;
        assert_eq!(asked.body_mut().data().await.unwrap().unwrap(), "abc");
        ok(respond, "ok");
        client.until("ok\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_login_that_binds_to_its_connection_shares_none() {
    run(async {
        let house = house().await;
        let (mut other, mut shared, (_, respond)) = begin(&house, GET).await;
        ok(respond, "other");
        other.until("other\r\n0\r\n\r\n").await;
        let login = "GET /login HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM abc\r\n\r\n";
        let (mut client, alone, (_, respond)) = begin(&house, login).await;
        ok(respond, "alone");
        client.until("alone\r\n0\r\n\r\n").await;
        alone.over().await;
        other.send(GET).await;
        ok(shared.asked().await.1, "again");
        other.until("again\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_login_that_binds_to_its_connection_waits_for_one() {
    run(async {
        let house = House::over(Kind::H2c, |upstream| upstream.max_connections = 1).await;
        let login = "GET /login HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM abc\r\n\r\n";
        let (mut first, server, (_, respond)) = begin(&house, login).await;
        let mut second = house.client().await;
        second.send(login).await;
        let told = timeout(Duration::from_millis(100), second.head()).await;
        assert!(told.is_err(), "{told:?}");
        ok(respond, "first");
        first.until("first\r\n0\r\n\r\n").await;
        server.over().await;
        ok(Server::accepted(&house).await.asked().await.1, "second");
        second.until("second\r\n0\r\n\r\n").await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn requests_that_come_at_once_share_one_new_connection_or_one_failure() {
    run(async {
        let house = house().await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = house.client().await;
            client.send(GET).await;
            clients.push(client);
        }
        let mut server = Server::accepted(&house).await;
        for _ in 0..5 {
            ok(server.asked().await.1, "ok");
        }
        for client in &mut clients {
            client.until("ok\r\n0\r\n\r\n").await;
        }
        let refused = |upstream: &mut Upstream| upstream.servers = vec![h2c_server(1)];
        let house = House::over(Kind::H2c, refused).await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = house.client().await;
            client.send(GET).await;
            clients.push(client);
        }
        for client in &mut clients {
            assert!(client.head().await.starts_with("HTTP/1.1 502 "));
        }
    });
}

fn h2c_server(port: u16) -> UpstreamServer {
    UpstreamServer { protocol: Protocol::H2c, ..server("127.0.0.1", port) }
}

#[test]
fn a_server_that_takes_one_stream_at_a_time_gets_a_second_connection() {
    run(async {
        let house = house().await;
        let mut narrow = h2::server::Builder::new();
        narrow.max_concurrent_streams(1);
        let mut first = house.client().await;
        first.send(GET).await;
        let mut server = Server::with(&house, &narrow).await;
        ok(server.asked().await.1, "known");
        first.until("known\r\n0\r\n\r\n").await;
        let (mut second, _held) = ask(&house, &mut server, GET).await;
        let (mut third, _other, (_, respond)) = begin(&house, GET).await;
        ok(respond, "third");
        third.until("third\r\n0\r\n\r\n").await;
        ok(_held.1, "second");
        second.until("second\r\n0\r\n\r\n").await;
    });
}

#[test]
fn an_idle_shared_connection_is_closed_in_time() {
    run(async {
        let short = Duration::from_millis(30);
        let house = House::over(Kind::H2c, |upstream| upstream.max_idle = short).await;
        let (mut client, server, (_, respond)) = begin(&house, GET).await;
        ok(respond, "ok");
        client.until("ok\r\n0\r\n\r\n").await;
        server.over().await;
    });
}

#[test]
fn answers_without_a_body_end_with_their_head_here_too() {
    run(async {
        let house = house().await;
        let head = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
        let (mut client, mut server, (_, mut respond)) = begin(&house, head).await;
        let mut told = answer(200);
        told.headers_mut().insert("content-length", HeaderValue::from_static("42"));
        respond.send_response(told, true).unwrap();
        assert!(client.head().await.contains("\r\ncontent-length: 42\r\n"));
        for status in [204, 304] {
            client.send(GET).await;
            let (_, mut respond) = server.asked().await;
            respond.send_response(answer(status), true).unwrap();
            let head = client.head().await;
            assert!(!head.contains("transfer-encoding"), "{head:?}");
        }
    });
}
