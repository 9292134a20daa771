//! Servers of HTTP/2 that say farewell to some requests (RFC 9113 section 6.8), or nothing at all, or
//! take more of them than before: frame by frame, since no library says such things.

use super::*;

/// A server's end of a connection.
struct Raw {
    wire: Wire,
    /// How many of its settings are in force.
    settled: usize,
}

struct Seen {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
/// With END_STREAM.
const WHOLE: u8 = 5;
/// `:status: 204` (RFC 7541 appendix A).
const NO_CONTENT: [u8; 1] = [0x89];

impl Raw {
    async fn accepted(house: &House) -> Self {
        Self::greeted(house.accepted().await).await
    }

    async fn greeted(mut wire: Wire) -> Self {
        wire.0.read_exact(&mut [0; 24]).await.unwrap();
        let mut raw = Self { wire, settled: 0 };
        raw.say(SETTINGS, (0, 0), &[]).await;
        raw
    }

    async fn say(&mut self, kind: u8, (flags, stream): (u8, u32), payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.wire.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    async fn next(&mut self) -> Seen {
        let mut head = [0; 9];
        self.wire.0.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.wire.0.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let seen = Seen { kind: head[3], flags: head[4], stream, payload };
        self.settled += usize::from(seen.kind == SETTINGS && seen.flags & ACK != 0);
        seen
    }

    /// Reads on to a frame of a kind that acknowledges nothing.
    async fn until(&mut self, kind: u8) -> Seen {
        loop {
            let seen = self.next().await;
            if seen.kind == kind && (kind == HEADERS || seen.flags & ACK == 0) {
                return seen;
            }
        }
    }

    async fn is_asked(&mut self, stream: u32) {
        assert_eq!(self.until(HEADERS).await.stream, stream);
    }

    async fn answer(&mut self, stream: u32) {
        self.say(HEADERS, (WHOLE, stream), &NO_CONTENT).await;
    }

    /// As a server does whose calls take long, for twice the patience; how many there were.
    async fn answers_pings_alone(&mut self) -> usize {
        let end = tokio::time::Instant::now() + PATIENCE * 2;
        let mut pings = 0;
        while let Ok(ping) = tokio::time::timeout_at(end, self.until(PING)).await {
            self.say(PING, (ACK, 0), &ping.payload).await;
            pings += 1;
        }
        pings
    }

    async fn say_farewell(&mut self, last: u32, reason: u32) {
        let payload = [&last.to_be_bytes()[..], &reason.to_be_bytes(), DEBUG.as_bytes()].concat();
        self.say(GOAWAY, (0, 0), &payload).await;
    }
}

/// What a server may add for whoever looks after it.
const DEBUG: &str = "cookie: s3cret";

const PATIENCE: Duration = Duration::from_millis(500);

/// One whose requests may wait for ever.
async fn patient(places: usize) -> House {
    House::over(Kind::H2c, |upstream| {
        (upstream.connect_timeout, upstream.response_timeout) = (PATIENCE, None);
        upstream.max_connections = places;
    })
    .await
}

async fn house() -> House {
    House::over(Kind::H2c, |upstream| upstream.retries = 0).await
}

async fn client(house: &House, request: &str) -> Wire {
    let mut client = house.client().await;
    client.send(request).await;
    client
}

async fn is_answered(client: &mut Wire) {
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_a_farewell_leaves_out_is_sent_once_more_and_the_rest_ends_where_it_is() {
    run(async {
        let house = house().await;
        let mut first = client(&house, POST).await;
        let mut leaving = Raw::accepted(&house).await;
        leaving.is_asked(1).await;
        let mut others = Vec::new();
        for stream in [3, 5, 7] {
            others.push(client(&house, POST).await);
            leaving.is_asked(stream).await;
        }
        // First for what is to come, then for what it has seen: as it is mostly done.
        leaving.say_farewell(0x7fff_ffff, NO_ERROR).await;
        leaving.say_farewell(1, NO_ERROR).await;
        let mut next = Raw::accepted(&house).await;
        for stream in [1, 3, 5] {
            next.is_asked(stream).await;
            next.answer(stream).await;
        }
        for other in &mut others {
            is_answered(other).await;
        }
        leaving.answer(1).await;
        is_answered(&mut first).await;
        first.send(POST).await;
        next.is_asked(7).await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn what_a_farewell_includes_is_never_sent_once_more() {
    run(async {
        for reason in [NO_ERROR, INTERNAL_ERROR] {
            let house = house().await;
            let mut first = client(&house, POST).await;
            let mut leaving = Raw::accepted(&house).await;
            leaving.is_asked(1).await;
            leaving.say_farewell(1, reason).await;
            drop(leaving);
            assert!(first.head().await.starts_with("HTTP/1.1 502 "), "{reason}");
            // The next connection's first request is another one.
            let _second = client(&house, GET).await;
            let mut next = Raw::accepted(&house).await;
            let head = next.until(HEADERS).await;
            // `:method: GET` (RFC 7541 appendix A).
            assert!(head.payload.contains(&0x82), "{:?}", head.payload);
        }
    });
}

#[test]
fn of_a_farewell_only_the_reason_is_told() {
    run(async {
        let house = house().await;
        let mut client = client(&house, POST).await;
        let mut leaving = Vec::new();
        for _ in 0..3 {
            let mut server = Raw::accepted(&house).await;
            server.is_asked(1).await;
            server.say_farewell(0, INTERNAL_ERROR).await;
            leaving.push(server);
        }
        assert!(client.head().await.starts_with("HTTP/1.1 502 "));
        let why = house.failures()[0].to_string();
        assert!(why.contains("internal error") && !why.contains(DEBUG), "{why}");
    });
}

#[test]
fn a_server_without_a_sign_of_life_gets_no_more_requests_and_may_still_answer_the_others() {
    run(async {
        let patience = Duration::from_millis(100);
        let house = House::over(Kind::H2c, |upstream| upstream.connect_timeout = patience).await;
        let mut first = client(&house, GET).await;
        let mut silent = Raw::accepted(&house).await;
        silent.until(PING).await;
        let mut waiting = Vec::new();
        let next = loop {
            waiting.push(client(&house, GET).await);
            if let Ok(wire) = timeout(patience, house.accepted()).await {
                break wire;
            }
            assert!(waiting.len() < 50, "every request goes to the silent one");
        };
        let mut next = Raw::greeted(next).await;
        next.is_asked(1).await;
        next.answer(1).await;
        is_answered(waiting.last_mut().unwrap()).await;
        silent.answer(1).await;
        is_answered(&mut first).await;
        assert_eq!(house.failures(), []);
    });
}

#[test]
fn a_server_that_answers_a_ping_keeps_its_connection() {
    run(async {
        let patience = Duration::from_secs(1);
        let house = House::over(Kind::H2c, |upstream| upstream.connect_timeout = patience).await;
        let mut first = client(&house, GET).await;
        let mut busy = Raw::accepted(&house).await;
        busy.is_asked(1).await;
        let ping = busy.until(PING).await;
        busy.say(PING, (ACK, 0), &ping.payload).await;
        let mut second = client(&house, GET).await;
        busy.is_asked(3).await;
        for (stream, client) in [(3, &mut second), (1, &mut first)] {
            busy.answer(stream).await;
            is_answered(client).await;
        }
    });
}

#[test]
fn a_server_that_dies_after_its_answer_to_a_ping_is_asked_once_more_with_the_next_request() {
    run(async {
        let patience = Duration::from_secs(1);
        let house = House::over(Kind::H2c, |upstream| upstream.connect_timeout = patience).await;
        let first = client(&house, GET).await;
        let mut dying = Raw::accepted(&house).await;
        let ping = dying.until(PING).await;
        dying.say(PING, (ACK, 0), &ping.payload).await;
        assert!(timeout(patience * 3, dying.until(PING)).await.is_err(), "one ping for a silence");
        drop(first);
        dying.until(RST_STREAM).await;
        let _second = client(&house, GET).await;
        dying.is_asked(3).await;
        dying.until(PING).await;
    });
}

/// Servers of gRPC hang up over a few pings in one silence.
#[test]
fn a_silence_is_asked_into_twice_and_then_a_new_connection_takes_what_comes() {
    run(async {
        let house = patient(8).await;
        let mut waiting = Vec::new();
        let mut busy = None;
        let (mut pings, mut next) = (0, None);
        while next.is_none() {
            waiting.push(client(&house, GET).await);
            match &mut busy {
                None => busy = Some(Raw::accepted(&house).await),
                Some(_) => next = timeout(PATIENCE / 2, house.accepted()).await.ok(),
            }
            pings += busy.as_mut().unwrap().answers_pings_alone().await;
            assert!(pings <= 2, "{pings} pings, {} requests", waiting.len());
        }
        let (mut busy, mut next) = (busy.unwrap(), Raw::greeted(next.unwrap()).await);
        next.is_asked(1).await;
        next.answer(1).await;
        is_answered(waiting.last_mut().unwrap()).await;
        busy.answer(1).await;
        is_answered(&mut waiting[0]).await;
        assert_eq!((pings, house.failures()), (2, vec![]));
    });
}

#[test]
fn a_connection_that_no_other_can_take_the_place_of_is_kept_unasked() {
    run(async {
        let house = patient(1).await;
        let mut waiting = vec![client(&house, GET).await];
        let mut busy = Raw::accepted(&house).await;
        let mut pings = 0;
        for _ in 0..4 {
            pings += busy.answers_pings_alone().await;
            waiting.push(client(&house, GET).await);
        }
        for (stream, client) in (1..).step_by(2).zip(&mut waiting) {
            busy.answer(stream).await;
            is_answered(client).await;
        }
        assert_eq!((pings, house.failures()), (2, vec![]));
    });
}

#[test]
fn an_answer_to_a_ping_that_comes_too_late_does_not_stop_the_next_ping() {
    run(async {
        let patience = Duration::from_secs(1);
        let house = House::over(Kind::H2c, |upstream| upstream.connect_timeout = patience).await;
        let mut first = client(&house, GET).await;
        let mut slow = Raw::accepted(&house).await;
        let ping = slow.until(PING).await;
        slow.answer(1).await;
        is_answered(&mut first).await;
        assert!(timeout(patience * 2, slow.until(PING)).await.is_err(), "nobody waits");
        slow.say(PING, (ACK, 0), &ping.payload).await;
        let _second = client(&house, GET).await;
        slow.is_asked(3).await;
        slow.until(PING).await;
    });
}

#[test]
fn whoever_waits_for_a_stream_is_told_when_the_server_takes_more() {
    run(async {
        let house = patient(1).await;
        let mut first = client(&house, GET).await;
        let mut server = Raw::accepted(&house).await;
        server.is_asked(1).await;
        server.say(SETTINGS, (0, 0), &most_streams(1)).await;
        while server.settled < 2 {
            server.next().await;
        }
        let mut second = client(&house, GET).await;
        while house.pool().streams().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        server.say(SETTINGS, (0, 0), &most_streams(2)).await;
        server.is_asked(3).await;
        for (client, stream) in [(&mut second, 3), (&mut first, 1)] {
            server.answer(stream).await;
            is_answered(client).await;
        }
    });
}

/// SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2).
fn most_streams(most: u8) -> [u8; 6] {
    [0, 3, 0, 0, 0, most]
}
