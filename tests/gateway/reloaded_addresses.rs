//! What a reload changes of whose word is taken and who is let in.

use crate::client_address::server;
use crate::proxy_protocol::from;
use crate::support::{Gateway, Upstream, routes};

const PROXY: [u8; 4] = [127, 0, 0, 9];
const STRANGER: [u8; 4] = [127, 0, 0, 66];
const TRUSTED: &str = "\"127.0.0.9\"";
const LIST: &str = "client_ip = \"x-forwarded-for\"";
const PREAMBLE: &str = "client_ip = \"proxy-protocol\"";

#[test]
fn a_reload_decides_whose_word_is_taken_even_on_connections_that_are_open() {
    let upstream = Upstream::hello();
    let mut gateway = Gateway::start(&(server(LIST) + &routes(&upstream.url())));
    let said = [("X-Forwarded-For", "203.0.113.7")];
    let asked = gateway.request("GET /public/x", &said, "");
    let (mut proxy, mut stranger) = (from(&gateway, PROXY), from(&gateway, STRANGER));
    let seen_by = |client: &mut crate::support::Client| {
        client.ask(&asked).expect(200);
        upstream.last().header("x-forwarded-for").map(str::to_owned)
    };
    assert_eq!(seen_by(&mut proxy).as_deref(), Some("203.0.113.7"));
    assert_eq!(seen_by(&mut stranger).as_deref(), Some("127.0.0.66"));
    gateway.reconfigure(TRUSTED, "\"127.0.0.66\"");
    gateway.reload().unwrap();
    assert_eq!(seen_by(&mut proxy).as_deref(), Some("127.0.0.9"));
    assert_eq!(seen_by(&mut stranger).as_deref(), Some("203.0.113.7"));
}

#[test]
fn a_reload_asks_new_connections_of_proxies_for_their_preamble_and_the_open_ones_for_nothing() {
    let upstream = Upstream::hello();
    let mut gateway = Gateway::start(&(server(LIST) + &routes(&upstream.url())));
    let said = [("X-Forwarded-For", "6.6.6.6")];
    let asked = gateway.request("GET /public/x", &said, "");
    let mut before = from(&gateway, PROXY);
    before.ask(&asked).expect(200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("6.6.6.6"));
    gateway.reconfigure(LIST, PREAMBLE);
    gateway.reload().unwrap();
    before.ask(&asked).expect(200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.9"), "of itself");
    let mut bare = from(&gateway, PROXY);
    bare.send(&asked);
    assert!(bare.is_closed());
    let mut after = from(&gateway, PROXY);
    after.send("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n");
    after.ask(&asked).expect(200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("203.0.113.7"));
}

#[test]
fn a_reload_closes_a_route_to_addresses() {
    let upstream = Upstream::hello();
    let mut gateway = Gateway::start(&(server(LIST) + &routes(&upstream.url())));
    let asked = gateway.request("GET /public/x", &[], "");
    let mut client = from(&gateway, STRANGER);
    client.ask(&asked).expect(200);
    let open = "access = \"public\"";
    gateway.reconfigure(open, &format!("{open}\nallow_ips = \"127.0.0.1\""));
    gateway.reload().unwrap();
    client.ask(&asked).expect(403);
    assert_eq!(upstream.seen().len(), 1);
}
