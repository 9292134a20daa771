//! Places among the connections, and pools that outlive a configuration.

use std::future::poll_fn;
use std::task::Poll;

use super::*;

#[test]
fn a_request_that_waits_for_a_place_gets_the_connection_that_is_given_back() {
    run(async {
        let house = House::build(|upstream| upstream.max_connections = 1).await;
        let (mut first, mut upstream, _) = house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut second = house.client().await;
        second.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        upstream.send(OK).await;
        first.until("ok").await;
        assert!(upstream.head().await.starts_with("GET /2 "));
        upstream.send(OK).await;
        second.until("ok").await;
    });
}

#[test]
fn whoever_waits_for_a_place_goes_before_the_next_request_of_a_pipeline() {
    run(async {
        let house = House::build(|upstream| upstream.max_connections = 1).await;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (mut pipeline, mut upstream, _) = house.ask(&(get("/1") + &get("/3"))).await;
        let mut waiting = house.client().await;
        waiting.send(&get("/2")).await;
        while house.pool().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        for path in ["/2", "/3"] {
            upstream.send(OK).await;
            assert!(upstream.head().await.starts_with(&format!("GET {path} ")), "{path}");
        }
        upstream.send(OK).await;
        waiting.until("ok").await;
        pipeline.until("ok").await;
        pipeline.until("ok").await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_no_place_with_it() {
    run(async {
        let house = House::build(|upstream| upstream.max_connections = 1).await;
        let (first, mut upstream, _) = house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut leaving = house.client().await;
        leaving.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        tokio::task::yield_now().await;
        drop(leaving);
        let mut third = house.client().await;
        third.send("GET /3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        drop(first);
        assert_eq!(upstream.rest().await, "");
        let mut upstream = house.accepted().await;
        let mut head = upstream.head().await;
        if head.starts_with("GET /2 ") {
            upstream = house.accepted().await;
            head = upstream.head().await;
        }
        assert!(head.starts_with("GET /3 "), "{head:?}");
        upstream.send(OK).await;
        third.until("ok").await;
    });
}

#[test]
fn a_burst_of_uploads_of_one_client_waits_for_its_half_of_the_places() {
    run(async {
        let house = House::build(|upstream| upstream.max_connections = 2).await;
        let serve = async {
            loop {
                let mut upstream = house.accepted().await;
                tokio::task::spawn_local(async move {
                    loop {
                        upstream.until("\r\n\r\nhi").await;
                        upstream.send(OK).await;
                    }
                });
            }
        };
        let ask = async {
            let mut clients = Vec::new();
            for _ in 0..9 {
                let mut client = house.client().await;
                client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi").await;
                clients.push(client);
            }
            for client in &mut clients {
                let head = client.head().await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head:?}");
            }
        };
        tokio::select! { () = serve => {}, () = ask => {} }
    });
}

#[test]
fn an_upload_that_waits_is_told_in_time_that_others_of_its_client_have_stalled() {
    run(async {
        let short = Duration::from_millis(50);
        let house = House::build(|upstream| {
            (upstream.max_connections, upstream.connect_timeout) = (2, short);
        });
        let house = house.await;
        let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nhi";
        let (mut stalled, mut upstream, _) = house.ask(post).await;
        let mut second = house.client().await;
        second.send(post).await;
        assert!(second.head().await.starts_with("HTTP/1.1 503 "));
        let (mut other, mut idle, _) = house.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        idle.send(OK).await;
        other.until("ok").await;
        stalled.send("!").await;
        upstream.until("hi!").await;
        second = house.client().await;
        second.send(&format!("{post}!")).await;
        idle.until("hi!").await;
        assert_eq!(house.failures(), [Failure::Full]);
    });
}

#[test]
fn more_requests_than_places_are_not_kept_waiting() {
    run(async {
        let house = House::build(|upstream| upstream.max_connections = 1).await;
        let (_first, _upstream, _) = house.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut clients = Vec::new();
        for _ in 0..9 {
            let mut client = house.client().await;
            client.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
            clients.push(client);
        }
        // Eight wait; whichever came last is told at once.
        let mut heads: Vec<_> = clients.iter_mut().map(|client| Box::pin(client.head())).collect();
        let told = poll_fn(|cx| {
            let polled = heads.iter_mut().map(|head| head.as_mut().poll(cx));
            polled.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        let told = told.await;
        assert!(told.starts_with("HTTP/1.1 503 "), "{told:?}");
        assert_eq!(house.failures(), [Failure::Full]);
    });
}

#[test]
fn unchanged_upstreams_keep_their_connections_wherever_they_stand() {
    let (one, other) = (config(1), config(2));
    let mut changed = other.clone();
    changed.max_connections += 1;
    let health = Health::new(&[one.clone(), other.clone()]);
    let pools = Pools::new(&[one.clone(), other.clone()], 1, &health).unwrap();
    health.update(&[other.clone(), changed.clone(), one.clone()]);
    let updated = pools.updated(&[other, changed, one], &health).unwrap();
    let same = |new: usize, old: usize| Rc::ptr_eq(updated.group(new), pools.group(old));
    assert!(same(0, 1) && same(2, 0) && !same(1, 0) && !same(1, 1));
}
