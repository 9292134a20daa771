//! Under a service manager: its sockets, what it is told, and stops that lose no request.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{House, Process, Upstream, eventually, routes};

const SIGN: &str = "portcullis listens on ";
/// Long, so that a client of this busy machine has seconds to send its last request.
const DRAIN: &str = "workers = 2\ntimeouts = { drain = \"100s\" }";

/// A house whose gateway takes the sockets of a service manager.
fn activated(upstream: &Upstream) -> House {
    let mut house = House::new(&routes(&upstream.url()));
    let listen = format!("listen = \"{}\"", house.address());
    let handed = format!("listen = \"systemd\"\npublic_url = \"{}\"", house.origin());
    house.reconfigure(&listen, &handed);
    house.reconfigure("workers = 2", DRAIN);
    house
}

fn hand(socket: &TcpListener) -> Stdio {
    OwnedFd::from(socket.try_clone().unwrap()).into()
}

/// What came of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered,
    /// Nobody listens any more.
    Refused,
}

/// One request over a connection of its own or one that was kept. Every end but an answer or a
/// refused connection is a lost request.
fn ask(address: SocketAddr, request: &str, kept: &mut Option<TcpStream>) -> Outcome {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(cause) => {
                assert_eq!(cause.kind(), ErrorKind::ConnectionRefused, "{cause}");
                return Outcome::Refused;
            }
        },
    };
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("the answer comes");
        assert_ne!(count, 0, "a request is lost, {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..count]);
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    if !answer.contains("\r\nconnection: close\r\n") {
        *kept = Some(stream);
    }
    Outcome::Answered
}

/// Clients that keep their connections and clients that do not ask until they are told to stop or
/// are refused, while `story` goes on. How many were answered.
fn under_load(house: &House, story: impl FnOnce(&AtomicUsize)) -> usize {
    let (address, ask_for) = (house.address(), house.request("GET /public/x", &[], ""));
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..6 {
            let (done, answered, ask_for) = (&done, &answered, &ask_for);
            scope.spawn(move || {
                let mut kept = None;
                while !done.load(Ordering::Relaxed) {
                    match ask(address, ask_for, &mut kept) {
                        Outcome::Answered => answered.fetch_add(1, Ordering::Relaxed),
                        Outcome::Refused => return,
                    };
                    if client % 2 == 0 {
                        kept = None;
                    }
                }
            });
        }
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(&answered)));
        done.store(true, Ordering::Relaxed);
        told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    answered.into_inner()
}

fn more_than(answered: &AtomicUsize, count: usize) {
    eventually("clients are answered", || (answered.load(Ordering::Relaxed) > count).then_some(()));
}

fn end(gateway: &mut Process) {
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.said());
}

#[test]
fn a_stop_under_load_loses_no_request() {
    let upstream = Upstream::hello();
    let mut house = House::new(&routes(&upstream.url()));
    house.reconfigure("workers = 2", DRAIN);
    for _ in 0..5 {
        let mut gateway = house.start();
        let count = under_load(&house, |answered| {
            more_than(answered, 200);
            end(&mut gateway);
        });
        assert!(count > 200, "{count}");
    }
}

#[test]
fn a_restart_with_handed_sockets_refuses_and_loses_nobody() {
    let upstream = Upstream::hello();
    let house = activated(&upstream);
    let socket = TcpListener::bind(house.address()).unwrap();
    let start = || house.start_with(house.activated("web", &[]), SIGN, hand(&socket));
    let mut gateway = start();
    under_load(&house, |answered| {
        for _ in 0..4 {
            more_than(answered, answered.load(Ordering::Relaxed) + 100);
            end(&mut gateway);
            gateway = start();
        }
        // Had anybody been refused, there would be fewer clients to be answered.
        more_than(answered, answered.load(Ordering::Relaxed) + 100);
    });
    gateway.stop();
    let waiting = TcpStream::connect(house.address());
    assert!(waiting.is_ok(), "the manager's socket is open without a gateway");
}

#[test]
fn a_handed_unix_socket_is_listened_on_and_left_to_the_manager() {
    let upstream = Upstream::hello();
    let mut house = activated(&upstream);
    house.reconfigure("workers = 2", "workers = 2\ntrusted_proxies = [\"unix\"]");
    let path = house.path("web.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let hand = || Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
    let start = || house.start_with(house.activated("web", &[]), SIGN, hand());
    let forwarded = [("X-Forwarded-For", "203.0.113.7"), ("Connection", "close")];
    let asked = house.request("GET /public/x", &forwarded, "");
    let connect = || {
        let mut stream = UnixStream::connect(&path).expect("the manager's socket is open");
        stream.write_all(asked.as_bytes()).unwrap();
        stream
    };
    let is_served = |mut stream: UnixStream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        assert_eq!(upstream.last().header("x-forwarded-for"), Some("203.0.113.7"));
    };
    for _ in 0..2 {
        // Who comes while no gateway runs waits for the next one.
        let waiting = connect();
        let gateway = start();
        assert!(gateway.said().contains("unix:") && gateway.said().contains("web.sock"));
        is_served(waiting);
        (0..4).for_each(|_| is_served(connect()));
        gateway.stop();
        assert!(path.exists(), "it is not ours to remove");
    }
    let gateway = start();
    house.reconfigure("trusted_proxies = [\"unix\"]", "");
    house.run(&["reload"]).expect(1).tells(&["server.trusted_proxies"]);
    is_served(connect());
    gateway.stop();
    let refused = house.activated("web", &[]).stdin(hand()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("server.trusted_proxies"), "{said}");
    drop(connect());
}

#[test]
fn without_sockets_the_start_is_refused() {
    let house = activated(&Upstream::hello());
    let told = ["no socket was handed over", "a socket unit beside it", "not started."];
    house.refusal().tells(&told);
}

#[test]
fn a_handed_descriptor_that_does_not_listen_is_refused() {
    let house = activated(&Upstream::hello());
    // Its standard input becomes the socket, and is a pipe.
    let said = house.finish(house.activated("web", &[]), "").expect(1);
    said.tells(&[
        "cannot use the socket of systemd, number 0, web",
        "not a socket",
        "ListenStream=",
    ]);
}

#[test]
fn a_service_manager_hears_of_every_change() {
    let mut house = House::new("");
    let path = house.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).expect("something is told");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    // Beats come in between.
    let next = || loop {
        let heard = hear();
        if heard != "WATCHDOG=1" {
            return heard;
        }
    };
    let mut command = house.command(&["run"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000");
    let mut gateway = house.start_by(command, SIGN);
    assert_eq!(next(), "READY=1");
    eventually("it beats", || (hear() == "WATCHDOG=1").then_some(()));
    for (from, to) in [("\"editor\", ", ""), ("workers = 2", "workers = x")] {
        house.reconfigure(from, to);
        gateway.signal(Signal::HUP);
        let heard = next();
        let micros = heard.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&heard);
        assert!(micros.parse::<u64>().is_ok(), "{heard}");
        assert_eq!(next(), "READY=1", "also when it was refused");
    }
    gateway.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1");
    gateway.end();
}

#[test]
fn a_reload_that_takes_long_is_no_sign_of_a_worker_that_hangs() {
    let mut house = House::new("");
    let path = house.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).expect("something is told");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let mut command = house.command(&["run"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000");
    let gateway = house.start_by(command, SIGN);
    // The new user has to wait for somebody else who writes.
    let store = Connection::open(house.path("data/portcullis.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    house.reconfigure(
        "[[bootstrap]]\nname = \"alice\"",
        "[[bootstrap]]\nname = \"bob\"\nroles = [\"user\"]\npassword = \"a long passphrase\"\n[[bootstrap]]\nname = \"alice\"",
    );
    gateway.signal(Signal::HUP);
    eventually("the reload begins", || hear().starts_with("RELOADING=1").then_some(()));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(hear(), "WATCHDOG=1", "after {:?}", begun.elapsed());
    }
    store.execute_batch("ROLLBACK").unwrap();
    eventually("the reload ends", || (hear() == "READY=1").then_some(()));
    gateway.stop();
}
