//! The network between the browsers and the gateway, and an application behind it that holds an
//! answer back until it is told to let go.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::Millis;
use crate::sessions::LOOSE;
use crate::support::{Answer, Client, Gateway, Then, Upstream, request, routes};

/// Where somebody sits, and by what browser.
#[derive(Debug, Clone)]
pub struct Seat {
    pub address: Ipv4Addr,
    pub agent: String,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub line: &'static str,
    pub cookies: String,
    pub bearer: Option<String>,
}

impl Ask {
    pub fn page(cookies: String) -> Self {
        Self { line: "GET /page", cookies, bearer: None }
    }

    pub fn refresh(cookies: String) -> Self {
        Self { line: "POST /auth/refresh", cookies, bearer: None }
    }

    pub fn list(bearer: &str) -> Self {
        let bearer = Some(format!("Bearer {bearer}"));
        Self { line: "GET /auth/sessions", cookies: String::new(), bearer }
    }
}

/// What has become of a request that the application was to hold back.
#[derive(Debug)]
pub enum Held {
    Waiting(Id),
    /// The gateway answered by itself.
    Answered(Answer),
}

pub type Id = u64;

#[derive(Debug)]
enum Note {
    Arrived(Id, Sender<()>),
    Answered(Id, Option<Answer>),
}

pub struct Wire {
    pub gateway: Gateway,
    notes: Receiver<Note>,
    tell: Sender<Note>,
    waiting: HashMap<Id, (Sender<()>, TcpStream)>,
    answered: HashMap<Id, Option<Answer>>,
    next: Id,
    pub requests: u64,
    clock: Millis,
}

impl Wire {
    /// A gateway with users `u0` to `u(users - 1)`, whose access tokens live so many seconds at most.
    pub fn new(users: usize, access: u64) -> Self {
        let (tell, notes) = channel();
        let upstream = holding(tell.clone());
        let people: String = (0..users)
            .map(|n| format!("[[bootstrap]]\nname = \"u{n}\"\nroles = [\"user\"]\npassword = \"{PASSWORD}\"\n"))
            .collect();
        let tokens = format!("[tokens]\naccess_ttl = \"{access}s\"\n");
        let routes = routes(&upstream.url());
        let gateway = Gateway::start(&format!("{LOOSE}{tokens}{routes}{people}"));
        let clock = gateway.clock.now().as_millis().unsigned_abs();
        Self {
            gateway,
            notes,
            tell,
            waiting: HashMap::new(),
            answered: HashMap::new(),
            next: 0,
            requests: 0,
            clock,
        }
    }

    /// Milliseconds since the epoch, by the gateway's clock.
    pub fn now(&self) -> Millis {
        self.clock
    }

    pub fn advance_to(&mut self, moment: Millis) {
        self.gateway.advance(Duration::from_millis(moment - self.clock));
        self.clock = moment;
    }

    pub fn log_in(&mut self, seat: &Seat, user: usize, remember: bool) -> Answer {
        let json = format!(
            r#"{{"username":"u{user}","password":"{PASSWORD}","transport":"cookie","remember":{remember}}}"#
        );
        let host = self.gateway.host();
        let headers = [
            ("Host", host.as_str()),
            ("User-Agent", &seat.agent),
            ("Content-Type", "application/json"),
        ];
        self.connect(seat).ask(request("POST /auth/login", &headers, &json)).expect(200)
    }

    /// Sends all at once, each over its own connection, and reads what comes back.
    pub fn ask_all(&mut self, seat: &Seat, asks: &[Ask]) -> Vec<Answer> {
        let mut clients: Vec<_> = asks.iter().map(|_| self.connect(seat)).collect();
        for (client, ask) in clients.iter_mut().zip(asks) {
            client.send(self.bytes(seat, ask, None));
        }
        clients.iter_mut().map(|client| client.answer().expect("an answer")).collect()
    }

    pub fn ask(&mut self, seat: &Seat, ask: &Ask) -> Answer {
        self.ask_all(seat, std::slice::from_ref(ask)).remove(0)
    }

    /// Sends a request whose answer the application holds back.
    pub fn hold(&mut self, seat: &Seat, ask: &Ask) -> Held {
        let id = self.next;
        self.next += 1;
        let mut client = self.connect(seat);
        let stream = client.stream().try_clone().expect("a socket can be cloned");
        stream.set_read_timeout(None).expect("a held answer may take long");
        client.send(self.bytes(seat, ask, Some(id)));
        let tell = self.tell.clone();
        thread::spawn(move || {
            let _ = tell.send(Note::Answered(id, client.answer()));
        });
        loop {
            match self.note() {
                Note::Arrived(arrived, release) if arrived == id => {
                    self.waiting.insert(id, (release, stream));
                    return Held::Waiting(id);
                }
                Note::Answered(answered, answer) if answered == id => {
                    return Held::Answered(answer.expect("an answer"));
                }
                other => self.keep(other),
            }
        }
    }

    /// The application answers at last.
    pub fn let_go(&mut self, id: Id) -> Option<Answer> {
        let (release, _stream) = self.waiting.remove(&id).expect("it is held");
        let _ = release.send(());
        loop {
            if let Some(answer) = self.answered.remove(&id) {
                return answer;
            }
            let note = self.note();
            self.keep(note);
        }
    }

    /// The browser leaves before the answer.
    pub fn abort(&mut self, id: Id) {
        let (release, stream) = self.waiting.remove(&id).expect("it is held");
        let _ = stream.shutdown(Shutdown::Both);
        let _ = release.send(());
    }

    fn note(&mut self) -> Note {
        self.notes.recv_timeout(Duration::from_secs(30)).expect("something happens")
    }

    fn keep(&mut self, note: Note) {
        match note {
            Note::Answered(id, answer) => drop(self.answered.insert(id, answer)),
            Note::Arrived(id, _) => panic!("{id} arrives out of turn"),
        }
    }

    fn connect(&mut self, seat: &Seat) -> Client {
        self.requests += 1;
        Client::connect_from(IpAddr::V4(seat.address), self.gateway.address())
    }

    fn bytes(&self, seat: &Seat, ask: &Ask, hold: Option<Id>) -> String {
        let (host, hold) = (self.gateway.host(), hold.map(|id| id.to_string()));
        let mut headers = vec![("Host", host.as_str()), ("User-Agent", &seat.agent)];
        if !ask.cookies.is_empty() {
            headers.push(("Cookie", &ask.cookies));
        }
        if let Some(bearer) = &ask.bearer {
            headers.push(("Authorization", bearer));
        }
        if let Some(hold) = &hold {
            headers.push(("X-Hold", hold));
        }
        request(ask.line, &headers, "")
    }
}

fn holding(tell: Sender<Note>) -> Upstream {
    let tell = Mutex::new(tell);
    Upstream::scripted(move |seen, stream| {
        if let Some(id) = seen.header("x-hold") {
            let (release, wait) = channel();
            let note = Note::Arrived(id.parse().unwrap(), release);
            let _ = tell.lock().unwrap().send(note);
            let _ = wait.recv();
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Then::KeepOpen
    })
}

const PASSWORD: &str = "a long passphrase";
