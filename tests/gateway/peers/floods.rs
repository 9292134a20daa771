//! Advisories about HTTP/2: what costs the sender little and the receiver much. The flood's
//! connection ends, others are served, and little reaches the upstream.

use crate::http2::{Door, PROTOCOL, hanging};
use crate::support::frames::*;
use crate::support::{Gateway, Upstream, routes};

const CALM: u32 = 11;

fn door() -> Door {
    let (upstream, gateway) = hanging();
    Door { gateway, upstream }
}

/// Sends a flood, is told to leave for one of these reasons, and nobody else is.
#[track_caller]
fn is_ended(door: &Door, flood: &[u8], reasons: &[u32]) {
    let mut client = door.connect();
    client.send(flood);
    let mut told = client.told();
    while matches!(told, Told::Reset(_) | Told::Status(_)) {
        told = client.told();
    }
    let ended = match told {
        // What is still unread when it leaves makes a reset of the farewell.
        Told::Closed => true,
        Told::GoAway(reason) => reasons.contains(&reason),
        Told::Reset(_) | Told::Status(_) => false,
    };
    assert!(ended, "{told:?}");
    serves(door);
}

#[track_caller]
fn serves(door: &Door) {
    assert_eq!(door.ask(&door.get("/auth/ping", &[])), Told::Status(200));
}

fn open(door: &Door, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &door.get("/public/x", &[]))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| n * 2 + 1)
}

#[test]
fn cve_2023_44487_streams_that_are_opened_and_reset_at_once() {
    let door = door();
    let flood: Vec<u8> =
        streams(5000).flat_map(|stream| [open(&door, stream), reset(stream)].concat()).collect();
    is_ended(&door, &flood, &[CALM]);
    let reached = door.upstream.seen().len();
    assert!(reached <= 100, "{reached} of 5000 came through");
}

#[test]
fn cve_2024_27316_rustsec_2024_0332_a_head_that_never_ends() {
    let door = door();
    let wide = block(&[("x-a", &"b".repeat(1000))]);
    for (count, piece) in [(20_000, &[][..]), (2000, &wide)] {
        let begun = frame(HEADERS, END_STREAM, 1, &door.get("/public/x", &[]));
        let flood = [begun, frame(CONTINUATION, 0, 1, piece).repeat(count)].concat();
        is_ended(&door, &flood, &[CALM, PROTOCOL]);
    }
    assert_eq!(door.upstream.seen().len(), 0);
}

#[test]
fn cve_2019_9518_data_of_nothing() {
    let door = door();
    let host = door.gateway.host();
    let post = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", &host),
        (":path", "/public/x"),
    ]);
    let begun = frame(HEADERS, END_HEADERS, 1, &post);
    is_ended(&door, &[begun, frame(DATA, 0, 1, &[]).repeat(50_000)].concat(), &[CALM]);
}

#[test]
fn cve_2019_9514_cve_2025_8671_resets_that_a_client_makes_us_send() {
    let door = door();
    let malformed = door.get("/public/x", &[("connection", "close")]);
    let malformed = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &malformed);
    let begun = |stream| {
        let too_wide = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
        [open(&door, stream), too_wide].concat()
    };
    is_ended(&door, &streams(1000).flat_map(malformed).collect::<Vec<_>>(), &[CALM]);
    is_ended(&door, &streams(1000).flat_map(begun).collect::<Vec<_>>(), &[CALM]);
    let reached = door.upstream.seen().len();
    assert!(reached <= 200, "{reached} of 2000 came through");
}

#[test]
fn cve_2019_9512_cve_2019_9515_pings_and_settings_whose_answers_nobody_reads() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n\
         timeouts = {{ idle = \"1s\" }}\n{}",
        routes(&upstream.url())
    ));
    let door = Door { gateway, upstream };
    for piece in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])] {
        let mut client = door.connect();
        let taken = client.flood(&piece.repeat(1000));
        // The kernel's buffers at four ends, and none of ours.
        assert!(taken < 64 << 20, "{taken} bytes were taken");
        serves(&door);
    }
}
