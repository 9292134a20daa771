//! An application of several servers (`[upstreams.NAME]`): which of them is asked, and what becomes
//! of a request when one fails.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::streams::{Shared, acceptor};
use crate::support::{Answer, Client, Gateway, Then, Upstream, eventually, request};

/// One worker, so that what one request teaches the next one knows.
fn gateway(upstream: &str) -> Gateway {
    Gateway::start(&format!(
        r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
workers = 1
[upstreams.app]
{upstream}
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/public/*"
access = "public"
upstream = "app"
[[routes]]
path = "/public/hasty"
access = "public"
upstream = "app"
timeouts = {{ response = "100ms" }}
[[routes]]
path = "/public/patient"
access = "public"
upstream = "app"
timeouts = {{ response = "off" }}
"#
    ))
}

/// Waits for something to become true.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}

fn servers(all: &[&Upstream]) -> String {
    let urls: Vec<_> = all.iter().map(|server| format!("\"{}\"", server.url())).collect();
    format!("servers = [{}]", urls.join(", "))
}

/// Reads every request whole and hangs up.
fn mute() -> Upstream {
    Upstream::scripted(|_, _| Then::Close)
}

/// The URL of a port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub fn metrics(gateway: &Gateway) -> String {
    let mut admin = Client::connect(gateway.admin_address());
    admin.ask(request("GET /metrics", &[("Host", "localhost")], "")).text()
}

fn healthy(gateway: &Gateway, server: &str) -> Option<String> {
    let series = format!("portcullis_upstream_healthy{{upstream=\"app\",server=\"{server}\"}} ");
    let text = metrics(gateway);
    text.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned)
}

#[test]
fn servers_take_turns() {
    let all = [Upstream::hello(), Upstream::hello(), Upstream::hello()];
    let several = servers(&all.each_ref());
    let gateway = gateway(&format!("{several}\nbalance = \"round_robin\""));
    for _ in 0..9 {
        gateway.get("/public/x", &[]).expect(200);
    }
    assert_eq!(all.each_ref().map(|server| server.seen().len()), [3, 3, 3]);
}

/// Each has a place at one server, and would have one at the other.
#[test]
fn uploads_that_two_servers_refuse_do_not_wait_for_each_other() {
    let refusing = format!("servers = [\"{}\", \"{}\"]", nobody(), nobody());
    let gateway = gateway(&format!(
        "{refusing}\nbalance = \"round_robin\"\nmax_connections = 2\ntimeouts = {{ connect = \"5s\" }}"
    ));
    let post = request("POST /public/x", &[("Host", &gateway.host())], "hi");
    let mut clients: Vec<_> = (0..8).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(&post));
    for client in &mut clients {
        client.answer().expect("an answer").expect(502);
    }
}

#[test]
fn the_less_busy_server_is_asked() {
    let slow = Upstream::scripted(|_, stream| {
        // Ends when the gateway hangs up.
        let _ = stream.read(&mut [0; 1]);
        Then::Close
    });
    let quick = Upstream::hello();
    let gateway = gateway(&servers(&[&slow, &quick]));
    let mut clients = Vec::new();
    while slow.seen().is_empty() {
        let mut client = gateway.connect();
        client.send(request("GET /public/x", &[("Host", &gateway.host())], ""));
        clients.push(client);
        until("a server is asked", || slow.seen().len() + quick.seen().len() == clients.len());
    }
    for _ in 0..20 {
        gateway.get("/public/x", &[]).expect(200);
    }
    assert_eq!(slow.seen().len(), 1);
}

#[test]
fn a_session_keeps_its_server_and_nobody_else_is_bound() {
    let all = [Upstream::hello(), Upstream::hello(), Upstream::hello()];
    let several = servers(&all.each_ref());
    let gateway = gateway(&format!("{several}\nbalance = \"hash_session\""));
    let counts = || all.each_ref().map(|server| server.seen().len());
    for user in ["alice", "admin", "alice"] {
        let access = gateway.login(user).access;
        let before = counts();
        for _ in 0..10 {
            gateway.get_as("/x", &access).expect(200);
        }
        let asked: Vec<_> = counts().iter().zip(before).map(|(now, then)| now - then).collect();
        assert!(asked.contains(&10), "{user}: {asked:?}");
    }
    for _ in 0..50 {
        gateway.get("/public/x", &[]).expect(200);
    }
    assert!(counts().iter().all(|count| *count > 0), "{:?}", counts());
}

#[test]
fn a_server_that_takes_no_connection_costs_no_request_and_no_post_comes_twice() {
    let there = Upstream::hello();
    let upstream = format!(
        "servers = [\"{}\", \"{}\"]\nbalance = \"round_robin\"\neject = {{ at_most = \"0 %\" }}",
        nobody(),
        there.url()
    );
    let gateway = gateway(&upstream);
    for _ in 0..10 {
        gateway.get("/public/x", &[]).expect(200);
        gateway.ask("POST /public/x", &[], "once").expect(200);
    }
    let bodies = there.seen().iter().filter(|seen| seen.body == b"once").count();
    assert_eq!((there.seen().len(), bodies), (20, 10));
}

#[test]
fn what_may_have_been_done_is_not_done_again_elsewhere() {
    let (deaf, there) = (mute(), Upstream::hello());
    let several = servers(&[&deaf, &there]);
    let upstream = format!("{several}\nbalance = \"round_robin\"\neject = {{ at_most = \"0 %\" }}");
    let gateway = gateway(&upstream);
    // The first goes to the server that reads it and hangs up.
    for (line, body, status) in [
        ("POST /public/x", "once", 502),
        ("POST /public/x", "", 502),
        ("PUT /public/x", "once", 502),
        ("PATCH /public/x", "", 502),
        ("GET /public/x", "", 200),
        ("DELETE /public/x", "", 200),
    ] {
        let (at_first, elsewhere) = (deaf.seen().len(), there.seen().len());
        gateway.ask(line, &[], body).expect(status);
        let repeated = usize::from(status == 200);
        assert_eq!(deaf.seen().len(), at_first + 1, "{line}");
        assert_eq!(there.seen().len(), elsewhere + repeated, "{line}");
        if repeated == 0 {
            // The next in turn.
            gateway.get("/public/x", &[]).expect(200);
        }
    }
}

#[test]
fn with_no_retries_nothing_is_sent_twice() {
    let (deaf, there) = (mute(), Upstream::hello());
    let several = servers(&[&deaf, &there]);
    let options = "balance = \"round_robin\"\nretries = 0\neject = { at_most = \"0 %\" }";
    let gateway = gateway(&format!("{several}\n{options}"));
    for _ in 0..3 {
        gateway.get("/public/x", &[]).expect(502);
        gateway.get("/public/x", &[]).expect(200);
    }
    assert_eq!((deaf.seen().len(), there.seen().len()), (3, 3));
}

#[test]
fn a_server_that_goes_on_failing_is_left_out_and_a_client_cannot_do_that_to_all() {
    let (deaf, there) = (mute(), Upstream::hello());
    let several = servers(&[&deaf, &there]);
    let eject = "eject = { failures = 2, for = \"1h\", at_most = \"50 %\" }";
    let gateway = gateway(&format!("{several}\nbalance = \"round_robin\"\n{eject}"));
    for _ in 0..20 {
        gateway.get("/public/x", &[]).expect(200);
    }
    assert_eq!((deaf.seen().len(), there.seen().len()), (2, 20));
    assert_eq!(healthy(&gateway, &deaf.url()).as_deref(), Some("0"));
    assert_eq!(healthy(&gateway, &there.url()).as_deref(), Some("1"));
    // The last one stays, whatever it does.
    let both = servers(&[&mute(), &mute()]);
    let gateway = self::gateway(&format!("{both}\n{eject}"));
    for _ in 0..10 {
        assert_eq!(gateway.get("/public/x", &[]).expect(502).member("code"), "bad_gateway");
    }
}

#[test]
fn a_server_that_was_left_out_is_asked_again_and_stays_once_it_answers() {
    let failures = AtomicUsize::new(2);
    let recovering = Upstream::scripted(move |_, stream| {
        let left = failures.load(Ordering::SeqCst);
        if left > 0 {
            failures.store(left - 1, Ordering::SeqCst);
            return Then::Close;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        Then::KeepOpen
    });
    let well = Upstream::hello();
    let several = servers(&[&recovering, &well]);
    let eject = "eject = { failures = 2, for = \"200ms\", at_most = \"50 %\" }";
    let gateway = gateway(&format!("{several}\nbalance = \"round_robin\"\n{eject}"));
    let ask = || gateway.get("/public/x", &[]).expect(200);
    until("it has failed twice", || {
        ask();
        recovering.seen().len() >= 2
    });
    until("it has its second chance", || {
        ask();
        recovering.seen().len() > 2
    });
    let before = recovering.seen().len();
    (0..10).for_each(|_| drop(ask()));
    assert_eq!(recovering.seen().len(), before + 5, "every other request is its again");
    until("it is healthy", || healthy(&gateway, &recovering.url()).as_deref() == Some("1"));
}

#[test]
fn a_slow_upload_says_nothing_against_a_server() {
    let all = [Upstream::hello(), Upstream::hello()];
    let several = servers(&all.each_ref());
    let eject = "eject = { failures = 1, for = \"1h\" }\ntimeouts = { idle = \"100ms\" }";
    let gateway = gateway(&format!("{several}\nbalance = \"round_robin\"\n{eject}"));
    for _ in 0..4 {
        let mut client = gateway.connect();
        let headers = [("Host", &*gateway.host()), ("Content-Length", "10")];
        client.send(request("POST /public/x", &headers, "abc"));
        assert_eq!(client.answer().expect("an answer").status, 504);
    }
    for server in &all {
        assert_eq!(healthy(&gateway, &server.url()).as_deref(), Some("1"));
    }
}

#[test]
fn while_an_application_starts_everybody_is_told_so_and_then_served() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let health = "health = { path = \"/up?full=1\", every = \"100ms\", pass_after = 1 }";
    let gateway = gateway(&format!("servers = [\"http://{address}\"]\n{health}"));
    let program = || gateway.get("/public/x", &[]);
    until("the check fails", || program().status == 503);
    let told = program().expect(503);
    assert_eq!(told.member("code"), "upstream_starting");
    assert!(told.header("retry-after").is_some());
    assert_eq!(healthy(&gateway, &format!("http://{address}")).as_deref(), Some("0"));
    let page = navigation(&gateway).expect(503);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("retry-after").is_some());
    assert!(page.text().contains("The application is starting"), "{}", page.text());
    assert!(!page.text().contains(&address.to_string()));

    let listener = TcpListener::bind(address).expect("the port is still free");
    std::thread::spawn(move || answer_all(&listener));
    until("the check passes", || program().status == 200);
    assert_eq!(healthy(&gateway, &format!("http://{address}")).as_deref(), Some("1"));
}

/// Answers every request with its own first line and `Host`, one to a connection.
fn answer_all(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        let mut head = [0; 4096];
        let length = stream.read(&mut head).unwrap_or_default();
        let is_check = head[..length].starts_with(b"GET /up?full=1 HTTP/1.1\r\n");
        let answer =
            if is_check { "204 No Content\r\n" } else { "200 OK\r\nContent-Length: 0\r\n" };
        let _ = stream.write_all(format!("HTTP/1.1 {answer}Connection: close\r\n\r\n").as_bytes());
    }
}

fn navigation(gateway: &Gateway) -> Answer {
    let headers = [
        ("Accept", "text/html"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Site", "none"),
    ];
    gateway.get("/public/x", &headers)
}

#[test]
fn an_unhealthy_server_is_not_asked_while_another_is_well() {
    let ill = Upstream::scripted(|seen, stream| {
        let status = if seen.line() == "GET /up" { "500 Ill" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
        Then::KeepOpen
    });
    let well = Upstream::hello();
    let several = servers(&[&ill, &well]);
    let gateway = gateway(&format!("{several}\nhealth = {{ path = \"/up\", every = \"100ms\" }}"));
    until("the check fails", || healthy(&gateway, &ill.url()).as_deref() == Some("0"));
    for _ in 0..10 {
        gateway.get("/public/x", &[]).expect(200);
    }
    assert!(ill.seen().iter().all(|seen| seen.line() == "GET /up"));
    let check = ill.seen()[0].clone();
    assert_eq!(check.header("host"), Some(&*ill.address().to_string()));
}

#[test]
fn a_route_has_time_outs_of_its_own() {
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let silent = Upstream::scripted(move |seen, stream| {
        if seen.line() == "GET /public/patient" {
            let _ = released.lock().unwrap().recv();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return Then::KeepOpen;
        }
        let _ = stream.read(&mut [0; 1]);
        Then::Close
    });
    let gateway =
        gateway(&format!("{}\ntimeouts = {{ response = \"300ms\" }}", servers(&[&silent])));
    gateway.get("/public/hasty", &[]).expect(504);
    let mut patient = gateway.connect();
    patient.send(request("GET /public/patient", &[("Host", &gateway.host())], ""));
    until("it is on its way", || silent.seen().len() == 2);
    // One that came later has been given up, so the patient one has waited longer than that.
    gateway.get("/public/x", &[]).expect(504);
    release.send(()).unwrap();
    assert_eq!(patient.answer().expect("an answer").status, 200);
}

#[test]
fn one_address_cannot_hold_every_place_with_stalled_uploads() {
    let upstream = Upstream::hello();
    let options = "max_connections = 4\ntimeouts = { connect = \"300ms\" }";
    let gateway = gateway(&format!("{}\n{options}", servers(&[&upstream])));
    let host = gateway.host();
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect();
        let headers = [("Host", &*host), ("Content-Length", "10")];
        client.send(request("POST /public/x", &headers, "abc"));
        stalled.push(client);
    }
    until("both are on their way", || upstream.connections() == 2);
    let third = gateway.ask("POST /public/x", &[("Content-Length", "10")], "abc");
    assert_eq!(third.expect(503).member("code"), "upstream_busy");
    // Without a body, and from elsewhere with one, there is room.
    gateway.get("/public/x", &[]).expect(200);
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2).into();
    let body = gateway.request("POST /public/x", &[], "0123456789");
    Client::connect_from(elsewhere, gateway.address()).ask(body).expect(200);
    // Who ends his upload, or goes away, may come again.
    stalled[0].send("defghij");
    assert_eq!(stalled[0].answer().expect("an answer").status, 200);
    gateway.ask("POST /public/x", &[], "0123456789").expect(200);
    stalled.clear();
    until("the other one's place is free", || {
        gateway.ask("POST /public/x", &[], "0123456789").status == 200
    });
}

#[test]
fn a_request_waits_for_a_place_and_no_longer_than_for_a_connection() {
    let slow = Upstream::scripted(|seen, stream| {
        if seen.line() == "GET /public/slow" {
            let _ = stream.read(&mut [0; 1]);
            return Then::Close;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        Then::KeepOpen
    });
    let options = "max_connections = 1\ntimeouts = { connect = \"300ms\" }";
    let gateway = gateway(&format!("{}\n{options}", servers(&[&slow])));
    let host = gateway.host();
    let mut first = gateway.connect();
    first.send(request("GET /public/slow", &[("Host", &host)], ""));
    until("it is on its way", || slow.seen().len() == 1);
    let told = gateway.get("/public/x", &[]).expect(503);
    assert_eq!(told.member("code"), "upstream_busy");
    let mut second = gateway.connect();
    second.send(request("GET /public/x", &[("Host", &host)], ""));
    drop(first);
    assert_eq!(second.answer().expect("an answer").status, 200);
}

#[test]
fn an_application_listens_on_a_socket_of_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            while stream.read(&mut head).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlocal");
            }
        }
    });
    let gateway = gateway(&format!("servers = [\"unix:{}\"]", path.display()));
    for _ in 0..3 {
        assert_eq!(gateway.get("/public/x", &[]).expect(200).text(), "local");
    }
    let nowhere = folder.path().join("none.sock");
    let gateway = self::gateway(&format!("servers = [\"unix:{}\"]", nowhere.display()));
    let told = gateway.get("/public/x", &[]).expect(502);
    assert!(!told.text().contains("none.sock"), "{}", told.text());
}

/// A server of HTTP/2 and nothing else, that says its name.
fn by_http_2(name: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let answer = respond.send_response(http::Response::new(()), false);
                    answer
                        .unwrap()
                        .send_data(bytes::Bytes::from_static(name.as_bytes()), true)
                        .unwrap();
                }
            });
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve);
    });
    url
}

const OPENING: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

#[test]
fn servers_of_http_2_that_open_no_tunnel_are_not_left_out_for_it() {
    let [one, two] = ["one", "two"].map(by_http_2);
    let gateway = gateway(&format!(
        "servers = [\"{one}\", \"{two}\"]\nbalance = \"round_robin\"\n\
         eject = {{ failures = 1, for = \"1h\", at_most = \"50 %\" }}"
    ));
    gateway.ask("GET /public/ws", &OPENING, "").expect(502);
    let answer = |_| gateway.get("/public/x", &[]).expect(200).text();
    let mut answered: Vec<String> = (0..4).map(answer).collect();
    answered.sort();
    assert_eq!(answered, ["one", "one", "two", "two"]);
}

#[test]
fn a_server_that_is_gone_is_left_out_where_only_tunnels_are_asked_of_it() {
    let [gone, other] = [nobody(), nobody()].map(|url| url.replace("http:", "https:"));
    let gateway = gateway(&format!(
        "servers = [\"{gone}\", \"{other}\"]\nbalance = \"round_robin\"\ntls = {{ verify = \"off\" }}\n\
         eject = {{ failures = 1, for = \"1h\", at_most = \"50 %\" }}"
    ));
    gateway.ask("GET /public/ws", &OPENING, "").expect(502);
    let is_left_out = |server: &String| healthy(&gateway, server).as_deref() == Some("0");
    assert_eq!([gone, other].iter().filter(|server| is_left_out(server)).count(), 1);
}

#[test]
fn a_server_that_agrees_on_http_2_alone_is_not_left_out_for_a_tunnel() {
    let shared = [(); 2].map(|()| Shared::start(Some(acceptor())));
    let [one, two] = shared.each_ref().map(|server| server.address);
    let gateway = gateway(&format!(
        "servers = [\"https://{one}\", \"https://{two}\"]\ntls = {{ verify = \"off\" }}\n\
         eject = {{ failures = 1, for = \"1h\", at_most = \"50 %\" }}"
    ));
    gateway.ask("GET /public/ws", &OPENING, "").expect(502);
    for server in [one, two] {
        assert_eq!(healthy(&gateway, &format!("https://{server}")).as_deref(), Some("1"));
    }
}
