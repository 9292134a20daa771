//! Who may guess at passwords, how fast, and what a guess tells: strangers are slowed, the owner
//! never waits for them.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use portcullis::auth::{Attempt, Change, Changed, Login};
use portcullis::secret::Secret;

use crate::deeds::{attempt, client, lines};
use crate::sessions::{LOOSE, block_on};
use crate::support::{Answer, Client, Gateway, request};

const GOOD: &str = "a long passphrase";
const MINUTE: Duration = Duration::from_secs(60);

/// A login as it comes from an address, with cookies or "".
#[track_caller]
fn login(
    gateway: &Gateway,
    from: [u8; 4],
    (user, password): (&str, &str),
    cookies: &str,
) -> Answer {
    let json = format!(r#"{{"username":"{user}","password":"{password}","transport":"cookie"}}"#);
    let mut headers = vec![("Content-Type", "application/json")];
    if !cookies.is_empty() {
        headers.push(("Cookie", cookies));
    }
    gateway.ask_from(from, ("POST /auth/login", &json), &headers)
}

/// Ten strangers of ten networks use up what strangers have for a name.
#[track_caller]
fn exhaust(gateway: &Gateway, user: &str) {
    for network in 1..=10 {
        login(gateway, [127, 0, network, 1], (user, "a guess"), "").expect(401);
    }
}

/// The device cookie of an answer, as it is sent.
#[track_caller]
fn device(answer: &Answer) -> String {
    let cookies = answer.cookies();
    let (name, value) = cookies.iter().find(|(name, _)| name.contains("pc_dev")).expect("pc_dev");
    format!("{name}={value}")
}

#[test]
fn row_55_guesses_of_strangers_slow_strangers_and_never_the_owner() {
    let gateway = Gateway::start("");
    let before = login(&gateway, [127, 0, 200, 1], ("alice", GOOD), "").expect(200);
    let out = gateway.ask("POST /auth/logout", &[("Cookie", &before.cookie_header())], "");
    let deleted = out.expect(200).cookies();
    assert!(deleted.iter().any(|(name, _)| name.contains("pc_rt")), "{deleted:?}");
    assert!(!deleted.iter().any(|(name, _)| name.contains("pc_dev")), "{deleted:?}");

    exhaust(&gateway, "alice");
    login(&gateway, [127, 0, 11, 1], ("alice", "a guess"), "").expect(429);
    login(&gateway, [127, 0, 200, 1], ("alice", GOOD), "").expect(429);
    let cookie = device(&before);
    login(&gateway, [127, 0, 201, 1], ("alice", GOOD), &cookie).expect(200);
    login(&gateway, [127, 0, 201, 1], ("alice", "mistyped"), &cookie).expect(401);
    login(&gateway, [127, 0, 202, 1], ("alice", GOOD), &cookie).expect(200);
    gateway.advance(MINUTE);
    login(&gateway, [127, 0, 11, 1], ("alice", "a guess"), "").expect(401);
    login(&gateway, [127, 0, 12, 1], ("alice", "a guess"), "").expect(429);
}

#[test]
fn the_network_of_a_live_session_is_known_until_that_session_ends() {
    let gateway = Gateway::start("");
    let session = login(&gateway, [127, 0, 50, 1], ("alice", GOOD), "").expect(200);
    exhaust(&gateway, "alice");
    login(&gateway, [127, 0, 51, 1], ("alice", GOOD), "").expect(429);
    let second = login(&gateway, [127, 0, 50, 7], ("alice", GOOD), "").expect(200);
    for live in [&session, &second] {
        gateway.ask("POST /auth/logout", &[("Cookie", &live.cookie_header())], "").expect(200);
    }
    login(&gateway, [127, 0, 50, 7], ("alice", GOOD), "").expect(429);
}

#[test]
fn a_device_cookie_counts_for_its_user_and_its_password_alone() {
    let gateway = Gateway::start("");
    let from = [127, 0, 60, 1];
    let alice = login(&gateway, from, ("alice", GOOD), "").expect(200);
    let admin = login(&gateway, from, ("admin", GOOD), "").expect(200);
    let name = portcullis::identity::Username::new("alice").unwrap();
    let users = gateway.auth().users();
    block_on(users.end_sessions(&name)).unwrap();
    exhaust(&gateway, "alice");
    let elsewhere = [127, 0, 61, 1];
    login(&gateway, elsewhere, ("alice", GOOD), &device(&admin)).expect(429);
    let twice = format!("{}; {}", device(&alice), device(&alice));
    login(&gateway, elsewhere, ("alice", GOOD), &twice).expect(429);
    login(&gateway, elsewhere, ("alice", GOOD), &device(&alice)).expect(200);
    block_on(users.set_password(&name, &String::from("another passphrase").into())).unwrap();
    login(&gateway, elsewhere, ("alice", "another passphrase"), &device(&alice)).expect(429);
}

#[test]
fn a_device_cookie_ends_after_half_a_year() {
    let gateway = Gateway::start("");
    let cookie = device(&login(&gateway, [127, 0, 60, 1], ("alice", GOOD), "").expect(200));
    for (days, status) in [(179, 200), (2, 429)] {
        gateway.advance(Duration::from_secs(days * 86_400));
        exhaust(&gateway, "alice");
        login(&gateway, [127, 0, 61, days as u8], ("alice", GOOD), &cookie).expect(status);
        let name = portcullis::identity::Username::new("alice").unwrap();
        block_on(gateway.auth().users().end_sessions(&name)).unwrap();
    }
}

#[test]
fn a_device_cookie_is_no_licence_to_guess() {
    let gateway = Gateway::start("");
    let from = [127, 0, 70, 1];
    let cookie = device(&login(&gateway, from, ("alice", GOOD), "").expect(200));
    for _ in 0..10 {
        login(&gateway, from, ("alice", "a guess"), &cookie).expect(401);
    }
    login(&gateway, from, ("alice", GOOD), &cookie).expect(429);
    login(&gateway, [127, 0, 71, 1], ("alice", "a guess"), "").expect(401);
}

#[test]
fn neighbours_who_guess_do_not_slow_the_owners_device() {
    let gateway = Gateway::start("");
    let from = [127, 0, 80, 1];
    let cookie = device(&login(&gateway, from, ("alice", GOOD), "").expect(200));
    for guess in 0..20 {
        login(&gateway, from, (&format!("nobody{guess}"), "a guess"), "").expect(401);
    }
    login(&gateway, from, ("alice", GOOD), "").expect(429);
    login(&gateway, from, ("alice", GOOD), &cookie).expect(200);
}

#[test]
fn a_name_that_nobody_has_is_slowed_like_any_other() {
    let gateway = Gateway::start("");
    exhaust(&gateway, "alice");
    let alice = login(&gateway, [127, 0, 11, 1], ("alice", "a guess"), "").expect(429);
    for nobody in ["nobody", "not a name!"] {
        exhaust(&gateway, nobody);
        let other = login(&gateway, [127, 0, 12, 1], (nobody, "a guess"), "").expect(429);
        let body = |answer: &Answer| {
            let mut json = answer.json();
            json.as_object_mut().unwrap().remove("request_id");
            json.to_string()
        };
        assert_eq!(body(&alice), body(&other));
    }
}

#[test]
fn the_device_cookie_is_written_at_each_login_and_never_else() {
    let gateway = Gateway::start("");
    let answer = login(&gateway, [127, 0, 0, 1], ("alice", GOOD), "").expect(200);
    let line = answer.all("set-cookie").find(|line| line.contains("pc_dev")).expect("pc_dev");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=15552000"] {
        assert!(line.split("; ").any(|part| part == attribute), "{attribute} in {line}");
    }
    let again = login(&gateway, [127, 0, 0, 1], ("alice", GOOD), &answer.cookie_header());
    assert_ne!(device(&answer), device(&again.expect(200)));
    let by_body = gateway.login_with("alice", r#","transport":"body""#).expect(200);
    assert_eq!(by_body.cookies(), []);
    let unpinned = gateway.login_with("alice", "").expect(200);
    assert!(unpinned.cookie("pc_dev").is_some());
    let refreshed = gateway.refresh_by_cookie(&unpinned.cookie_header()).expect(200);
    assert_eq!(refreshed.cookie("pc_dev"), None);
}

#[test]
fn a_flood_of_guesses_from_one_network_leaves_the_hashing_to_others() {
    let gateway = Gateway::start(
        "[passwords]\nargon2 = { memory = \"64 MiB\", passes = 3, lanes = 1 }\nconcurrent = 1\n",
    );
    let cookie = device(&login(&gateway, [127, 0, 90, 1], ("alice", GOOD), "").expect(200));
    let name = portcullis::identity::Username::new("alice").unwrap();
    block_on(gateway.auth().users().end_sessions(&name)).unwrap();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |n: u8| {
            let gateway = &gateway;
            move || login(gateway, [127, 0, 91, n], (&format!("nobody{n}"), "x"), "").status
        };
        let guesses: Vec<_> = (1..=12).map(|n| scope.spawn(guess(n))).collect();
        // Whoever is known, and strangers of another network, find a place in the meantime.
        login(&gateway, [127, 0, 91, 200], ("alice", GOOD), &cookie).expect(200);
        login(&gateway, [127, 0, 92, 1], ("admin", GOOD), "").expect(200);
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, 401 | 503)), "{statuses:?}");
    let busy = statuses.iter().filter(|status| **status == 503).count();
    assert!(busy >= 4, "{statuses:?}");
}

/// Few right passwords, and far more guesses.
const FEW_LOGINS: &str = r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "127.0.0.1:0"
workers = 1
[rate_limits]
login_per_ip = "1000/hour"
login_per_network = "1000/hour"
login_per_username = "40/hour"
login_per_user = "3/hour"
"#;

/// Asks until it has left five times, at the polls of these numbers in turn, and gives how often it
/// asked: on a busy machine an answer may come first, for the store may answer within a poll.
async fn leave<F: Future>(at: &[usize], ask: impl Fn() -> F) -> usize {
    let mut left = 0;
    for (asked, &poll) in (1..=30).zip(at.iter().cycle()) {
        let (mut future, mut polls) = (Box::pin(ask()), 0);
        let answer = poll_fn(|context| {
            polls += 1;
            match future.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if polls == poll => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        left += usize::from(answer.await.is_none());
        if left == 5 {
            return asked;
        }
    }
    panic!("left {left} times");
}

#[test]
fn a_login_that_is_left_counts_as_a_failure_and_locks_nobody_out() {
    let gateway = Gateway::start(FEW_LOGINS);
    // From here on, the network is known.
    gateway.login("alice");
    let auth = gateway.auth();
    let guess = || Attempt { password: Secret::new("a guess"), ..attempt() };
    block_on(async {
        // The first poll asks the store, the second one for the hash.
        let asked = leave(&[2], || auth.login(guess())).await;
        let good = auth.login(attempt()).await.unwrap();
        assert!(matches!(good, Login::Welcome(_)), "{good:?}");
        for _ in asked..40 {
            let wrong = auth.login(guess()).await.unwrap();
            assert!(matches!(wrong, Login::Refused), "{wrong:?}");
        }
        let slowed = auth.login(guess()).await.unwrap();
        assert!(matches!(slowed, Login::Wait(_)), "the guesses that were left count: {slowed:?}");
    });
    let told = lines(&gateway, "auth.login.left");
    assert_eq!(told.len(), 5, "{told:?}");
    for line in told {
        assert_eq!((&line["username"], &line["outcome"]), (&"alice".into(), &"left".into()));
    }
    let metrics = request("GET /metrics", &[("Host", "localhost"), ("Connection", "close")], "");
    let metrics = Client::connect(gateway.admin_address()).ask(metrics).text();
    assert!(metrics.contains("portcullis_login_total{outcome=\"left\"} 5"), "{metrics}");
}

#[test]
fn a_change_of_the_password_that_is_left_locks_nobody_out() {
    let gateway = Gateway::start(FEW_LOGINS);
    let access = gateway.login("alice").access;
    let parts = gateway.auth().parts();
    let caller = parts.ring.verify(&access, &parts.rules, gateway.clock.now()).unwrap();
    let change = |current: &'static str| {
        gateway.auth().change_password(Change {
            caller: &caller,
            current: Secret::new(current),
            new: Secret::new("quite another passphrase"),
            client: client(),
        })
    };
    let asked = block_on(async {
        let asked = leave(&[1, 2, 3], || change("a guess")).await;
        let changed = change("a long passphrase").await.unwrap();
        assert!(matches!(changed, Changed::Welcome(_)), "{changed:?}");
        asked
    });
    let told = lines(&gateway, "auth.password.change");
    let left = told.iter().filter(|line| line["outcome"] == "left").count();
    assert_eq!((left, told.len()), (5, asked + 1), "{told:?}");
}

/// What an imported hash costs is far from what ours cost; the floor hides it.
#[test]
fn no_failed_login_tells_by_its_time_why_it_failed() {
    tell_apart(300, 0.25);
}

#[test]
#[ignore = "slow: 12,000 failed logins, five minutes"]
fn no_failed_login_tells_by_its_time_why_it_failed_in_the_long_run() {
    tell_apart(3_000, 0.1);
}

/// Far above what a hash costs in tests, on a machine that is busy with others of them.
const FLOOR: Duration = Duration::from_millis(20);

/// Names that fail: unknown, a wrong password, disabled, and a hash of another program.
const FAILING: [&str; 4] = ["nobody", "alice", "admin", "import"];

fn tell_apart(tries: usize, bound: f64) {
    let mut gateway = Gateway::start(LOOSE);
    let bcrypt = bcrypt::hash_with_salt(GOOD, 6, [7; 16]).unwrap();
    let file = format!("username,hash\nimport,{bcrypt}\n");
    block_on(gateway.auth().users().import(&file, portcullis::auth::Mode::ForGood)).unwrap();
    let name = portcullis::identity::Username::new("admin").unwrap();
    block_on(gateway.auth().users().disable(&name)).unwrap();
    // Without the floor it would tell: or this test could not fail.
    let bare = failed_logins(&gateway, 40);
    let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let (import, wrong) = (least(&bare[3]), least(&bare[1]));
    assert!(import > 1.5 * wrong, "a dearer hash must take longer: {import} us, {wrong} us");

    gateway.failure_floor = FLOOR;
    gateway.restart();
    let times = failed_logins(&gateway, tries);
    for (one, mine) in FAILING.iter().zip(&times) {
        let median = median(mine);
        assert!(median >= FLOOR.as_secs_f64() * 1e6, "{one}: half took no more than {median} us");
        for (other, theirs) in FAILING.iter().zip(&times) {
            let effect = cliff(mine, theirs);
            assert!(effect.abs() < bound, "{one} against {other}: {effect:.3} of {tries} tries");
        }
    }
    gateway.login("alice");
    let good = (0..20).map(|_| {
        let before = Instant::now();
        gateway.login("alice");
        before.elapsed()
    });
    let quickest = good.min().unwrap();
    assert!(quickest < FLOOR, "success is not delayed: {quickest:?}");
}

/// Microseconds of each kind of failure, interleaved, over one connection.
fn failed_logins(gateway: &Gateway, tries: usize) -> [Vec<f64>; 4] {
    let host = gateway.host();
    let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
    let mut client = gateway.connect();
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut bodies = Vec::new();
    for at in 0..tries {
        gateway.advance(Duration::from_secs(3600));
        for step in 0..4 {
            // Each kind follows each other kind.
            let kind = if at % 2 == 0 { (step + at / 2) % 4 } else { (7 + at / 2 - step) % 4 };
            let password = if kind == 2 { GOOD } else { "a guess" };
            let json = format!(r#"{{"username":"{}","password":"{password}"}}"#, FAILING[kind]);
            let bytes = request("POST /auth/login", &headers, &json);
            let before = Instant::now();
            let answer = client.ask(bytes);
            times[kind].push(before.elapsed().as_secs_f64() * 1e6);
            let answer = answer.expect(401);
            bodies.push(answer.body.len());
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answers differ in length: {bodies:?}");
    times
}

/// Cliff's delta: how much more often one is greater than the other; 0 for samples of one kind.
fn cliff(one: &[f64], other: &[f64]) -> f64 {
    let signs = one.iter().flat_map(|a| other.iter().map(move |b| a.total_cmp(b) as i32));
    f64::from(signs.sum::<i32>()) / (one.len() * other.len()) as f64
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[test]
fn a_failure_that_waits_for_the_floor_keeps_nobody_else_waiting() {
    let mut gateway = Gateway::start(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"off\"\nworkers = 1\n",
    );
    gateway.failure_floor = Duration::from_secs(3);
    gateway.restart();
    let mut slow = Client::connect(gateway.address());
    let host = gateway.host();
    let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
    let json = r#"{"username":"nobody","password":"x"}"#;
    let before = Instant::now();
    slow.send(request("POST /auth/login", &headers, json));
    gateway.login("alice");
    gateway.get("/auth/ping", &[]).expect(200);
    assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
    assert_eq!(slow.answer().unwrap().status, 401);
    assert!(before.elapsed() >= Duration::from_secs(3), "{:?}", before.elapsed());
}
