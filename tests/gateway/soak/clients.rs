//! Clients that hold every answer against what they asked for, and clients that misbehave.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use socket2::SockRef;

use super::faulty::{Faulty, Kind, body};
use crate::simulator::dice::Dice;
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM};
use crate::support::frames::{block, frame};
use crate::support::{Client, Door};

/// What all clients share.
pub struct Scene<'a> {
    pub door: Door,
    pub faulty: &'a Faulty,
    pub done: &'a AtomicBool,
    pub counts: &'a Counts,
}

/// What came of it, over all.
#[derive(Debug, Default)]
pub struct Counts {
    ids: AtomicU64,
    pub whole: AtomicU64,
    pub broken_off: AtomicU64,
    pub refused: AtomicU64,
    pub quit: AtomicU64,
    pub tunnels: AtomicU64,
    pub streams: AtomicU64,
    pub sessions: AtomicU64,
}

/// Whose token goes with a request, and what the application is told.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    pub user: &'a str,
    pub access: Option<&'a str>,
}

pub const NOBODY: Holder<'_> = Holder { user: "-", access: None };

/// A request under way.
pub struct Asked {
    kind: Kind,
    id: String,
    user: String,
    life: u64,
}

impl Scene<'_> {
    pub fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    pub fn id(&self) -> String {
        format!("id-{}", self.counts.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends the head of a request.
    pub fn begin(&self, client: &mut Client, kind: Kind, who: Holder<'_>) -> Asked {
        let (id, life) = (self.id(), self.faulty.life());
        let bearer = who.access.map(|access| format!("Bearer {access}"));
        let length = kind.size().to_string();
        let mut headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("Authorization", &**bearer)).collect();
        let method = if matches!(kind, Kind::Echo | Kind::Early) { "POST" } else { "GET" };
        if method == "POST" {
            headers.push(("Content-Length", &length));
        }
        let folder = if who.access.is_some() { "" } else { "/public" };
        let line = format!("{method} {folder}/{}/{id}", kind.name());
        client.send(self.door.request(&line, &headers, ""));
        Asked { kind, id, user: who.user.to_owned(), life }
    }

    /// Reads the answer, and judges it. Whether the connection may be used again.
    #[track_caller]
    pub fn end(&self, client: &mut Client, asked: &Asked) -> bool {
        let Asked { kind, id, user, life } = asked;
        let answer = client.answer();
        let was_up = Faulty::is_up(*life) && self.faulty.life() == *life;
        let may_break = matches!(kind, Kind::Reset | Kind::Short | Kind::Stalled);
        let Some(answer) = answer else {
            // The reset that tells of the broken body may overtake the head.
            assert!(may_break || !was_up, "{kind:?} {id} was closed without an answer");
            one(&self.counts.broken_off);
            return false;
        };
        let told = || format!("{kind:?} {id} of {user}: {} {:?}", answer.status, answer.headers);
        match answer.status {
            200 => {
                assert_eq!(answer.header("x-id"), Some(&**id), "another's answer: {}", told());
                assert_eq!(answer.header("x-user"), Some(&**user), "as another: {}", told());
                let whole = body(*kind, id);
                assert!(whole.starts_with(&answer.body), "another's body: {}", told());
                let is_whole = whole.len() == answer.body.len();
                one(if is_whole { &self.counts.whole } else { &self.counts.broken_off });
                assert!(may_break || is_whole || !was_up, "a part: {}", told());
                assert!(!may_break || !is_whole, "more than was sent: {}", told());
            }
            502..=504 => {
                one(&self.counts.refused);
                assert!(answer.text().contains("\"code\""), "not ours: {}", told());
                // An upload over a connection that dies meanwhile is not repeated.
                assert!(!kind.is_good() || *kind == Kind::Echo || !was_up, "{}", told());
            }
            _ => panic!("{}", told()),
        }
        let closes = answer.header("connection").is_some_and(|value| value == "close");
        let is_whole = answer.status != 200 || answer.body.len() == kind.size();
        !closes && is_whole && !may_break
    }

    /// Asks for one thing after another over a connection, as long as that may be used.
    pub fn ask(&self, mut dice: Dice, who: Holder<'_>) {
        let mut kept = None;
        while self.goes_on() {
            let mut client = kept.take().unwrap_or_else(|| self.door.connect());
            let kinds = Kind::OF_A_GET;
            // Most of them are good, so that what is bad stands between them.
            let at = dice.between(0, 8 * kinds.len() as u64) as usize;
            let kind = kinds.get(at).copied().unwrap_or(Kind::Whole);
            let asked = self.begin(&mut client, kind, who);
            if self.end(&mut client, &asked) && !dice.chance(50) {
                kept = Some(client);
            }
            sleep(Duration::from_millis(dice.between(0, 30)));
        }
    }

    /// Reads so slowly that the upstream has to wait.
    pub fn read_slowly(&self, mut dice: Dice) {
        while self.goes_on() {
            let mut client = self.door.connect();
            let _ = SockRef::from(client.stream()).set_recv_buffer_size(8 << 10);
            let asked = self.begin(&mut client, Kind::Large, NOBODY);
            sleep(Duration::from_millis(dice.between(50, 500)));
            self.end(&mut client, &asked);
        }
    }

    /// Sends a body in pieces.
    pub fn write_slowly(&self, mut dice: Dice) {
        while self.goes_on() {
            let mut client = self.door.connect();
            let kind = if dice.chance(300) { Kind::Early } else { Kind::Echo };
            let asked = self.begin(&mut client, kind, NOBODY);
            for piece in body(kind, &asked.id).chunks(400) {
                client.send(piece);
                sleep(Duration::from_millis(dice.between(0, 20)));
            }
            self.end(&mut client, &asked);
        }
    }

    /// Leaves at any moment, mostly by a reset.
    pub fn quit(&self, mut dice: Dice) {
        while self.goes_on() {
            let mut client = self.door.connect();
            match dice.between(0, 5) {
                0 => client.send("GET /public/whole/half-a-head HTTP/1.1\r\nHost: loc"),
                1 => drop(self.begin(&mut client, Kind::Echo, NOBODY)),
                2 => drop(self.begin(&mut client, Kind::Large, NOBODY)),
                3 => drop(self.begin(&mut client, Kind::Hung, NOBODY)),
                _ => {}
            }
            sleep(Duration::from_millis(dice.between(0, 60)));
            if dice.chance(800) {
                let _ = SockRef::from(client.stream()).set_linger(Some(Duration::ZERO));
            }
            one(&self.counts.quit);
        }
    }

    /// Talks through tunnels, and ends them in every way.
    pub fn tunnel(&self, mut dice: Dice) {
        let opening = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ];
        while self.goes_on() {
            let (id, life) = (self.id(), self.faulty.life());
            let mut client = self.door.connect();
            client.send(self.door.request(&format!("GET /public/tunnel/{id}"), &opening, ""));
            let status = client.head().map(|(status, _)| status);
            let said = body(Kind::Whole, &id);
            let talked = status == Some(101)
                && (0..dice.between(1, 20)).all(|_| echoed(&client, &said, &mut dice));
            let was_up = Faulty::is_up(life) && self.faulty.life() == life;
            assert!(talked || !was_up, "the tunnel {id} ended: {status:?}");
            if dice.chance(300) {
                client.send("bye");
            } else if dice.chance(500) {
                let _ = SockRef::from(client.stream()).set_linger(Some(Duration::ZERO));
            }
            one(&self.counts.tunnels);
        }
    }

    /// Asks for several things at once over a connection of HTTP/2.
    pub fn multiplex(&self, mut dice: Dice) {
        let host = self.door.host();
        let kinds =
            [Kind::Whole, Kind::Slow, Kind::Reset, Kind::Chunked, Kind::HalfHead, Kind::Surplus];
        while self.goes_on() {
            let mut client = Frames::connect(self.door.address());
            let asked: Vec<_> =
                (0..8).map(|_| (kinds[dice.between(0, 6) as usize], self.id())).collect();
            for (at, (kind, id)) in asked.iter().enumerate() {
                let path = format!("/public/{}/{id}", kind.name());
                let fields = [
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", &*host),
                    (":path", &*path),
                ];
                let stream = 2 * at as u32 + 1;
                client.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields)));
            }
            hear_all(&mut client, &asked);
            self.counts.streams.fetch_add(asked.len() as u64, Ordering::Relaxed);
            sleep(Duration::from_millis(dice.between(0, 100)));
        }
    }

    /// Signs in, is known, refreshes, and signs out.
    pub fn sign_in_and_out(&self, mut dice: Dice) {
        while self.goes_on() {
            let user = if dice.chance(500) { "alice" } else { "admin" };
            let tokens = self.door.login(user);
            let next = self.door.refresh(&tokens.refresh).expect(200);
            let (access, refresh) = (next.member("access_token"), next.member("refresh_token"));
            let mut client = self.door.connect();
            let holder = Holder { user, access: Some(&access) };
            let asked = self.begin(&mut client, Kind::Whole, holder);
            self.end(&mut client, &asked);
            let body = format!(r#"{{"refresh_token":"{refresh}"}}"#);
            self.door.post_json("/auth/logout", &[], &body).expect(200);
            self.door.get_as("/whole/nobody", &access).expect(401);
            one(&self.counts.sessions);
            sleep(Duration::from_millis(dice.between(300, 1000)));
        }
    }
}

fn one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn echoed(client: &Client, said: &[u8], dice: &mut Dice) -> bool {
    let mut got = vec![0; said.len()];
    let talked =
        client.stream().write_all(said).and_then(|()| client.stream().read_exact(&mut got));
    assert!(talked.is_err() || got == said, "another's: {}", String::from_utf8_lossy(&got));
    sleep(Duration::from_millis(dice.between(0, 20)));
    talked.is_ok()
}

/// Reads until every stream has ended; what comes on one is its own.
fn hear_all(client: &mut Frames, asked: &[(Kind, String)]) {
    let mut left: Vec<Option<Vec<u8>>> =
        asked.iter().map(|(kind, id)| Some(body(*kind, id))).collect();
    while left.iter().any(Option::is_some) {
        let frame = client.next().expect("the connection goes on");
        assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        if frame.stream == 0 {
            continue;
        }
        let at = (frame.stream as usize - 1) / 2;
        let ended = frame.kind == RST_STREAM
            || matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        if frame.kind == DATA && !frame.payload.starts_with(b"{") {
            let own = left[at].as_mut().expect("it has not ended");
            let (id, data) = (&asked[at].1, &frame.payload);
            assert!(own.starts_with(data), "{id} got {}", String::from_utf8_lossy(data));
            own.drain(..data.len());
        }
        if ended {
            left[at] = None;
        }
    }
}
