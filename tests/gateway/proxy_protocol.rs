//! The PROXY protocol in front of HTTP, and who has how many connections: a proxy speaks for its
//! clients, and each client is bounded by itself.

use std::net::IpAddr;

use crate::client_address::server;
use crate::support::{Client, Gateway, Upstream, request, routes};

const PROXY: [u8; 4] = [127, 0, 0, 9];
const STRANGER: [u8; 4] = [127, 0, 0, 66];

fn listening(upstream: &Upstream, more: &str) -> Gateway {
    let more = format!("client_ip = \"proxy-protocol\"\n{more}");
    Gateway::start(&(server(&more) + &routes(&upstream.url())))
}

pub fn from(gateway: &Gateway, source: [u8; 4]) -> Client {
    Client::connect_from(IpAddr::from(source), gateway.address())
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
}

const ENDS: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 1, 0xbb];

#[test]
fn a_preamble_names_the_client_of_the_whole_connection() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "");
    let forged =
        [("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("X-Request-Id", "forged")];
    let asked = gateway.request("GET /public/x", &forged, "");
    let values = [&ENDS[..], &[4, 0, 1, 0]].concat();
    for preamble in [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n".to_vec(),
        version_2(0x21, 0x11, &ENDS),
        version_2(0x21, 0x11, &values),
    ] {
        let mut client = from(&gateway, PROXY);
        client.send(&preamble[..7]);
        client.send(&preamble[7..]);
        for _ in 0..2 {
            client.ask(&asked).expect(200);
            let seen = upstream.last();
            assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.7"), "{preamble:?}");
            assert_eq!(seen.header("x-request-id").map(str::len), Some(26), "a client's own");
        }
    }
    for preamble in [b"PROXY UNKNOWN\r\n".to_vec(), version_2(0x20, 0, b"")] {
        let mut client = from(&gateway, PROXY);
        client.send(&preamble);
        client.ask(&asked).expect(200);
        assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.9"), "{preamble:?}");
    }
}

#[test]
fn a_trusted_peer_without_a_proper_preamble_is_closed_without_an_answer() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "");
    for bytes in [
        gateway.request("GET /public/x", &[], "").into_bytes(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\nGET /public/x HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.700 192.0.2.1 4711 443\r\n".to_vec(),
        version_2(0x21, 0x12, &ENDS),
        version_2(0x21, 0x11, &ENDS[..8]),
        version_2(0x31, 0x11, &ENDS),
    ] {
        let mut client = from(&gateway, PROXY);
        client.send(&bytes);
        assert!(client.is_closed(), "{bytes:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_preamble_that_does_not_come_is_not_waited_for() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "timeouts = { header = \"1s\" }");
    let mut client = from(&gateway, PROXY);
    client.send(b"PROXY TCP4 203.0.113.7 ");
    assert!(client.is_closed());
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_preamble_is_read_of_nobody_who_is_not_trusted() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "");
    let asked = gateway.request("GET /public/x", &[], "");
    from(&gateway, STRANGER).ask(&asked).expect(200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.66"));
    for preamble in
        [b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n".to_vec(), version_2(0x21, 0x11, &ENDS)]
    {
        let mut client = from(&gateway, STRANGER);
        client.send([&preamble[..], asked.as_bytes()].concat());
        let answer = client.answer().map(|answer| answer.status);
        assert_eq!(answer, Some(400), "{preamble:?}");
    }
    // And of nobody at all where another source is configured.
    let gateway = Gateway::start(&(server("") + &routes(&upstream.url())));
    let mut client = from(&gateway, PROXY);
    client.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n");
    assert_eq!(client.answer().map(|answer| answer.status), Some(400));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn connections_are_bounded_for_each_address_but_not_for_a_trusted_proxy() {
    let upstream = Upstream::hello();
    let routes = routes(&upstream.url());
    let gateway = Gateway::start(&(server("max_connections_per_ip = 2") + &routes));
    let asked = request("GET /auth/ping", &[("Host", "x")], "");
    let open = |source: [u8; 4]| {
        let mut client = from(&gateway, source);
        client.send(&asked);
        let status = client.answer().map(|answer| answer.status);
        (client, status)
    };
    let strangers: Vec<_> = (0..3).map(|_| open(STRANGER)).collect();
    assert_eq!(strangers.iter().filter(|(_, status)| status.is_some()).count(), 2);
    assert!(open([127, 0, 0, 67]).1.is_some(), "another address");
    let proxies: Vec<_> = (0..5).map(|_| open(PROXY)).collect();
    assert!(proxies.iter().all(|(_, status)| status.is_some()));
}

#[test]
fn connections_of_a_proxy_that_names_its_clients_are_bounded_for_each_client() {
    let upstream = Upstream::hello();
    let gateway = listening(&upstream, "max_connections_per_ip = 2");
    let asked = request("GET /auth/ping", &[("Host", "x")], "");
    let open = |client: &str| {
        let mut connection = from(&gateway, PROXY);
        connection.send(format!("PROXY TCP4 {client} 192.0.2.1 1 443\r\n{asked}"));
        let status = connection.answer().map(|answer| answer.status);
        (connection, status)
    };
    let same: Vec<_> = (0..3).map(|_| open("203.0.113.7")).collect();
    assert_eq!(same.iter().filter(|(_, status)| status.is_some()).count(), 2);
    let others: Vec<_> = (8..13).map(|at| open(&format!("203.0.113.{at}"))).collect();
    assert!(others.iter().all(|(_, status)| status.is_some()));
}
