//! What a connection, a tunnel and a body cost in memory, as the operating system counts it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use rustls::version::TLS13;

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, Told, block, frame};
use crate::support::{
    Authority, House, Process, Secure, Upstream, allow_descriptors, eventually, routes,
};

const MANY: &str = "workers = 2\nmax_connections_per_ip = 20000\nmax_body = { public = \"off\" }";

fn house(upstream: &str) -> House {
    allow_descriptors();
    let mut house = House::new(&routes(upstream));
    house.reconfigure("workers = 2", MANY);
    house
}

/// What each of `count` costs once it is silent, in bytes; those opened before have already made
/// the process what it is.
fn each<C>(gateway: &Process, count: u64, most: u64, open: impl Fn() -> C) -> u64 {
    let open = |count: u64| (0..count).map(|_| open()).collect::<Vec<C>>();
    let _warm = open(50);
    let before = gateway.resident();
    let _open = open(count);
    let each = || gateway.resident().saturating_sub(before) / count;
    // A connection is parked by the tick after its last request.
    eventually("they are small", || {
        let each = each();
        (each <= most).then_some(each)
    })
}

fn plain(count: u64) {
    let upstream = Upstream::hello();
    let house = house(&upstream.url());
    let gateway = house.start();
    let request = house.request("GET /public/x", &[], "");
    let each = each(&gateway, count, 6_000, || {
        let mut client = house.connect();
        client.ask(&request).expect(200);
        client
    });
    println!("{each} bytes for each of {count} idle connections");
    gateway.stop();
}

#[test]
fn an_idle_connection_is_small() {
    plain(1_000);
}

#[test]
fn what_very_many_requests_at_one_moment_took_is_given_back() {
    let upstream = Upstream::hello();
    let house = house(&upstream.url());
    let gateway = house.start();
    let request = house.request("GET /public/x", &[], "");
    let all_at_once = |count: u64| {
        let mut clients: Vec<_> = (0..count).map(|_| house.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(&request));
        clients.iter_mut().for_each(|client| drop(client.answer().expect("an answer").expect(200)));
        clients
    };
    let _warm = all_at_once(50);
    let before = gateway.resident();
    let clients = all_at_once(400);
    let each = eventually("they are small", || {
        let each = gateway.resident().saturating_sub(before) / 400;
        (each <= 9_000).then_some(each)
    });
    println!("{each} bytes for each of {} that were asked at one moment", clients.len());
    gateway.stop();
}

#[test]
#[ignore = "slow"]
fn each_of_eight_thousand_idle_connections_is_small() {
    plain(8_000);
}

#[test]
fn an_idle_connection_under_tls_costs_what_tls_keeps() {
    let upstream = Upstream::hello();
    let mut house = house(&upstream.url());
    let authority = Authority::new();
    authority.issue(house.folder(), "localhost", &["localhost"]);
    let tls = format!("{MANY}\ntls = {{ cert = \"localhost.crt\", key = \"localhost.key\" }}");
    house.reconfigure(MANY, &tls);
    let gateway = house.start();
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    let request = house.request("GET /public/x", &[], "");
    let each = each(&gateway, 400, 28_000, || {
        let mut client = Secure::connect(house.address(), &config, "localhost").unwrap();
        client.send(&request);
        client.until("hello");
        client
    });
    println!("{each} bytes for an idle connection under TLS");
    gateway.stop();
}

#[test]
fn an_idle_connection_of_http_2_costs_what_it_keeps() {
    let upstream = Upstream::hello();
    let house = house(&upstream.url());
    let gateway = house.start();
    let host = house.host();
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", &*host), (":path", "/public/x")];
    let each = each(&gateway, 400, 40_000, || {
        let mut client = Frames::connect(house.address());
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields)));
        assert_eq!(client.told(), Told::Status(200));
        client
    });
    println!("{each} bytes for an idle connection of HTTP/2");
    gateway.stop();
}

/// An upstream that takes and gives bodies of any size, and keeps nothing of them.
fn bodies() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || one_body(stream));
        }
    });
    url
}

/// Takes as many bytes as are announced and tells how many; or gives as many as the path says.
fn one_body(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let mut piece = vec![b'x'; PIECE];
    let number = |text: &str| text.split([' ', '\r']).next().and_then(|text| text.parse().ok());
    if let Some((_, rest)) = head.split_once("content-length: ") {
        let mut left: u64 = number(rest).unwrap();
        while left > 0 {
            left -= stream.read(&mut piece).unwrap() as u64;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    } else {
        let size: u64 = number(head.split_once("/public/").unwrap().1).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
        send(&mut stream, &piece, size);
    }
}

fn send(stream: &mut impl Write, piece: &[u8], size: u64) {
    let mut left = size;
    while left > 0 {
        let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&piece[..count]).expect("it is taken");
        left -= count as u64;
    }
}

fn up(house: &House, size: u64) {
    let mut client = house.connect();
    let length = size.to_string();
    client.send(house.request("POST /public/x", &[("Content-Length", &length)], ""));
    send(&mut client.stream(), &[b'x'; PIECE], size);
    assert_eq!(client.answer().expect("an answer").expect(200).text(), "hello");
}

fn down(house: &House, size: u64) {
    let mut client = house.connect();
    client.send(house.request(&format!("GET /public/{size}"), &[], ""));
    let (status, _) = client.head().expect("an answer");
    assert_eq!(status, 200);
    let (mut got, mut piece) = (client.take_read().len() as u64, [0; PIECE]);
    while got < size {
        let count = client.stream().read(&mut piece).expect("it comes");
        assert_ne!(count, 0, "{got} of {size} bytes came");
        got += count as u64;
    }
    assert_eq!(got, size);
}

fn bodies_of(size: u64) {
    let house = house(&bodies());
    let gateway = house.start();
    for (way, pass) in [("up", up as fn(&House, u64)), ("down", down)] {
        pass(&house, WARM);
        let before = gateway.resident();
        forget_the_most(&gateway);
        pass(&house, size);
        let more = gateway.most_resident().saturating_sub(before);
        println!("{more} bytes more for {size} bytes {way}");
        assert!(more <= MOST_BUFFERED, "{more} bytes more for {size} bytes {way}");
    }
    gateway.stop();
}

/// Begins the high-water mark of resident memory anew (proc(5), clear_refs).
fn forget_the_most(gateway: &Process) {
    fs::write(format!("/proc/{}/clear_refs", gateway.id()), "5").expect("a child's can be reset");
}

#[test]
fn a_body_is_not_held_in_memory_either_way() {
    bodies_of(256 << 20);
}

#[test]
#[ignore = "slow: two gigabytes up and two down"]
fn two_gigabytes_are_not_held_in_memory_either_way() {
    bodies_of(2 << 30);
}

/// Bytes sent and read at once.
const PIECE: usize = 64 * 1024;

/// Three of hyper's largest buffers for reading an answer, and what is on its way to the client.
const MOST_BUFFERED: u64 = 1 << 20;

/// Bytes after which all code that carries bodies is in memory; less than anybody who held them
/// would be let hold.
const WARM: u64 = 512 * 1024;
