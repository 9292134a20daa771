//! Clients that read their answers slowly, where others wait for a connection to the application.

use std::future::poll_fn;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::cutting::streaming;
use crate::groups::metrics;
use crate::support::frames::*;
use crate::support::{Client, Gateway, Upstream, eventually, request};

const PLACES: u8 = 16;

fn gateway(upstream: &Upstream) -> Gateway {
    before(&upstream.url(), PLACES)
}

fn before(url: &str, places: u8) -> Gateway {
    Gateway::start(&format!(
        r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
workers = 1
[upstreams.app]
servers = ["{url}"]
max_connections = {places}
timeouts = {{ connect = "1s", idle = "2s" }}
[[routes]]
path = "/*"
access = "public"
upstream = "app"
"#
    ))
}

/// A client of an address of its own that asks for an endless answer.
fn flooded(gateway: &Gateway, at: u8) -> Client {
    let mut client =
        Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 1, at)), gateway.address());
    client.send(request("GET /flood", &[("Host", &gateway.host())], ""));
    client
}

/// Reads so much, or how the connection ended before.
fn read(client: &Client, bytes: usize) -> Result<(), ErrorKind> {
    let mut stream = client.stream();
    stream.read_exact(&mut vec![0; bytes]).map_err(|ended| ended.kind())
}

fn all_are_asked(upstream: &Upstream) {
    eventually("all places are taken", || {
        (upstream.seen().len() == usize::from(PLACES)).then_some(())
    });
}

/// One more request, as often as it is told that all connections are in use.
fn somebody_else_is_served(gateway: &Gateway) {
    eventually("somebody else is served", || {
        let status = gateway.get("/x", &[]).status;
        assert!(matches!(status, 200 | 503), "{status}");
        (status == 200).then_some(())
    });
}

fn slow_ones_cut(gateway: &Gateway) -> usize {
    let series = "portcullis_streams_cut_total{why=\"slow\"} ";
    let text = metrics(gateway);
    let count = text.lines().find_map(|line| line.strip_prefix(series));
    count.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn one_client_that_does_not_read_is_cut_off_for_who_waits_for_a_connection() {
    let upstream = streaming();
    let gateway = gateway(&upstream);
    let reader = flooded(&gateway, 1);
    let stalled: Vec<Client> = (2..=PLACES).map(|at| flooded(&gateway, at)).collect();
    all_are_asked(&upstream);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                read(&reader, 1 << 16).expect("whoever reads is not cut off");
            }
        });
        somebody_else_is_served(&gateway);
        done.store(true, Ordering::Relaxed);
        reading.join().unwrap();
    });
    // More than all buffers hold: what goes on goes on.
    let ended: Vec<_> = stalled.iter().filter_map(|client| read(client, 12 << 20).err()).collect();
    assert_eq!((ended, slow_ones_cut(&gateway)), (vec![ErrorKind::ConnectionReset], 1));
}

#[test]
fn one_stream_of_a_client_that_gives_no_window_is_reset_and_its_siblings_go_on() {
    let upstream = streaming();
    let gateway = gateway(&upstream);
    let mut client = Frames::connect(gateway.address());
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let host = gateway.host();
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", &host), (":path", "/flood")];
    for stream in (0..PLACES).map(|at| u32::from(at) * 2 + 1) {
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields)));
        assert_eq!(client.told(), Told::Status(200));
    }
    all_are_asked(&upstream);
    somebody_else_is_served(&gateway);
    let reset = client.until(RST_STREAM).stream;
    let sibling = if reset == 1 { 3 } else { 1 };
    client.send(frame(WINDOW_UPDATE, 0, sibling, &1000_u32.to_be_bytes()));
    assert_eq!(client.until(DATA).stream, sibling);
    assert_eq!(slow_ones_cut(&gateway), 1);
}

/// A server of HTTP/2 that takes two requests at a time, and floods those who ask for it.
fn narrow() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let flood = async |mut stream: h2::SendStream<Bytes>| {
        let piece = Bytes::from(vec![b'x'; 16 * 1024]);
        loop {
            stream.reserve_capacity(piece.len());
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(open)) => stream.send_data(piece.slice(..open), false).unwrap(),
                Some(Err(_)) | None => return,
            }
        }
    };
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((socket, _)) = listener.accept().await {
            let mut narrow = h2::server::Builder::new();
            let handshake = narrow.max_concurrent_streams(2).handshake::<_, Bytes>(socket);
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = handshake.await else { return };
                while let Some(Ok((asked, mut respond))) = connection.accept().await {
                    let stream = respond.send_response(http::Response::new(()), false);
                    let mut stream = stream.unwrap();
                    if asked.uri().path() == "/flood" {
                        tokio::task::spawn_local(flood(stream));
                    } else {
                        stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
                    }
                }
            });
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, serve);
    });
    url
}

#[test]
fn one_client_that_does_not_read_is_cut_off_for_who_waits_for_a_stream() {
    let gateway = before(&narrow(), 1);
    let stalled = [1, 2].map(|at| flooded(&gateway, at));
    for client in &stalled {
        read(client, 1000).unwrap();
    }
    somebody_else_is_served(&gateway);
    assert_eq!(slow_ones_cut(&gateway), 1);
}
