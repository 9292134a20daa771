//! Another configuration for a running gateway: all of it or nothing, and no request notices.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Gateway, House, Then, Upstream, eventually, routes};

/// An upstream that answers with its name and the `X-Law` that it was told.
fn upstream(name: &'static str) -> Upstream {
    Upstream::scripted(move |seen, stream| {
        let body = format!("{name} {}", seen.header("x-law").unwrap_or("none"));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes());
        Then::KeepOpen
    })
}

/// A route whose upstream and header belong together.
fn law(name: &str, url: &str, access: &str) -> String {
    format!(
        "[[routes]]\nname = \"law-{name}\"\npath = \"/law/*\"\n{access}\nupstream = \"{url}\"\nheaders = {{ set = {{ \"X-Law\" = \"{name}\" }} }}\n"
    )
}

const PUBLIC: &str = "access = \"public\"";

#[test]
fn a_reload_changes_what_requests_are_answered_by_and_nothing_that_lasts() {
    let (a, b) = (upstream("a"), upstream("b"));
    let (before, after) = (law("a", &a.url(), PUBLIC), law("b", &b.url(), ""));
    let mut gateway = Gateway::start(&before);
    let tokens = gateway.login("alice");
    let mut client = gateway.connect();
    let ask = gateway.request("GET /law/x", &[], "");
    assert_eq!(client.ask(&ask).expect(200).text(), "a a");

    gateway.reconfigure(&before, &after);
    let told = gateway.reload().unwrap();
    assert!(told.contains("is in force, as configuration 2: 1 routes, 0 tests passed"), "{told}");
    client.ask(&ask).expect(401);
    assert_eq!(gateway.get_as("/law/x", &tokens.access).expect(200).text(), "b b");
    gateway.refresh(&tokens.refresh).expect(200);
    let log = gateway.access_log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("/law/x")).collect();
    let generations: Vec<bool> =
        lines.iter().map(|line| line.ends_with(",\"config\":1}")).collect();
    assert_eq!(generations, [true, false, false], "{log}");
}

#[test]
fn a_request_in_flight_ends_under_the_law_that_it_began_with() {
    let (asked, hears) = std::sync::mpsc::channel();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let slow = Upstream::scripted(move |_, stream| {
        asked.send(()).unwrap();
        let _ = told.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        Then::KeepOpen
    });
    let other = upstream("other");
    let before = law("a", &slow.url(), PUBLIC);
    let mut gateway = Gateway::start(&before);
    let mut busy = gateway.connect();
    busy.send(gateway.request("GET /law/x", &[], ""));
    hears.recv_timeout(Duration::from_secs(60)).expect("it reaches the upstream");
    gateway.reconfigure(&before, &law("b", &other.url(), PUBLIC));
    gateway.reload().unwrap();
    assert_eq!(gateway.get("/law/x", &[]).expect(200).text(), "other b");
    tell.send(()).unwrap();
    assert_eq!(busy.answer().expect("an answer").expect(200).text(), "slow");
}

#[test]
fn a_configuration_with_any_problem_changes_nothing() {
    let a = upstream("a");
    let good = law("a", &a.url(), PUBLIC);
    let mut gateway = Gateway::start(&good);
    let listen = "listen = \"127.0.0.1:0\"";
    let test = "[[tests]]\nrequest = \"GET /law/x\"\nexpect = 403\n";
    let nowhere = "file:/nowhere/access.log";
    let cases = [
        (listen, "listen = \"127.0.0.1:1\"", "`server.listen` cannot change"),
        ("workers = 2", "workers = 3", "`server.workers` cannot change"),
        ("admin = \"off\"", "admin = \"127.0.0.1:1\"", "`server.admin` cannot change"),
        ("/data\"", "/other\"", "`server.data_dir` cannot change"),
        ("name = \"law-a\"", "nane = \"law-a\"", "unknown key `nane`"),
        ("[[routes]]", &format!("{test}[[routes]]"), "a [[tests]] of the configuration fails"),
        ("file:FOLDER/access.log", nowhere, "cannot open the log: /nowhere/access.log"),
    ];
    for (from, to, told) in cases {
        let from = from.replace("FOLDER", &gateway.folder().display().to_string());
        gateway.reconfigure(&from, to);
        // Beside the fault, a change that would show.
        gateway.reconfigure("\"X-Law\" = \"a\"", "\"X-Law\" = \"b\"");
        let refused = gateway.reload().expect_err(told);
        assert!(refused.contains(told), "{told}: {refused}");
        assert_eq!(gateway.get("/law/x", &[]).expect(200).text(), "a a", "{told}");
        gateway.reconfigure(to, &from);
        gateway.reconfigure("\"X-Law\" = \"b\"", "\"X-Law\" = \"a\"");
    }
    assert!(gateway.reload().unwrap().contains("as configuration 2:"), "refused ones do not count");
}

#[test]
fn a_file_that_was_cut_short_takes_no_route_away() {
    let a = upstream("a");
    let rule = law("a", &a.url(), PUBLIC);
    let mut gateway = Gateway::start(&rule);
    gateway.reconfigure(&rule, "");
    let refused = gateway.reload().unwrap_err();
    assert!(refused.contains("has no [[routes]] any more, and 1 are in force"), "{refused}");
    assert!(refused.ends_with("restart the gateway"), "{refused}");
    assert_eq!(gateway.get("/law/x", &[]).expect(200).text(), "a a");
}

#[test]
fn every_refusal_names_the_remedy() {
    let mut gateway = Gateway::start("");
    gateway.reconfigure("workers = 2", "workers = 1");
    let refused = gateway.reload().unwrap_err();
    assert!(
        refused.ends_with("restart the gateway for it, or put the old value back"),
        "{refused}"
    );
}

#[test]
fn what_is_kept_outside_of_the_routes_follows_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start_in(folder, "[rate_limits]\nlogin_per_user = \"2/hour\"\n");
    gateway.login("alice");
    gateway.login("alice");
    gateway.login_with("alice", "").expect(429);
    // Equal quotas forget nothing.
    gateway.reload().unwrap();
    gateway.login_with("alice", "").expect(429);
    gateway.reconfigure("2/hour", "3/hour");
    gateway.reconfigure("[rate_limits]", "[tokens]\naccess_ttl = \"2m\"\n[rate_limits]");
    gateway.reconfigure(
        "name = \"admin\"\nroles = [\"admin\"]",
        "name = \"carol\"\nroles = [\"editor\"]",
    );
    gateway.reconfigure("\"admin\", \"editor\", \"user\"", "\"editor\", \"user\"");
    gateway.reconfigure("[auth]", "[auth]\nadmin_role = \"\"");
    let told = gateway.reload().unwrap();
    assert!(
        told.contains("user admin has the role admin, which auth.roles does not list"),
        "{told}"
    );
    let answer = gateway.login_with("alice", ",\"transport\":\"body\"").expect(200);
    let life: u64 = answer.member("expires_in").parse().unwrap();
    assert!((96..=120).contains(&life), "{life}");
    gateway.login("carol");
    gateway.login("admin");
}

#[test]
fn a_store_that_does_not_say_who_has_which_role_is_told_of() {
    let mut gateway = Gateway::start("[sessions]\nidle = \"12h\"\n");
    gateway.login("alice");
    // What the reload does to the store makes the users unreadable for what it asks next.
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    let breaks =
        "CREATE TRIGGER breaks AFTER UPDATE ON sessions BEGIN UPDATE users SET roles = '?'; END";
    database.execute_batch(breaks).unwrap();
    gateway.reconfigure("idle = \"12h\"", "idle = \"1h\"\nremember_idle = \"1h\"");
    let told = gateway.reload().unwrap();
    let line = "warning: whether users have roles that auth.roles does not list is not known: ";
    assert!(told.contains(line), "{told}");
}

#[test]
fn servers_of_a_refused_configuration_are_forgotten() {
    let (a, b) = (upstream("a"), upstream("b"));
    let admin =
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\nadmin = \"127.0.0.1:0\"\n";
    let mut gateway = Gateway::start(&(admin.to_owned() + &law("a", &a.url(), PUBLIC)));
    let known = |gateway: &Gateway, url: &str| {
        let admin = gateway.admin_address();
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        let metrics = crate::support::Client::connect(admin).ask(ask).text();
        metrics.contains(&format!("server=\"{url}\""))
    };
    assert!(known(&gateway, &a.url()));
    // Its user has more roles than a token can tell, which is found out last.
    let roles: Vec<String> = (0..150).map(|n| format!("role-of-a-very-long-name-{n:03}")).collect();
    let refused = format!(
        "[[bootstrap]]\nname = \"bob\"\nroles = {roles:?}\npassword = \"a long passphrase\"\n\
         [[routes]]\npath = \"/b/*\"\nupstream = \"{}\"\n",
        b.url()
    );
    let listed = format!(
        "roles = {:?}",
        [&["admin".into(), "editor".into(), "user".into()], &roles[..]].concat()
    );
    gateway.reconfigure("roles = [\"admin\", \"editor\", \"user\"]", &listed);
    gateway.reconfigure("[[routes]]", &format!("{refused}[[routes]]"));
    let told = gateway.reload().unwrap_err();
    assert!(told.contains("so many roles do not fit"), "{told}");
    assert!(known(&gateway, &a.url()) && !known(&gateway, &b.url()));
}

#[test]
fn a_reload_after_days_throttles_nobody() {
    let gateway = Gateway::start("");
    for _ in 0..3 {
        gateway.advance(Duration::from_secs(3 * 24 * 60 * 60));
        let tokens = gateway.login("alice");
        gateway.reload().unwrap();
        gateway.refresh(&tokens.refresh).expect(200);
        gateway.login("alice");
    }
}

#[test]
fn a_shared_secret_is_rotated_by_two_reloads() {
    let (old, new) = ("an old secret of the gateway, long", "a new secret of the gateway, long");
    let upstream = Upstream::hello();
    let secrets = |all: &str| format!("[tokens]\nalgorithm = \"HS256\"\nsecret = [{all}]");
    let (only_old, only_new) = (format!("\"{old}\""), format!("\"{new}\""));
    let both = format!("{only_new}, {only_old}");
    let mut gateway = Gateway::start(&(secrets(&only_old) + &routes(&upstream.url())));
    let before = gateway.login("alice");
    gateway.reconfigure(&secrets(&only_old), &secrets(&both));
    gateway.reload().unwrap();
    gateway.get_as("/x", &before.access).expect(200);
    let after = gateway.refresh(&before.refresh).expect(200).member("access_token");
    gateway.reconfigure(&secrets(&both), &secrets(&only_new));
    gateway.reload().unwrap();
    gateway.get_as("/x", &before.access).expect(401);
    gateway.get_as("/x", &after).expect(200);
}

#[test]
fn the_bounds_of_connections_and_heads_follow() {
    let a = upstream("a");
    let mut gateway = Gateway::start(&law("a", &a.url(), PUBLIC));
    let long = format!("GET /law/{}", "x".repeat(3000));
    gateway.get(&long[4..], &[]).expect(200);
    gateway.reconfigure("workers = 2", "workers = 2\nlimits = { headers = \"2 KiB\" }");
    gateway.reload().unwrap();
    let status = gateway.get(&long[4..], &[]).status;
    assert!(matches!(status, 414 | 431), "{status}");
    gateway.reconfigure("limits = { headers = \"2 KiB\" }", "max_connections = 1");
    gateway.reload().unwrap();
    eventually("the connections before have gone", || {
        let mut first = gateway.connect();
        first.send(gateway.request("GET /law/x", &[], ""));
        first.answer().filter(|answer| answer.status == 200)
    });
}

#[test]
fn unchanged_upstreams_keep_their_warm_connections() {
    let (a, b) = (upstream("a"), upstream("b"));
    let before = law("a", &a.url(), PUBLIC);
    let mut gateway = Gateway::start(&before);
    let mut client = gateway.connect();
    let ask = gateway.request("GET /law/x", &[], "");
    client.ask(&ask).expect(200);
    let more = format!(
        "[[routes]]\npath = \"/b/*\"\naccess = \"public\"\nupstream = \"{}\"\n{before}",
        b.url()
    );
    gateway.reconfigure(&before, &more);
    gateway.reload().unwrap();
    client.ask(&ask).expect(200);
    assert_eq!(a.connections(), 1, "the connection before the reload is used again");
}

/// Clients ask without a pause while configurations come and go; what each answer may be.
fn storm(reloads: usize) {
    let (a, b) = (upstream("a"), upstream("b"));
    let laws = [law("a", &a.url(), PUBLIC), law("b", &b.url(), "access = \"optional\"")];
    let mut gateway = Gateway::start(&laws[0]);
    let (door, done, asked) = (*gateway, AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ask = door.request("GET /law/x", &[], "");
                let mut client = door.connect();
                while !done.load(Ordering::Relaxed) {
                    let text = client.ask(&ask).expect(200).text();
                    assert!(["a a", "b b"].contains(&text.as_str()), "a mixture: {text}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..reloads {
                let before = asked.load(Ordering::Relaxed);
                gateway.reconfigure(&laws[number % 2], &laws[(number + 1) % 2]);
                gateway.reload().unwrap();
                let now = if number % 2 == 0 { "b b" } else { "a a" };
                assert_eq!(door.get("/law/x", &[]).expect(200).text(), now, "reload {number}");
                eventually("clients go on", || {
                    (asked.load(Ordering::Relaxed) > before).then_some(())
                });
            }
        }));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn reloads_under_load_fail_no_request_and_mix_no_configurations() {
    storm(30);
}

#[test]
#[ignore = "slow: a thousand reloads"]
fn a_thousand_reloads_under_load_fail_no_request() {
    storm(1000);
}

#[test]
fn a_hangup_and_the_command_reload_the_file() {
    let a = upstream("a");
    let mut house = House::new(&(routes(&a.url()) + &law("a", &a.url(), PUBLIC)));
    house.run(&["reload"]).expect(2).tells(&["no gateway runs on the data folder"]);
    let gateway = house.start();
    assert_eq!(house.get("/law/x", &[]).expect(200).text(), "a a");
    house.reconfigure("\"X-Law\" = \"a\"", "\"X-Law\" = \"b\"");
    gateway.signal(Signal::HUP);
    eventually("the hangup reloads", || {
        (house.get("/law/x", &[]).expect(200).text() == "a b").then_some(())
    });
    house.reconfigure("\"X-Law\" = \"b\"", "\"X-Law\" = \"c\"");
    house.run(&["reload"]).expect(0).tells(&["is in force, as configuration 3"]);
    assert_eq!(house.get("/law/x", &[]).expect(200).text(), "a c");
    let metrics = house.ask_admin("/metrics").expect(200).text();
    for line in [
        "portcullis_config_generation 3\n",
        "portcullis_config_last_reload_successful 1\n",
        "portcullis_config_reloads_total{outcome=\"success\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }

    house.reconfigure("workers = 2", "workers = 1");
    house.run(&["reload"]).expect(1).tells(&[
        "not reloaded, the configuration in force stays",
        "`server.workers` cannot change while the gateway runs: the threads run",
    ]);
    house.reconfigure("workers = 1", "wrokers = 2");
    house.run(&["reload"]).expect(1).tells(&["unknown key `wrokers`", "did you mean `workers`?"]);
    gateway.signal(Signal::HUP);
    eventually("the hangup tells the problem", || {
        gateway.said().contains("did you mean `workers`?").then_some(())
    });
    let metrics = house.ask_admin("/metrics").expect(200).text();
    assert!(metrics.contains("portcullis_config_last_reload_successful 0\n"), "{metrics}");
    assert_eq!(house.get("/law/x", &[]).expect(200).text(), "a c");
    gateway.stop();
}
