//! The gateway as far as sessions by cookie are concerned, without sockets, store or signatures: the
//! real [`classify`] over rows in memory, thousands of times as fast.
//!
//! That it answers as the gateway does is a test of its own (`likeness`).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::identity::{Identity, SessionId, UserId, Username};
use portcullis::session::{
    EndReason, Presented, Row, Transport, Verdict, Windows, classify, is_dating, is_giving,
};

use super::Millis;
use super::dice::Dice;
use super::gate::{Ask, Gate, Held, Id, Reply, Seat, State};
use super::jar::{Jar, Pair};
use super::world::{DAY, HOUR, SECOND};

pub struct Model {
    clock: Millis,
    dice: Dice,
    /// Longest life of an access token, in seconds.
    access: u64,
    sessions: Vec<Session>,
    held: HashMap<Id, Option<Presented>>,
    next: Id,
    requests: u64,
}

struct Session {
    row: Row,
    idle: Duration,
    reason: Option<EndReason>,
    /// Tokens whose bearer was known lately, and until when they count.
    peeks: Vec<(Presented, Millis)>,
    trail: VecDeque<String>,
}

/// What a request comes to before it is answered.
enum Arrival {
    /// To be renewed when the answer is in hand.
    Known(Option<Presented>),
    Refused,
}

impl Model {
    pub fn new(seed: u64, access: u64) -> Self {
        Self {
            clock: START,
            dice: Dice::new(seed),
            access,
            sessions: Vec::new(),
            held: HashMap::new(),
            next: 0,
            requests: 0,
        }
    }

    fn arrive(&mut self, seat: &Seat, jar: &Jar) -> Arrival {
        self.requests += 1;
        let access = jar.access.as_deref().map(AccessToken::read);
        let valid = access.as_ref().filter(|token| self.clock < token.end + LEEWAY);
        if let Some(token) = valid {
            if self.sessions[token.session].row.revoked.is_some() {
                return Arrival::Refused;
            }
            self.confirm(token);
            if self.clock + NEAR_ITS_END < token.end {
                return Arrival::Known(None);
            }
        }
        match jar.refresh.as_deref().map(|token| self.peek(presented(token, seat))) {
            Some(Some(renewal)) => Arrival::Known(Some(renewal)),
            _ if valid.is_some() => Arrival::Known(None),
            _ => Arrival::Refused,
        }
    }

    fn confirm(&mut self, token: &AccessToken) {
        let row = &mut self.sessions[token.session].row;
        if row.confirmed || row.rotated.as_secs() > token.issued {
            return;
        }
        row.confirmed = true;
        let in_time = |given: &Timestamp| *given < row.rotated.plus(WINDOWS.cookie);
        row.given = row.given.filter(|it| it.as_secs() <= token.issued || !in_time(it));
    }

    /// The first step. None: not known by this.
    fn peek(&mut self, presented: Presented) -> Option<Presented> {
        let now = self.clock;
        let session = &mut self.sessions[number(&presented)];
        session.peeks.retain(|(_, until)| *until > now);
        if session.row.revoked.is_some() {
            return None;
        }
        if session.peeks.iter().any(|(known, _)| is_same(known, &presented)) {
            return Some(presented);
        }
        match classify(Some(&session.row), &presented, WINDOWS, at(now)) {
            Verdict::Rotate | Verdict::Coalesced | Verdict::Replayed { .. } => {
                session.peeks.push((presented.clone(), now + 5 * SECOND));
                Some(presented)
            }
            Verdict::End(reason) => {
                session.end(reason, now, &presented);
                None
            }
            Verdict::Expired | Verdict::Revoked | Verdict::Unknown => None,
        }
    }

    fn answer(&mut self, arrival: Arrival) -> Reply {
        match arrival {
            Arrival::Refused => refused(),
            Arrival::Known(renewal) => {
                let pair = renewal.and_then(|presented| self.rotate(&presented).ok());
                Reply { status: 200, pair, text: String::new() }
            }
        }
    }

    fn refresh(&mut self, seat: &Seat, jar: &Jar) -> Reply {
        self.requests += 1;
        let Some(token) = jar.refresh.as_deref() else {
            return refused();
        };
        let presented = presented(token, seat);
        match self.rotate(&presented) {
            Ok(pair) => Reply { status: 200, pair: Some(pair), text: String::new() },
            Err(verdict) => {
                if let Verdict::End(reason) = verdict {
                    self.sessions[number(&presented)].end(reason, self.clock, &presented);
                }
                refused()
            }
        }
    }

    fn list(&mut self, access: &str) -> Reply {
        self.requests += 1;
        let token = AccessToken::read(access);
        let row = &self.sessions[token.session].row;
        if self.clock >= token.end + LEEWAY || row.revoked.is_some() {
            return refused();
        }
        let text = (row.last_seen.as_millis().unsigned_abs() / HOUR).to_string();
        self.confirm(&token);
        Reply { status: 200, pair: None, text }
    }

    /// What the store does, but for endings.
    fn rotate(&mut self, presented: &Presented) -> Result<Pair, Verdict> {
        let (n, now) = (number(presented), at(self.clock));
        let secret = self.dice.between(0, u64::MAX);
        let session = &mut self.sessions[n];
        let row = &mut session.row;
        let verdict = classify(Some(row), presented, WINDOWS, now);
        match verdict {
            Verdict::Rotate => {
                (row.generation, row.previous) = (row.generation + 1, Some(row.current));
                row.current = hash(secret);
                let was_late = row.given >= Some(row.rotated.plus(WINDOWS.cookie));
                row.late = if was_late { row.late + 1 } else { row.late.saturating_sub(1) };
                (row.confirmed, row.rotated, row.given) = (false, now, None);
                (row.network, row.agent_hash) = (presented.network.clone(), presented.agent_hash);
                (row.last_seen, row.idle_end) = (now, now.plus(session.idle).min(row.absolute_end));
            }
            Verdict::Coalesced => {
                row.confirmed = true;
                if is_dating(verdict, row, WINDOWS, now) {
                    (row.rotated, row.given) = (now.minus(WINDOWS.cookie), Some(now));
                    row.late = row.late.saturating_sub(1);
                }
            }
            Verdict::Replayed { .. } if is_giving(verdict, row, WINDOWS, now) => {
                row.given = Some(now);
            }
            Verdict::Replayed { .. } => {}
            _ => return Err(verdict),
        }
        session.note(self.clock, presented, &format!("{verdict:?}"));
        Ok(self.pair(n))
    }

    fn pair(&mut self, session: usize) -> Pair {
        let row = &self.sessions[session].row;
        // Of this second only where it came with what was made in it; else of the one before.
        let made = row.given.map_or(row.rotated, |given| given.max(row.rotated));
        let made = made.as_millis().unsigned_abs();
        let issued =
            if made + SECOND > self.clock { made.min(self.clock) } else { self.clock - SECOND };
        let issued = issued / SECOND;
        let off =
            self.access as f64 * 0.2 * self.dice.between(0, 1 << 20) as f64 / (1 << 20) as f64;
        let life = (self.access as f64 - off).ceil() as u64;
        let last = row.idle_end.min(row.absolute_end).as_secs().unsigned_abs();
        let end = (issued + life).min(last);
        let secret = u64::from_le_bytes(row.current[..8].try_into().unwrap());
        Pair {
            refresh: format!("{session}.{}.{secret}", row.generation).into(),
            access: format!("{session}.{issued}.{end}").into(),
            access_end: end * SECOND,
        }
    }
}

impl Session {
    fn end(&mut self, reason: EndReason, now: Millis, presented: &Presented) {
        (self.row.revoked, self.reason) = (Some(at(now)), Some(reason));
        self.note(now, presented, reason.as_str());
    }

    fn note(&mut self, now: Millis, presented: &Presented, what: &str) {
        let Row { generation, confirmed, network, .. } = &self.row;
        self.trail.truncate(13);
        self.trail.push_front(format!(
            "{:>10.1} s  {} of {generation} from {:?} ({:?}): {what}; confirmed: {confirmed}",
            (now - START) as f64 / SECOND as f64,
            presented.generation,
            presented.network.as_deref().unwrap_or_default(),
            network.as_deref().unwrap_or_default(),
        ));
    }
}

impl Gate for Model {
    fn now(&self) -> Millis {
        self.clock
    }

    fn advance_to(&mut self, moment: Millis) {
        self.clock = moment;
    }

    fn log_in(&mut self, seat: &Seat, _user: usize, remember: bool) -> (String, Pair) {
        let n = self.sessions.len();
        let (idle, absolute) = if remember { (14 * DAY, 30 * DAY) } else { (12 * HOUR, DAY) };
        let mut row = new_row(n, seat, at(self.clock));
        row.current = hash(self.dice.between(0, u64::MAX));
        row.idle_end = at(self.clock + idle);
        row.absolute_end = at(self.clock + absolute);
        self.sessions.push(Session {
            row,
            idle: Duration::from_millis(idle),
            reason: None,
            peeks: Vec::new(),
            trail: VecDeque::new(),
        });
        (n.to_string(), self.pair(n))
    }

    fn ask_all(&mut self, seat: &Seat, asks: &[Ask]) -> Vec<Reply> {
        let mut arrivals = Vec::new();
        for ask in asks {
            arrivals.push(match ask {
                Ask::Page(jar) => Ok(self.arrive(seat, jar)),
                Ask::Refresh(jar) => Err(self.refresh(seat, jar)),
                Ask::List(access) => Err(self.list(access)),
            });
        }
        let answer =
            |arrival: Result<_, _>| arrival.map_or_else(|reply| reply, |it| self.answer(it));
        arrivals.into_iter().map(answer).collect()
    }

    fn hold(&mut self, seat: &Seat, jar: &Jar) -> Held {
        let Arrival::Known(renewal) = self.arrive(seat, jar) else {
            return Held::Answered(refused());
        };
        self.next += 1;
        self.held.insert(self.next, renewal);
        Held::Waiting(self.next)
    }

    fn let_go(&mut self, id: Id) -> Option<Reply> {
        let renewal = self.held.remove(&id).expect("it is held");
        Some(self.answer(Arrival::Known(renewal)))
    }

    fn abort(&mut self, id: Id) {
        self.held.remove(&id).expect("it is held");
    }

    fn state(&self, session: &str) -> State {
        let session = &self.sessions[session.parse::<usize>().unwrap()];
        let row = &session.row;
        let fresh = row.given.map_or(row.rotated, |given| given.max(row.rotated));
        State {
            reason: session.reason.map_or_else(String::new, |reason| reason.as_str().to_owned()),
            passed: row.idle_end.min(row.absolute_end) <= at(self.clock),
            generation: row.generation,
            fresh: self.clock.saturating_sub(fresh.as_millis().unsigned_abs()),
            confirmed: row.confirmed,
        }
    }

    fn trail(&self, session: &str) -> String {
        let trail = &self.sessions[session.parse::<usize>().unwrap()].trail;
        trail.iter().rev().cloned().collect::<Vec<_>>().join("\n")
    }

    fn requests(&self) -> u64 {
        self.requests
    }
}

/// `session.issued.end`, the latter two in seconds.
struct AccessToken {
    session: usize,
    issued: i64,
    end: Millis,
}

impl AccessToken {
    fn read(text: &str) -> Self {
        let mut parts = text.split('.').map(|part| part.parse::<u64>().unwrap());
        let mut part = || parts.next().unwrap();
        let (session, issued, end) = (part() as usize, part() as i64, part() * SECOND);
        Self { session, issued, end }
    }
}

/// `session.generation.secret`.
fn presented(text: &str, seat: &Seat) -> Presented {
    let mut parts = text.split('.').map(|part| part.parse::<u64>().unwrap());
    let mut part = || parts.next().unwrap();
    Presented {
        session: session_id(part() as usize),
        generation: part(),
        hash: hash(part()),
        transport: Transport::Cookie,
        retry_key: None,
        agent_hash: Some(agent(seat)),
        network: Some(network(seat)),
    }
}

fn is_same(one: &Presented, other: &Presented) -> bool {
    one.hash == other.hash && one.agent_hash == other.agent_hash && one.network == other.network
}

fn new_row(n: usize, seat: &Seat, now: Timestamp) -> Row {
    Row {
        identity: Identity {
            user: UserId::from_bytes([1; 16]),
            username: Username::new("alice").unwrap(),
            roles: [].into(),
            session: session_id(n),
        },
        transport: Transport::Cookie,
        generation: 0,
        current: [0; 32],
        previous: None,
        salt: None,
        key: 1,
        confirmed: false,
        retry_key: None,
        version: 0,
        created: now,
        auth_time: now,
        rotated: now,
        given: None,
        late: 0,
        last_seen: now,
        idle_end: now,
        absolute_end: now,
        remember: true,
        revoked: None,
        user_barred: false,
        user_agent: None,
        agent_hash: Some(agent(seat)),
        network: Some(network(seat)),
        login_network: None,
        device_name: None,
    }
}

fn session_id(n: usize) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
    SessionId::from_bytes(bytes)
}

fn number(presented: &Presented) -> usize {
    u64::from_le_bytes(presented.session.as_bytes()[..8].try_into().unwrap()) as usize
}

fn hash(secret: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&secret.to_le_bytes());
    bytes
}

/// Agents here are told apart by their first 32 bytes.
fn agent(seat: &Seat) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(seat.agent.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

fn network(seat: &Seat) -> String {
    let [a, b, c, _] = seat.address.octets();
    format!("{a}.{b}.{c}.0/24")
}

fn at(millis: Millis) -> Timestamp {
    Timestamp::from_millis(millis as i64)
}

fn refused() -> Reply {
    Reply { status: 401, pair: None, text: "refused".to_owned() }
}

const WINDOWS: Windows =
    Windows { cookie: Duration::from_secs(30), keyed: Duration::from_secs(120) };
const START: Millis = 1_800_000_000 * SECOND;
const NEAR_ITS_END: Millis = 20 * SECOND;
const LEEWAY: Millis = 5 * SECOND;
