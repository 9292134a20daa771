//! How a gateway ends: asked to, asked twice, and killed.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::sessions::row;
use crate::support::{Gateway, House, Then, Upstream, eventually, routes};

/// An upstream that answers `/slow` when it is told to; the receiver hears of each such request.
fn slow_upstream() -> (Upstream, Receiver<()>, Sender<()>) {
    let (asked, hears) = channel();
    let (tell, told) = channel();
    let told = Arc::new(Mutex::new(told));
    let upstream = Upstream::scripted(move |seen, stream| {
        if seen.line() == "GET /public/slow" {
            asked.send(()).expect("the test waits for it");
            // An end of the channel is an answer too: the test is over.
            let _ = told.lock().unwrap().recv();
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        Then::KeepOpen
    });
    (upstream, hears, tell)
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_stop_finishes_what_was_begun_and_lets_nobody_in() {
    let (upstream, asked, tell) = slow_upstream();
    let house = House::new(&routes(&upstream.url()));
    let mut gateway = house.start();
    let mut parked = house.connect();
    let ping = house.request("GET /auth/ping", &[], "");
    parked.ask(&ping).expect(200);
    let mut busy = house.connect();
    busy.send(house.request("GET /public/slow", &[], ""));
    asked.recv_timeout(PATIENCE).expect("the request reaches the upstream");
    assert_eq!(house.ask_admin("/readyz").expect(200).text(), "ready\n");

    gateway.signal(Signal::TERM);
    assert!(parked.is_closed(), "a connection without a request is closed");
    let draining = eventually("readyz tells the drain", || {
        Some(house.ask_admin("/readyz")).filter(|answer| answer.status == 503)
    });
    assert_eq!(draining.text(), "draining\n");
    house.ask_admin("/healthz").expect(200);
    eventually("nobody is let in", || {
        std::net::TcpStream::connect(house.address()).is_err().then_some(())
    });

    tell.send(()).expect("the upstream waits");
    let answer = busy.answer().expect("the request in flight is answered").expect(200);
    assert_eq!(answer.text(), "done");
    assert!(busy.is_closed(), "and its connection is closed");
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.said());
}

#[test]
fn a_second_signal_ends_at_once() {
    for signals in [[Signal::TERM; 2], [Signal::INT, Signal::TERM]] {
        let (upstream, asked, _tell) = slow_upstream();
        let house = House::new(&routes(&upstream.url()));
        let mut gateway = house.start();
        let mut busy = house.connect();
        busy.send(house.request("GET /public/slow", &[], ""));
        asked.recv_timeout(PATIENCE).expect("the request reaches the upstream");
        gateway.signal(signals[0]);
        eventually("the drain begins", || {
            Some(house.ask_admin("/readyz")).filter(|answer| answer.status == 503)
        });
        gateway.signal(signals[1]);
        assert_eq!(gateway.end().code(), Some(0), "{}", gateway.said());
        assert!(busy.answer().is_none(), "the request in flight is given up");
    }
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let (upstream, asked, _tell) = slow_upstream();
    let mut house = House::new(&routes(&upstream.url()));
    house.reconfigure("workers = 2", "workers = 2\ntimeouts = { drain = \"1s\" }");
    let mut gateway = house.start();
    let mut busy = house.connect();
    busy.send(house.request("GET /public/slow", &[], ""));
    asked.recv_timeout(PATIENCE).expect("the request reaches the upstream");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.said());
    assert!(busy.answer().is_none(), "the request in flight is given up");
}

#[test]
fn a_stop_tells_of_an_ending_that_nobody_waits_for_any_more() {
    let mut gateway = Gateway::start("");
    let alice = gateway.login("alice");
    let store = Connection::open(gateway.database()).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = gateway.connect();
    let json = [("Content-Type", "application/json")];
    let body = format!(r#"{{"refresh_token":"{}"}}"#, alice.refresh);
    client.send(gateway.request("POST /auth/logout", &json, &body));
    eventually("the logout is under way", || {
        (!gateway.auth().revocations().is_empty()).then_some(())
    });
    drop(client);
    let (log, address) = (gateway.folder().join("audit.log"), gateway.address());
    std::thread::scope(|scope| {
        scope.spawn(|| gateway.stop());
        eventually("the stop is under way", || TcpStream::connect(address).err());
        store.execute_batch("ROLLBACK").unwrap();
    });
    let told = std::fs::read_to_string(log).unwrap();
    assert!(told.contains("\"auth.logout\""), "{told}");
}

#[test]
fn a_stop_finishes_the_logouts_that_the_store_did_not_take() {
    let mut gateway = Gateway::start("");
    let login = gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    let store = Connection::open(gateway.database()).unwrap();
    store.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    let answer = gateway.ask("POST /auth/logout", &[("Cookie", &cookies)], "").expect(503);
    assert_eq!(answer.member("code"), "logout_unfinished");
    store.execute_batch("ALTER TABLE away RENAME TO sessions").unwrap();
    gateway.stop();
    let reason = row(&gateway, &login.member("session_id"), "revoke_reason");
    assert_eq!(reason.as_deref(), Some("logout"));
}

#[test]
fn a_stop_without_the_store_says_how_many_logouts_are_lost() {
    let house = House::new("");
    let mut gateway = house.start();
    let logins = [(); 2].map(|()| house.login_by_cookie("alice").cookie_header());
    let store = Connection::open(house.path("data/portcullis.db")).unwrap();
    store.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    for cookies in &logins {
        house.ask("POST /auth/logout", &[("Cookie", cookies)], "").expect(503);
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.said());
    let said = gateway.said();
    assert!(said.contains("logouts lost: 2; "), "{said}");
}

#[test]
fn a_hangup_opens_the_logs_again_and_kills_nothing() {
    let house = House::new("");
    let gateway = house.start();
    let mut client = house.connect();
    let ping = house.request("GET /auth/me", &[], "");
    client.ask(&ping).expect(401);
    eventually("the first line", || house.text("access.log").contains("/auth/me").then_some(()));
    std::fs::rename(house.path("access.log"), house.path("old.log")).unwrap();
    gateway.signal(Signal::HUP);
    eventually("a new log", || {
        client.ask(&ping).expect(401);
        house.text("access.log").contains("/auth/me").then_some(())
    });
    gateway.stop();
}

#[test]
fn a_killed_gateway_hinders_no_restart() {
    let house = House::new("");
    let mut gateway = house.start();
    let tokens = house.login("alice");
    gateway.kill();
    let left = house.data();
    for stale in ["control.sock 0600", "lock 0600"] {
        assert!(left.iter().any(|name| name == stale), "{stale}: {left:?}");
    }
    house.run(&["user", "list"]).expect(0).tells(&["alice"]);
    let gateway = house.start();
    house.refresh(&tokens.refresh).expect(200);
    house.run(&["user", "list"]).expect(0).tells(&["alice"]);
    gateway.stop();
}

#[test]
fn a_command_beside_a_gateway_that_does_not_answer_says_so() {
    let house = House::new("");
    let mut gateway = house.start();
    gateway.kill();
    // As a gateway does between taking its lock and listening.
    let lock = std::fs::File::open(house.path("data/lock")).unwrap();
    lock.lock().unwrap();
    let said = house.run(&["user", "list"]).expect(2);
    let folder = house.path("data").display().to_string();
    assert!(!said.err.contains("stop it"), "{said:?}");
    said.tells(&["another command", "a gateway that starts or stops", &folder, "try again"]);
    drop(lock);
    house.run(&["user", "list"]).expect(0);
}
