//! httpbin under gunicorn, which shows what an application is told and does what HTTP allows.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::gateway::Gateway;
use crate::programs::{Program, installed};

struct Httpbin {
    _program: Program,
    url: String,
    _folder: TempDir,
}

impl Httpbin {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut command = installed("gunicorn");
        command
            .args(["-b", "127.0.0.1:0", "-k", "gthread", "--threads", "8"])
            .arg("httpbin:app")
            .env("HOME", folder.path());
        let program = Program::start("httpbin", &mut command);
        let url = program.until("where it listens", |line| {
            let (_, rest) = line.split_once("Listening at: ")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        Self { _program: program, url, _folder: folder }
    }

    /// Routes: `/headers` and `/cookies` for signed-in callers, all else for everybody.
    fn routes(&self) -> String {
        ["/*", "/headers", "/cookies"]
            .map(|path| {
                let access = if path == "/*" { "public" } else { "signed in" };
                format!(
                    "[[routes]]\npath = \"{path}\"\naccess = \"{access}\"\nupstream = \"{}\"\n",
                    self.url
                )
            })
            .concat()
    }

    #[track_caller]
    fn behind_a_gateway() -> (Self, Gateway) {
        let httpbin = Self::start();
        let gateway = Gateway::start(&httpbin.routes());
        (httpbin, gateway)
    }
}

#[test]
fn an_absolute_location_is_one_that_the_browser_can_follow() {
    let httpbin = Httpbin::start();
    let gateway = Gateway::start_as("https://apps.example.com", &httpbin.routes());
    let answer = gateway.ask("GET /absolute-redirect/1", &[], "").expect(302);
    let location = answer.header("location");
    assert_eq!(location, Some("https://apps.example.com/get"));
    let answer = gateway.ask("GET /relative-redirect/1", &[], "").expect(302);
    assert_eq!(answer.header("location"), Some("/get"));
}

#[test]
fn what_drips_arrives_while_it_drips() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    let mut client = gateway.connect();
    let line = "GET /drip?numbytes=4&duration=2&delay=0";
    client.send(gateway.request(line, &[("Connection", "close")], ""));
    let (mut came, mut moments) = (Vec::new(), Vec::new());
    let mut piece = [0; 4096];
    loop {
        let count = client.stream().read(&mut piece).expect("it goes on");
        if count == 0 {
            break;
        }
        came.extend_from_slice(&piece[..count]);
        moments.push(Instant::now());
    }
    assert!(came.ends_with(b"\r\n\r\n****"), "{:?}", String::from_utf8_lossy(&came));
    let spread = moments[moments.len() - 1] - moments[0];
    println!("{} pieces over {spread:?}", moments.len());
    assert!(spread > Duration::from_secs(1), "all at once, within {spread:?}");
}

#[test]
fn an_upload_of_a_given_length_is_not_held_in_memory() {
    upload("Content-Length: 31457280", |piece| piece.to_vec());
}

#[test]
fn a_chunked_upload_is_not_held_in_memory() {
    upload("Transfer-Encoding: chunked", |piece| {
        if piece.is_empty() {
            return b"0\r\n\r\n".to_vec();
        }
        let size = format!("{:x}\r\n", piece.len());
        [size.as_bytes(), piece, b"\r\n"].concat()
    });
}

/// Sends 30 MiB as a stranger, so that no memory of a password's hash lies around to hide them in,
/// and gets them back from httpbin.
#[track_caller]
fn upload(framing: &str, framed: impl Fn(&[u8]) -> Vec<u8>) {
    const SIZE: usize = 30 << 20;
    const PIECE: usize = 64 << 10;
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    gateway.ask("GET /get", &[], "").expect(200);
    let (name, value) = framing.split_once(": ").unwrap();
    let headers = [("Content-Type", "text/plain"), (name, value)];
    let head = gateway.request("PUT /put", &headers, "");
    let mut client = gateway.connect();
    let mut answer = None;
    let growth = gateway.program.growth_during(|| {
        client.send(&head);
        for at in 0..SIZE / PIECE {
            client.send(framed(&piece(at, PIECE)));
        }
        client.send(if name == "Content-Length" { Vec::new() } else { framed(&[]) });
        answer = client.answer();
    });
    let answer = answer.expect("an answer").expect(200);
    let json = answer.json();
    let echoed = json["data"].as_str().expect("text").as_bytes();
    assert_eq!(echoed.len(), SIZE);
    for (at, sent) in echoed.chunks(PIECE).enumerate() {
        assert!(sent == piece(at, PIECE), "piece {at} is another");
    }
    println!("{framing}: grew by {} KiB", growth >> 10);
    assert!(growth < 8 << 20, "grew by {growth} bytes");
}

/// Text that differs from piece to piece.
fn piece(at: usize, size: usize) -> Vec<u8> {
    format!("{at:08} ").into_bytes().into_iter().cycle().take(size).collect()
}

#[test]
fn an_application_is_told_who_asks_and_through_what_and_no_secret_of_ours() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    let bearer = gateway.bearer("alice");
    let answer = gateway.ask(
        "GET /headers",
        &[
            ("Authorization", &bearer),
            ("Remote-User", "admin"),
            ("Remote_Groups", "admin"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Prefix", "/evil"),
            ("X-App", "kept"),
        ],
        "",
    );
    let told = answer.expect(200).json()["headers"].clone();
    assert_eq!(told["Remote-User"], "alice", "{told}");
    assert_eq!(told["Remote-Groups"], "user", "{told}");
    assert_eq!(told["X-App"], "kept", "{told}");
    assert_eq!(told["Authorization"], Value::Null, "{told}");
    let shown = told.to_string();
    for forged in ["admin", "203.0.113.9", "evil"] {
        assert!(!shown.contains(forged), "{forged} came through: {told}");
    }
    gateway.ask("GET /headers", &[("Remote-User", "admin")], "").expect(401);
}

#[test]
fn an_application_gets_its_own_cookies_and_none_of_ours() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    let ours = gateway.login("alice").expect(200).cookie_header();
    let set = gateway.ask("GET /cookies/set?colour=blue", &[], "").expect(302);
    let own = set.cookie_header();
    let all = format!("{own}; {ours}; taste=sweet");
    let told = gateway.ask("GET /cookies", &[("Cookie", &all)], "").expect(200).json();
    let expected = serde_json::json!({ "cookies": { "colour": "blue", "taste": "sweet" } });
    assert_eq!(told, expected);
}

#[test]
fn what_is_compressed_stays_compressed() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    let answer = gateway.ask("GET /gzip", &[("Accept-Encoding", "gzip")], "").expect(200);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()));
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    let mut client = gateway.connect();
    let ask = |client: &mut Client, line: &str, headers: &[(&str, &str)]| {
        client.ask(gateway.request(line, headers, ""))
    };
    ask(&mut client, "GET /status/204", &[]).expect(204);
    ask(&mut client, "GET /status/304", &[]).expect(304);
    ask(&mut client, "GET /etag/tea", &[("If-None-Match", "\"tea\"")]).expect(304);
    let head = ask(&mut client, "HEAD /bytes/4096", &[]).expect(200);
    assert_eq!(head.header("content-length"), Some("4096"));
    let last = ask(&mut client, "GET /bytes/4096", &[]).expect(200);
    assert_eq!(last.body.len(), 4096);
}

#[test]
fn statuses_ranges_and_conditions_are_the_applications_own() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    for status in [201, 401, 403, 404, 409, 418, 500, 503] {
        gateway.ask(&format!("GET /status/{status}"), &[], "").expect(status);
    }
    let answer = gateway.ask("GET /range/1024", &[("Range", "bytes=10-19")], "").expect(206);
    assert_eq!(answer.text(), "klmnopqrst");
    gateway.ask("GET /etag/tea", &[("If-Match", "\"coffee\"")], "").expect(412);
    let lines = gateway.ask("GET /stream/20", &[], "").expect(200);
    assert_eq!(lines.text().lines().count(), 20);
}

#[test]
fn many_at_once_each_get_their_own_answer() {
    let (_httpbin, gateway) = Httpbin::behind_a_gateway();
    thread::scope(|scope| {
        for number in 0..16 {
            let gateway = &gateway;
            scope.spawn(move || {
                let answer = gateway.ask(&format!("GET /get?number={number}"), &[], "").expect(200);
                assert_eq!(answer.json()["args"]["number"], number.to_string());
            });
        }
    });
}
