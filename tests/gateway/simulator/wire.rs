//! The network between the browsers and the gateway, and an application behind it that holds an
//! answer back until it is told to let go.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Millis;
use super::gate::{Ask, Gate, Held, Id, Reply, Seat, State};
use super::jar::{Jar, Pair};
use crate::sessions::{LOOSE, row};
use crate::support::{Answer, Client, Gateway, Then, Upstream, request};

#[derive(Debug)]
enum Note {
    Arrived(Id, Sender<()>),
    Answered(Id, Option<Answer>),
}

pub struct Wire {
    gateway: Gateway,
    notes: Receiver<Note>,
    tell: Sender<Note>,
    waiting: HashMap<Id, (Sender<()>, TcpStream)>,
    answered: HashMap<Id, Option<Answer>>,
    next: Id,
    requests: u64,
    clock: Millis,
    /// Of the cookies that hold the refresh and the access token.
    names: (String, String),
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
        // Held answers wait by the clock of the world, and a busy machine is slower than that.
        let routes = format!(
            "[upstreams.app]\nservers = [\"{}\"]\ntimeouts = {{ response = \"off\" }}\n\
            [[routes]]\npath = \"/*\"\nupstream = \"app\"\n",
            upstream.url()
        );
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
            names: Default::default(),
        }
    }

    fn connect(&mut self, seat: &Seat) -> Client {
        self.requests += 1;
        Client::connect_from(IpAddr::V4(seat.address), self.gateway.address())
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

    fn bytes(&self, seat: &Seat, ask: &Ask, hold: Option<Id>) -> String {
        let (host, hold) = (self.gateway.host(), hold.map(|id| id.to_string()));
        let (line, jar, bearer) = match ask {
            Ask::Page(jar) => ("GET /page", jar.clone(), None),
            Ask::Refresh(jar) => ("POST /auth/refresh", jar.clone(), None),
            Ask::List(access) => {
                ("GET /auth/sessions", Jar::default(), Some(format!("Bearer {access}")))
            }
        };
        let cookies = self.cookies(&jar);
        let mut headers = vec![("Host", host.as_str()), ("User-Agent", &seat.agent)];
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        if let Some(bearer) = &bearer {
            headers.push(("Authorization", bearer));
        }
        if let Some(hold) = &hold {
            headers.push(("X-Hold", hold));
        }
        request(line, &headers, "")
    }

    fn cookies(&self, jar: &Jar) -> String {
        let (refresh, access) = &self.names;
        let refresh = jar.refresh.iter().map(|token| format!("{refresh}={token}"));
        let access = jar.access.iter().map(|token| format!("{access}={token}"));
        refresh.chain(access).collect::<Vec<_>>().join("; ")
    }
}

impl Gate for Wire {
    fn now(&self) -> Millis {
        self.clock
    }

    fn advance_to(&mut self, moment: Millis) {
        self.gateway.advance(Duration::from_millis(moment - self.clock));
        self.clock = moment;
    }

    fn log_in(&mut self, seat: &Seat, user: usize, remember: bool) -> (String, Pair) {
        let json = format!(
            r#"{{"username":"u{user}","password":"{PASSWORD}","transport":"cookie","remember":{remember}}}"#
        );
        let host = self.gateway.host();
        let headers = [
            ("Host", host.as_str()),
            ("User-Agent", &seat.agent),
            ("Content-Type", "application/json"),
        ];
        let answer = self.connect(seat).ask(request("POST /auth/login", &headers, &json));
        let answer = answer.expect(200);
        let name = |part| {
            let mut names = answer.cookies().into_iter().map(|(name, _)| name);
            names.find(|name| name.contains(part)).expect("a login sets it")
        };
        self.names = (name("pc_rt"), name("pc_at"));
        (answer.member("session_id"), reply(&answer).pair.expect("a login gives a pair"))
    }

    /// Each over its own connection.
    fn ask_all(&mut self, seat: &Seat, asks: &[Ask]) -> Vec<Reply> {
        let mut clients: Vec<_> = asks.iter().map(|_| self.connect(seat)).collect();
        for (client, ask) in clients.iter_mut().zip(asks) {
            client.send(self.bytes(seat, ask, None));
        }
        clients.iter_mut().map(|client| reply(&client.answer().expect("an answer"))).collect()
    }

    fn hold(&mut self, seat: &Seat, jar: &Jar) -> Held {
        let id = self.next;
        self.next += 1;
        let mut client = self.connect(seat);
        let stream = client.stream().try_clone().expect("a socket can be cloned");
        stream.set_read_timeout(None).expect("a held answer may take long");
        client.send(self.bytes(seat, &Ask::Page(jar.clone()), Some(id)));
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
                    return Held::Answered(reply(&answer.expect("an answer")));
                }
                other => self.keep(other),
            }
        }
    }

    fn let_go(&mut self, id: Id) -> Option<Reply> {
        let (release, _stream) = self.waiting.remove(&id).expect("it is held");
        let _ = release.send(());
        loop {
            if let Some(answer) = self.answered.remove(&id) {
                return answer.as_ref().map(reply);
            }
            let note = self.note();
            self.keep(note);
        }
    }

    fn abort(&mut self, id: Id) {
        let (release, stream) = self.waiting.remove(&id).expect("it is held");
        let _ = stream.shutdown(Shutdown::Both);
        let _ = release.send(());
    }

    fn state(&self, session: &str) -> State {
        let column = |name| row(&self.gateway, session, name).unwrap_or_default();
        let number = |name| column(name).parse::<u64>().unwrap_or_default();
        let end = number("idle_expires_at").min(number("abs_expires_at"));
        State {
            reason: column("revoke_reason"),
            passed: end <= self.clock,
            generation: number("gen"),
            fresh: self.clock.saturating_sub(number("rotated_at").max(number("given_at"))),
            confirmed: number("confirmed") == 1,
        }
    }

    fn trail(&self, session: &str) -> String {
        let audit = self.gateway.audit();
        let of_session = |line: &&str| line.contains(session);
        let mut last: Vec<_> = audit.lines().rev().filter(of_session).take(14).collect();
        last.reverse();
        last.join("\n")
    }

    fn requests(&self) -> u64 {
        self.requests
    }
}

fn reply(answer: &Answer) -> Reply {
    let token = |part| answer.cookie(part).map(Rc::<str>::from);
    let pair = token("pc_rt").zip(token("pc_at")).map(|(refresh, access)| {
        let access_end = access_end(&access).expect("an access token says its end");
        Pair { refresh, access, access_end }
    });
    Reply { status: answer.status, pair, text: answer.text() }
}

fn access_end(token: &str) -> Option<Millis> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(claims["exp"].as_u64()? * 1000)
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
