//! Exchanges that share a connection to an upstream of HTTP/2: whom one of them holds up, what is sent
//! again, and when there is another connection.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use h2::Reason;

use super::http2::*;
use super::*;
use crate::upstream::streams::{self, Sharing};

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
            pending::<()>().await;
        });
        for _ in 0..20 {
            let (mut other, (_, respond)) = ask(&house, &mut server, GET).await;
            ok(respond, "served");
            other.until("served\r\n0\r\n\r\n").await;
        }
    });
}

#[test]
fn one_client_may_have_more_uploads_than_there_are_connections() {
    run(async {
        let house = House::over(Kind::H2c, |upstream| upstream.max_connections = 1).await;
        let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab";
        let (mut first, mut server, (_one, answer_one)) = begin(&house, post).await;
        let (mut second, (_two, answer_two)) = ask(&house, &mut server, post).await;
        for (client, answer) in [(&mut second, answer_two), (&mut first, answer_one)] {
            client.send("c").await;
            ok(answer, "had");
            client.until("had\r\n0\r\n\r\n").await;
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

/// hyper resets a client's stream for the reason it finds among the causes.
#[test]
fn a_reset_that_says_nothing_is_wrong_is_not_passed_on_as_such() {
    let reason = |cause: Reason| {
        let broken = crate::upstream::body::broken(cause.into());
        broken.downcast_ref::<h2::Error>().and_then(h2::Error::reason)
    };
    assert_eq!(reason(Reason::NO_ERROR), None);
    assert_eq!(reason(Reason::CANCEL), Some(Reason::CANCEL));
}

/// `timeouts.idle` is between two bytes, whichever way they go.
#[test]
fn an_upload_that_goes_on_beside_its_answer_is_no_silence() {
    let (idle, pieces, pause) = (Duration::from_secs(2), 60, Duration::from_millis(50));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    let send_slowly = async |client: &mut Wire| {
        for _ in 1..pieces {
            tokio::time::sleep(pause).await;
            client.send("1\r\na\r\n").await;
        }
        client.send("0\r\n\r\n").await;
    };
    run(async {
        let house = House::build(|upstream| upstream.idle_timeout = idle).await;
        let (mut client, mut upstream, _) = house.ask(head).await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
        client.head().await;
        let whole = upstream.until("0\r\n\r\n");
        tokio::join!(send_slowly(&mut client), whole);
        upstream.send("k").await;
        client.until("ok").await;
    });
    run(async {
        let house = House::over(Kind::H2c, |upstream| upstream.idle_timeout = idle).await;
        let (mut client, _server, (mut request, mut respond)) = begin(&house, head).await;
        let mut stream = respond.send_response(answer(200), false).unwrap();
        client.head().await;
        let (_, sent) = tokio::join!(send_slowly(&mut client), body_of(&mut request));
        assert_eq!(sent.len(), pieces);
        stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
        client.until("ok\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_request_that_times_out_takes_no_connection_from_others_that_is_heard_of() {
    run(async {
        let short = Duration::from_millis(100);
        let house =
            House::over(Kind::H2c, |upstream| upstream.response_timeout = Some(short)).await;
        let (mut flowing, mut server, (_, mut respond)) = begin(&house, GET).await;
        let mut stream = respond.send_response(answer(200), false).unwrap();
        flowing.head().await;
        let (mut late, _held) = ask(&house, &mut server, GET).await;
        stream.send_data(Bytes::from_static(b"more"), false).unwrap();
        assert!(late.head().await.starts_with("HTTP/1.1 504 "));
        let (mut next, (_, respond)) = ask(&house, &mut server, GET).await;
        ok(respond, "next");
        next.until("next\r\n0\r\n\r\n").await;

        // A body that falls silent is cut, and the connection stays too.
        let house = House::over(Kind::H2c, |upstream| upstream.idle_timeout = short).await;
        let (mut silent, mut server, (_, mut respond)) = begin(&house, GET).await;
        let (mut other, (_, other_respond)) = ask(&house, &mut server, GET).await;
        let mut stream = respond.send_response(answer(200), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        silent.until("half\r\n").await;
        ok(other_respond, "other");
        other.until("other\r\n0\r\n\r\n").await;
        assert_eq!(silent.rest().await, "");
        let (mut next, (_, respond)) = ask(&house, &mut server, GET).await;
        ok(respond, "next");
        next.until("next\r\n0\r\n\r\n").await;
    });
}

#[test]
fn a_connection_of_one_login_ends_with_its_request_though_nobody_waits_for_the_answer() {
    run(async {
        let an_hour = Duration::from_secs(3600);
        let house = House::over(Kind::H2c, |upstream| upstream.max_idle = an_hour).await;
        let login = "GET /login HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM abc\r\n\r\n";
        let (client, server, _unanswered) = begin(&house, login).await;
        drop(client);
        server.over().await;
    });
}

#[test]
fn a_hasty_request_does_not_fail_those_who_wait_longer_for_the_same_connection() {
    run(async {
        let house = House::over(Kind::H2, |_| {}).await;
        let place = |patience| streams::place(house.pool(), Sharing::Allowed, patience);
        let Door::Tls(listener, acceptor) = &house.upstream else { unreachable!() };
        let server = async {
            let _silent = listener.accept().await.unwrap();
            acceptor.accept(listener.accept().await.unwrap().0).await.unwrap()
        };
        let (hasty, patient, _server) =
            tokio::join!(place(Duration::from_millis(30)), place(Duration::from_secs(10)), server);
        assert_eq!(hasty.err(), Some(Failure::TimedOut));
        assert!(patient.unwrap().is_some());
    });
}

/// Else none would ever be done in time, as long as requests come closer together than that takes.
#[test]
fn who_connects_after_another_ran_out_of_time_has_the_whole_of_it() {
    run(async {
        let house = House::over(Kind::H2, |_| {}).await;
        let place = || streams::place(house.pool(), Sharing::Allowed, Duration::from_millis(600));
        let Door::Tls(listener, acceptor) = &house.upstream else { unreachable!() };
        let server = async {
            let _silent = listener.accept().await.unwrap();
            let slow = listener.accept().await.unwrap().0;
            tokio::time::sleep(Duration::from_millis(300)).await;
            acceptor.accept(slow).await.unwrap()
        };
        let second = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            place().await
        };
        let (first, second, _server) = tokio::join!(place(), second, server);
        assert_eq!(first.err(), Some(Failure::TimedOut));
        assert!(second.unwrap().is_some());
    });
}

#[test]
fn whoever_waits_for_a_stream_goes_before_the_next_request_of_a_pipeline() {
    run(async {
        let house = House::over(Kind::H2c, |upstream| upstream.max_connections = 1).await;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut narrow = h2::server::Builder::new();
        narrow.max_concurrent_streams(1);
        let mut pipeline = house.client().await;
        pipeline.send(&get("/0")).await;
        let mut server = Server::with(&house, &narrow).await;
        ok(server.asked().await.1, "known");
        pipeline.until("known\r\n0\r\n\r\n").await;
        pipeline.send(&(get("/1") + &get("/3"))).await;
        let (_, first) = server.asked().await;
        let mut waiting = house.client().await;
        waiting.send(&get("/2")).await;
        while house.pool().streams().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        ok(first, "first");
        for path in ["/2", "/3"] {
            let (asked, respond) = server.asked().await;
            assert_eq!(asked.uri().path(), path);
            ok(respond, "next");
        }
        waiting.until("next\r\n0\r\n\r\n").await;
        pipeline.until("next\r\n0\r\n\r\n").await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn all_who_wait_for_a_shared_connection_are_told_that_the_server_has_none() {
    run(async {
        let house = House::over(Kind::Tls, |upstream| upstream.max_connections = 1).await;
        let place = |sharing| streams::place(house.pool(), sharing, Duration::from_secs(10));
        let serve = async {
            let _connection = house.accepted().await;
            pending::<()>().await;
        };
        let (alone, others) = (place(Sharing::Never), [(); 3].map(|()| place(Sharing::Allowed)));
        let [one, two, three] = others;
        let told = async { tokio::join!(alone, one, two, three) };
        let told = tokio::select! { told = told => told, () = serve => unreachable!() };
        assert!(matches!(told, (Ok(None), Ok(None), Ok(None), Ok(None))));
    });
}

#[test]
fn whoever_waits_is_told_of_no_failure_from_before_it_came() {
    run(async {
        let house = House::over(Kind::H2, |upstream| upstream.max_connections = 1).await;
        let Door::Tls(listener, _) = &house.upstream else { unreachable!() };
        let place = |sharing| streams::place(house.pool(), sharing, Duration::from_secs(10));
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let (failed, ()) = tokio::join!(place(Sharing::Allowed), hang_up);
        assert!(matches!(failed, Err(Failure::Connect(_))));
        let (alone, _first) = tokio::join!(place(Sharing::Never), Server::accepted(&house));
        let mut waiting = pin!(place(Sharing::Allowed));
        assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
        drop(alone);
        let serve = async {
            let _second = Server::accepted(&house).await;
            pending::<()>().await;
        };
        let told = tokio::select! { told = waiting => told, () = serve => unreachable!() };
        assert!(told.unwrap().is_some());
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
