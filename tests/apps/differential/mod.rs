//! What is decided on is what is forwarded, under every reading: generated requests go through a
//! real gateway, and what came out of it is given to real servers, which say as what they read it.
//!
//! A request is fine if the gateway refused it, or if each server refuses it or reads one request
//! in it, under no guarded path, with no identity that the gateway did not write. What is not fine
//! is made as small as it can be.

mod cases;
mod recorder;
mod servers;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use cases::{Case, Make};
use recorder::Recorder;
use servers::{Reply, Server};

use crate::client::Client;
use crate::frames::Frames;
use crate::gateway::Gateway;

/// What only administrators may have; a gateway without them is one that fails.
const GUARDED: &str = "[[routes]]\npath = \"/admin/*\"\nroles = [\"admin\"]\nupstream = \"URL\"\n\
                       [[routes]]\npath = \"/my docs/*\"\nroles = [\"admin\"]\nupstream = \"URL\"\n";

const OPEN: &str =
    "[[routes]]\npath = \"/*\"\naccess_log = false\naccess = \"public\"\nupstream = \"URL\"\n";

/// `/public/*` for everybody, all else after a login.
const CLOSED: &str = "[[routes]]\npath = \"/*\"\nupstream = \"URL\"\n\
                      [[routes]]\npath = \"/public/*\"\naccess_log = false\naccess = \"public\"\n\
                      upstream = \"URL\"\n";

/// How many cases go through the gateway before the servers get what came of them.
const ROUND: usize = 4_000;

#[test]
fn six_servers_read_what_is_forwarded_as_it_was_decided_on() {
    House::guarding().judge(Case::of_target, 4_000, 1);
    let house = House::opening();
    house.judge(Case::of_open_target, 3_000, 1);
    house.judge(Case::of_head, 3_000, 1);
}

/// What comes by HTTP/2 goes on by HTTP/1.1, whose framing and syntax it never had.
#[test]
fn six_servers_read_what_came_by_http_2_as_it_was_decided_on() {
    House::guarding().by(Protocol::Http2).judge(Case::of_target, 1_000, 2);
    let house = House::opening().by(Protocol::Http2);
    house.judge(Case::of_open_target, 1_000, 2);
    house.judge(Case::of_head, 2_000, 2);
}

#[test]
#[ignore = "120,000 requests through the gateway and to seven servers take minutes; `./test slow`"]
fn six_servers_read_a_hundred_thousand_requests_as_they_were_decided_on() {
    let (guarding, opening) = (House::guarding(), House::opening());
    for seed in 1_000..1_004 {
        guarding.judge(Case::of_target, 10_000, seed);
        opening.judge(Case::of_open_target, 10_000, seed);
        opening.judge(Case::of_head, 10_000, seed);
    }
}

/// The judge can find something, and says it in its smallest form.
#[test]
fn a_gateway_that_guards_nothing_is_found_out_by_every_server() {
    let house = House::new(OPEN, is_guarded);
    let found = house.run(&cases::many(Case::of_target, 1_500, 7), &mut house.tally());
    let house = house.by(Protocol::Http2);
    let by_http_2 = house.run(&cases::many(Case::of_target, 200, 7), &mut house.tally());
    assert!(!by_http_2.is_empty(), "nothing is found by HTTP/2");
    let house = house.by(Protocol::Http1);
    for server in &house.servers {
        let of_it = found.iter().find(|fault| fault.server == server.name);
        let fault = of_it.unwrap_or_else(|| panic!("{} read nothing as guarded", server.name));
        let least = house.smallest(fault);
        let text = format!("{least:?}").to_ascii_lowercase();
        let path = text.split(' ').nth(1).expect("a target").to_owned();
        let few =
            ["/admin", "/%61dmin", "/adm%69n", "/%41dmin", "/my%20docs", "/auth", "/%2561dmin"];
        assert!(few.contains(&path.as_str()), "{}: {path} can be made smaller", server.name);
    }
}

struct House {
    gateway: Gateway,
    recorder: Recorder,
    servers: Vec<Server>,
    numbers: AtomicU32,
    protocol: Protocol,
    /// Whether a path is one that an anonymous may not have.
    forbids: fn(&str) -> bool,
}

/// How requests come to the gateway.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http1,
    Http2,
}

/// What should not be.
#[derive(Debug)]
struct Fault {
    case: Case,
    server: &'static str,
    what: String,
}

/// How often what came about.
#[derive(Debug, Default)]
struct Tally {
    forwarded: usize,
    read: Vec<usize>,
}

impl House {
    /// Everything is everybody's, but for what is guarded.
    fn guarding() -> Self {
        Self::new(&format!("{OPEN}{GUARDED}"), is_guarded)
    }

    /// Nothing is everybody's, but for what is open.
    fn opening() -> Self {
        Self::new(CLOSED, is_not_open)
    }

    fn new(routes: &str, forbids: fn(&str) -> bool) -> Self {
        let recorder = Recorder::start();
        let gateway = Gateway::start(&routes.replace("URL", &recorder.url()));
        let (servers, numbers) = (Server::all(), AtomicU32::new(1));
        Self { gateway, recorder, servers, numbers, protocol: Protocol::Http1, forbids }
    }

    fn by(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// Fails with the smallest form of the first fault.
    #[track_caller]
    fn judge(&self, make: Make, count: usize, seed: u64) {
        let mut tally = self.tally();
        let faults = self.run(&cases::many(make, count, seed), &mut tally);
        if let Some(fault) = faults.first() {
            let least = self.smallest(fault);
            let Fault { server, what, .. } = fault;
            panic!("{} faults, the first by {server}: {what}\n{least:?}", faults.len());
        }
        let read = self.servers.iter().zip(&tally.read);
        let told: Vec<_> = read.clone().map(|(s, n)| format!("{} {n}", s.name)).collect();
        println!(
            "{count} of seed {seed} by {:?}: {} forwarded; read by {}",
            self.protocol,
            tally.forwarded,
            told.join(", ")
        );
        assert!(tally.forwarded > count / 20, "hardly anything comes through: {tally:?}");
        for (server, read) in read {
            assert!(read * 2 > tally.forwarded, "{} refuses too much: {tally:?}", server.name);
        }
    }

    fn run(&self, cases: &[Case], tally: &mut Tally) -> Vec<Fault> {
        cases.chunks(ROUND).flat_map(|round| self.round(round, tally)).collect()
    }

    fn tally(&self) -> Tally {
        Tally { forwarded: 0, read: vec![0; self.servers.len()] }
    }

    fn round(&self, cases: &[Case], tally: &mut Tally) -> Vec<Fault> {
        let first = self.numbers.fetch_add(u32::try_from(cases.len()).unwrap(), Ordering::Relaxed);
        let numbered: Vec<(u32, &Case)> = (first..).zip(cases).collect();
        thread::scope(|scope| {
            for part in numbered.chunks(cases.len().div_ceil(4)) {
                scope.spawn(move || match self.protocol {
                    Protocol::Http1 => self.send(part),
                    Protocol::Http2 => self.send_frames(part),
                });
            }
        });
        let mut faults = Vec::new();
        let mut came: Vec<(u32, Vec<u8>, &Case)> = Vec::new();
        for (number, case) in &numbered {
            let mut all = self.recorder.take(*number);
            if all.len() > 1 {
                faults.push(Fault {
                    case: (*case).clone(),
                    server: "the gateway",
                    what: format!("{} requests", all.len()),
                });
            }
            came.extend(all.pop().map(|bytes| (*number, bytes, *case)));
        }
        // What was found within another request, or lost its number.
        for lost in self.recorder.rest() {
            let case = cases[0].clone();
            faults.push(Fault {
                case,
                server: "the gateway",
                what: String::from_utf8_lossy(&lost).into_owned(),
            });
        }
        tally.forwarded += came.len();
        let requests: Vec<(u32, &[u8])> =
            came.iter().map(|(n, bytes, _)| (*n, bytes.as_slice())).collect();
        let replies: Vec<Vec<Reply>> = thread::scope(|scope| {
            let asked: Vec<_> = self
                .servers
                .iter()
                .map(|server| scope.spawn(|| server.read_all(&requests)))
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("the server was asked")).collect()
        });
        for ((server, replies), read) in self.servers.iter().zip(&replies).zip(&mut tally.read) {
            for (reply, (number, bytes, case)) in replies.iter().zip(&came) {
                *read += usize::from(matches!(reply, Reply::Read(_)));
                if let Some(what) = self.fault(reply, *number) {
                    let what = format!("{what}, of {:?}", String::from_utf8_lossy(bytes));
                    faults.push(Fault { case: (*case).clone(), server: server.name, what });
                }
            }
        }
        faults
    }

    /// Sends cases to the gateway by HTTP/2, each over a connection of its own.
    fn send_frames(&self, cases: &[(u32, &Case)]) {
        let host = self.gateway.url("", "").trim_start_matches("://").to_owned();
        for (number, case) in cases {
            let mut client = Frames::connect(self.gateway.address());
            client.send(case.frames(&host, *number));
            client.told();
        }
    }

    /// Sends cases to the gateway, over one connection as long as that is of use.
    fn send(&self, cases: &[(u32, &Case)]) {
        let host = self.gateway.url("", "").trim_start_matches("://").to_owned();
        let mut kept: Option<Client> = None;
        for (number, case) in cases {
            let mut client = kept.take().unwrap_or_else(|| self.gateway.connect());
            client.send(case.bytes(&host, *number));
            let answer = client.answer_to(case.is_head());
            let open = answer.is_some_and(|answer| answer.header("connection").is_none());
            kept = (open && !case.is_odd()).then_some(client);
        }
    }

    fn smallest(&self, fault: &Fault) -> Case {
        let still = |case: &Case| {
            let again = self.round(std::slice::from_ref(case), &mut self.tally());
            again.iter().any(|other| other.server == fault.server)
        };
        fault.case.clone().smallest(still)
    }

    /// What is wrong with how a server read a request.
    fn fault(&self, reply: &Reply, number: u32) -> Option<String> {
        let Reply::Read(said) = reply else { return None };
        if said.case != number.to_string() {
            return Some(format!("case {} where {number} was asked", said.case));
        }
        if !said.identity.is_empty() {
            return Some(format!("the identity {:?}", said.identity));
        }
        if !said.rule.is_empty() {
            return Some(format!("a guarded rule, {:?}", said.readings));
        }
        let forbidden = said.readings.iter().find(|reading| (self.forbids)(reading))?;
        Some(format!("the path {forbidden:?}"))
    }
}

/// For a server that does not tell upper from lower case, nor `\` from `/`.
fn is_guarded(path: &str) -> bool {
    ["/admin", "/my docs", "/auth"].iter().any(|guarded| lies_at(path, guarded))
}

/// An empty one, or `.`, is one that a library refused.
fn is_not_open(path: &str) -> bool {
    !path.is_empty() && path != "." && !lies_at(path, "/public")
}

fn lies_at(path: &str, prefix: &str) -> bool {
    let path = path.to_lowercase().replace('\\', "/");
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
