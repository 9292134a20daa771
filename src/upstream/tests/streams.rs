//! One exchange with an upstream of HTTP/2 (RFC 9113), and gRPC over it: its head, its bodies, its end.

use h2::Reason;

use super::http2::*;
use super::*;

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
        client.send("0\r\nX-Sum: 1\r\nRemote-User: admin\r\nCookie: a=b\r\n\r\n").await;
        assert_eq!(body_of(&mut asked).await, "");
        let trailers = asked.body_mut().trailers().await.unwrap().expect("trailers");
        assert_eq!(lines(&trailers), ["x-sum: 1"]);
        stream
            .send_trailers(map(&[("grpc-status", "0"), ("remote-user", "admin"), ("vary", "a")]))
            .unwrap();
        assert_eq!(client.until("\r\n\r\n").await, "0\r\ngrpc-status: 0\r\n\r\n");
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
fn a_final_answer_lets_no_body_through_that_waited_for_its_100_here_either() {
    run(async {
        let house = house().await;
        let request =
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        let (mut client, _server, (mut asked, mut respond)) = begin(&house, request).await;
        let mut stream = respond.send_response(answer(401), false).unwrap();
        assert!(client.head().await.starts_with("HTTP/1.1 401 "));
        client.send("abc").await;
        tokio::time::sleep(super::super::sent::PATIENCE + Duration::from_millis(200)).await;
        stream.send_data(Bytes::from_static(b"half"), true).unwrap();
        client.until("half\r\n0\r\n\r\n").await;
        let sent = asked.body_mut().data().await;
        assert!(!matches!(sent, Some(Ok(_))), "{sent:?}");
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
