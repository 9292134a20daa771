//! Under a service manager: its sockets, what it is told, and stops that lose no request.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{Authority, Client, House, Process, Upstream, eventually, routes};

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

/// A house that speaks TLS, whose redirect listens on a socket of the service manager.
fn redirecting(upstream: &Upstream) -> House {
    let house = House::new(&format!(
        "[server]\nlisten = \"systemd\"\npublic_url = \"https://apps.example.com\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 2\ntls = {{ cert = \"tls.crt\", key = \"tls.key\" }}\nhttp_redirect = {{ listen = \"systemd\" }}\n{}",
        routes(&upstream.url())
    ));
    Authority::new().issue(house.folder(), "tls", &["apps.example.com"]);
    house
}

/// A script that begins the gateway with its standard input as the first socket and, if there is a
/// second name, its standard output as the second.
fn with_both(house: &House, names: &str) -> Command {
    let command = house.activated(names, &[]);
    let script = "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ exec \"$0\" run";
    let program = command.get_args().last().unwrap().to_owned();
    let mut both = Command::new("sh");
    both.args(["-c", script]).arg(program).current_dir(house.folder());
    command.get_envs().for_each(|(key, value)| {
        both.env(key, value.unwrap_or_default());
    });
    both.env_remove("STATE_DIRECTORY").env("LISTEN_FDS", "2");
    both
}

#[test]
fn the_redirect_listens_on_the_socket_that_is_named_so() {
    let upstream = Upstream::hello();
    let house = redirecting(&upstream);
    for names in ["web:http_redirect", "http_redirect:web"] {
        let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [one, other] = [&first, &second].map(|socket| socket.local_addr().unwrap());
        let (web, plain) = if names.starts_with("web") { (one, other) } else { (other, one) };
        let mut child = with_both(&house, names)
            .stdin(hand(&first))
            .stdout(hand(&second))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let sign = format!("{SIGN}{web}");
        assert!(said.any(|line| line.unwrap().contains(&sign)), "{names}: it listens on {web}");
        let asked = "GET /x HTTP/1.1\r\nHost: apps.example.com\r\n\r\n";
        let answer = Client::connect(plain).ask(asked).expect(308);
        assert_eq!(answer.header("location"), Some("https://apps.example.com/x"), "{names}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_redirect_without_its_socket_is_refused_and_the_key_is_named() {
    let upstream = Upstream::hello();
    let mut house = redirecting(&upstream);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = |house: &House, name: &str| {
        let started = house.activated(name, &[]).stdin(hand(&socket)).output().unwrap();
        assert_eq!(started.status.code(), Some(1), "{started:?}");
        String::from_utf8(started.stderr).unwrap()
    };
    let said = start(&house, "web");
    for part in ["FileDescriptorName=http_redirect", "server.http_redirect.listen names"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = start(&house, "http_redirect");
    assert!(said.contains("no socket was handed over, and server.listen names"), "{said}");
    let file = UnixListener::bind(house.path("redirect.sock")).unwrap();
    let unix = house.activated("http_redirect", &[]).stdin(OwnedFd::from(file)).output().unwrap();
    let said = String::from_utf8(unix.stderr).unwrap();
    assert!(said.contains("by which no browser comes"), "{said}");
    assert!(said.contains("with an address and a port\n"), "{said}");
    let taken = format!("http_redirect = {{ listen = \"{}\" }}", socket.local_addr().unwrap());
    house.reconfigure("http_redirect = { listen = \"systemd\" }", &taken);
    let said = start(&house, "web");
    assert!(said.contains("choose another address (server.http_redirect.listen)"), "{said}");
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
