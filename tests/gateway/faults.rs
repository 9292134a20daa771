//! What used to go wrong quietly: at a stop, when too much is said of a user, when the store is away
//! for a while and when the clock jumps.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use portcullis::auth::Profiles;
use portcullis::identity::Username;
use rusqlite::Connection;
use serde_json::json;

use crate::deeds::leaving;
use crate::sessions::{block_on, row};
use crate::support::{Gateway, House, Upstream, eventually, routes};

#[test]
fn a_stop_leaves_one_file_of_the_store() {
    let mut gateway = Gateway::start("");
    gateway.login("alice");
    gateway.stop();
    let left: Vec<String> = fs::read_dir(gateway.folder().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("portcullis.db") && !name.ends_with(".lock"))
        .collect();
    assert_eq!(left, ["portcullis.db"]);
}

#[test]
fn a_user_has_no_more_roles_than_a_token_can_tell() {
    let roles: Vec<String> = (0..150).map(|n| format!("role-of-a-very-long-name-{n:03}")).collect();
    let gateway = Gateway::start(&format!(
        "[rate_limits]\nadmin_per_user = \"1000/minute\"\n[auth]\nroles = {:?}",
        [&["admin".into()], &roles[..], &["user".into()]].concat()
    ));
    let bearer = format!("Bearer {}", gateway.login("admin").access);
    let put = |roles: &[String]| {
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        let body = json!({ "roles": roles }).to_string();
        gateway.ask("PUT /auth/admin/users/alice/roles", &headers, &body)
    };
    let refused = put(&roles).expect(400);
    assert!(refused.text().contains("so many roles do not fit"), "{}", refused.text());
    // As many as go: whoever has them can sign in, by cookie too.
    let most = (1..=roles.len()).rev().find(|most| put(&roles[..*most]).status == 200).unwrap();
    assert!((40..roles.len()).contains(&most), "{most}");
    gateway.login_by_cookie("alice");
}

#[test]
fn names_and_addresses_are_bounded_whoever_sets_them() {
    let house = House::new("");
    let long = "x".repeat(201);
    for text in [&*long, "a\nb", "a\u{85}b"] {
        for key in ["--name", "--email"] {
            let arguments = ["user", "add", "bob", "--role", "user", key, text, "--generate"];
            let said = house.run(&arguments);
            assert_eq!(said.code, Some(1), "{key} {text:?}: {said:?}");
            said.tells(&["is one line of at most 200 characters"]);
        }
    }
    let hash = house.run_typing(&["hash"], "quite another passphrase\n").expect(0).out;
    fs::write(
        house.path("users.csv"),
        format!("username,hash,name\nbob,\"{}\",{long}\n", hash.trim()),
    )
    .unwrap();
    let said = house.run(&["user", "import", &house.path("users.csv").display().to_string()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    said.tells(&["a full name is one line of at most 200 characters"]);
    house.run(&["user", "show", "bob"]).expect(1);
}

#[test]
fn a_data_folder_that_others_may_use_is_told_of_and_left_alone() {
    let house = House::new("");
    let folder = house.path("data");
    fs::create_dir(&folder).unwrap();
    house.give_away(&folder);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    let gateway = house.start();
    let said = gateway.said();
    assert!(said.contains("others than its owner may use the data folder"), "{said}");
    assert!(said.contains("mode 0750"), "{said}");
    let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o750);
    gateway.stop();
}

/// Somebody else holds the store's lock for so long.
fn away_for(how_long: Duration) {
    let upstream = Upstream::hello();
    let house = House::new(&routes(&upstream.url()));
    let gateway = house.start();
    let [alice, leaving] = [(); 2].map(|()| house.login("alice"));
    let cookies = house.login_by_cookie("alice").cookie_header();
    let logout = || {
        let body = format!(r#"{{"refresh_token":"{}"}}"#, leaving.refresh);
        house.post_json("/auth/logout", &[], &body)
    };
    let store_up = || {
        let page = house.ask_admin("/metrics").expect(200).text();
        let value = page.lines().find_map(|line| line.strip_prefix("portcullis_store_up "));
        value.expect("the gauge").to_owned()
    };
    let store = Connection::open(house.path("data/portcullis.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < how_long {
        let refreshes = [house.refresh(&alice.refresh), house.refresh_by_cookie(&cookies)];
        for refresh in &refreshes {
            assert_eq!(refresh.cookies(), [], "no cookie is touched");
        }
        let refreshes = refreshes.map(|refused| (refused, "store_unavailable"));
        for (refused, code) in refreshes.into_iter().chain([(logout(), "logout_unfinished")]) {
            let refused = refused.expect(503);
            assert_eq!(refused.member("code"), code);
            assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
        }
        house.get_as("/x", &alice.access).expect(200);
        house.get("/x", &[("Cookie", &cookies)]).expect(200);
        house.get_as("/x", &leaving.access).expect(401);
        let unready = house.ask_admin("/readyz").expect(503).text();
        assert!(unready.starts_with("the store does not answer: "), "{unready}");
        assert_eq!(store_up(), "0");
    }
    store.execute_batch("ROLLBACK").unwrap();

    // Nobody asks again for the logout that was refused.
    eventually("it is finished", || {
        let sql = "SELECT count(*) FROM sessions WHERE revoke_reason = 'logout'";
        (store.query_row(sql, [], |row| row.get(0)) == Ok(1)).then_some(())
    });
    eventually("it is ready", || (house.ask_admin("/readyz").status == 200).then_some(()));
    assert_eq!(store_up(), "1");
    let next = house.refresh(&alice.refresh).expect(200).member("refresh_token");
    let cookies = house.refresh_by_cookie(&cookies).expect(200).cookie_header();
    let said = gateway.stop();
    assert_eq!(said.matches("the store fails: ").count(), 1, "{said}");
    let audit = fs::read_to_string(house.path("audit.log")).unwrap();
    assert_eq!(audit.matches(r#""event":"auth.logout""#).count(), 1, "{audit}");
    let gateway = house.start();
    house.refresh(&next).expect(200);
    house.refresh_by_cookie(&cookies).expect(200);
    house.refresh(&leaving.refresh).expect(401);
    house.get_as("/x", &leaving.access).expect(401);
    gateway.stop();
}

#[test]
fn a_store_that_is_away_for_a_moment_loses_no_session_and_no_logout() {
    away_for(Duration::from_secs(1));
}

#[test]
#[ignore = "slow: half a minute"]
fn a_store_that_is_away_for_half_a_minute_loses_no_session_and_no_logout() {
    away_for(Duration::from_secs(30));
}

const HOUR: i64 = 60 * 60 * 1000;

#[test]
fn a_clock_that_jumps_for_hours_either_way_signs_nobody_out() {
    let gateway = Gateway::start("");
    let mut token = gateway.login("alice").refresh;
    let mut cookies = gateway.login_by_cookie("alice").cookie_header();
    for jump in [5 * HOUR, -5 * HOUR, -7 * HOUR, 7 * HOUR] {
        gateway.clock.jump(jump);
        let answer = gateway.refresh(&token).expect(200);
        gateway.get_as("/auth/me", &answer.member("access_token")).expect(200);
        token = answer.member("refresh_token");
        let answer = gateway.refresh_by_cookie(&cookies).expect(200);
        cookies = answer.cookie_header();
        gateway.get("/auth/me", &[("Cookie", &cookies)]).expect(200);
        gateway.login("admin");
        gateway.advance(Duration::from_secs(60));
    }
}

#[test]
fn a_clock_that_is_put_back_signs_no_slow_tab_out() {
    let gateway = Gateway::start("");
    let login = gateway.login_by_cookie("alice");
    let slow = login.cookie_header();
    gateway.advance(Duration::from_secs(60));
    let quick = gateway.refresh_by_cookie(&slow).expect(200).cookie_header();
    for back in [-60_000, -HOUR] {
        gateway.clock.jump(back);
        gateway.refresh_by_cookie(&quick).expect(200);
        gateway.refresh_by_cookie(&slow).expect(200);
        assert_eq!(row(&gateway, &login.member("session_id"), "gen").as_deref(), Some("1"));
    }
    gateway.advance(Duration::from_secs(30));
    let next = gateway.refresh_by_cookie(&quick).expect(200).cookie_header();
    gateway.refresh_by_cookie(&slow).expect(401);
    gateway.refresh_by_cookie(&next).expect(401);
}

#[test]
fn a_session_that_a_jump_seemed_to_end_is_known_again_soon_after_it() {
    let gateway = Gateway::start("");
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let me = || gateway.get("/auth/me", &[("Cookie", &cookies)]);
    gateway.clock.jump(40 * 24 * HOUR);
    me().expect(401);
    gateway.clock.jump(-40 * 24 * HOUR);
    // So that the access token has run out.
    let refresh = cookies.split("; ").find(|cookie| cookie.contains("pc_rt")).unwrap();
    gateway.advance(Duration::from_secs(6));
    gateway.get("/auth/me", &[("Cookie", refresh)]).expect(200);
}

#[test]
fn a_login_while_the_clock_was_ahead_is_not_recent_for_so_much_longer() {
    let gateway = Gateway::start("");
    gateway.clock.jump(5 * HOUR);
    let alice = gateway.login("alice");
    gateway.clock.jump(-5 * HOUR);
    let access = gateway.refresh(&alice.refresh).expect(200).member("access_token");
    let bearer = format!("Bearer {access}");
    let refused = gateway.post_json("/auth/logout-all", &[("Authorization", &bearer)], "{}");
    assert_eq!(refused.expect(401).member("code"), "reauth_required");
}

/// By the access token alone, which by the right time is from the future.
#[test]
fn a_logout_by_a_token_of_a_clock_that_was_ahead_ends_its_session() {
    let gateway = Gateway::start("");
    gateway.clock.jump(5 * HOUR);
    let alice = gateway.login("alice");
    gateway.clock.jump(-5 * HOUR);
    gateway.get_as("/auth/me", &alice.access).expect(401);
    let bearer = format!("Bearer {}", alice.access);
    gateway.post_json("/auth/logout", &[("Authorization", &bearer)], "{}").expect(200);
    assert_eq!(row(&gateway, &alice.session, "revoke_reason").as_deref(), Some("logout"));
    gateway.refresh(&alice.refresh).expect(401);
}

/// The store is away for longer than anybody waits, and then does what it was asked.
#[test]
fn what_ends_after_its_answer_is_told_all_the_same() {
    let gateway = Gateway::start("");
    let alice = gateway.login("alice");
    let bearer = format!("Bearer {}", alice.access);
    let lock = Connection::open(gateway.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // As many as go into one transaction, which waits for the lock first: then comes the next.
    for _ in 0..64 {
        gateway.auth().store().touch(Vec::new());
    }
    let refused = gateway.post_json("/auth/logout-all", &[("Authorization", &bearer)], "{}");
    assert_eq!(refused.expect(503).member("code"), "store_unavailable");
    lock.execute_batch("ROLLBACK").unwrap();
    let line = format!(r#""sid":"{}""#, alice.session);
    eventually("it is told", || {
        let audit = gateway.audit();
        let mut told = audit.lines().filter(|told| told.contains("auth.session.revoked"));
        told.any(|told| told.contains(&line)).then_some(())
    });
    gateway.refresh(&alice.refresh).expect(401);
}

#[test]
fn a_session_that_ended_stays_ended_when_the_clock_jumps_ahead_and_back() {
    let gateway = Gateway::start("");
    let alice = gateway.login("alice");
    let body = format!(r#"{{"refresh_token":"{}"}}"#, alice.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    // As the office does every minute.
    let sweep = || {
        gateway.advance(Duration::from_secs(60));
        gateway.auth().revocations().sweep(gateway.clock.now(), gateway.clock.uptime());
    };
    sweep();
    gateway.clock.jump(5 * HOUR);
    sweep();
    gateway.clock.jump(-5 * HOUR);
    sweep();
    let refused = gateway.get_as("/auth/me", &alice.access).expect(401);
    assert_eq!(refused.member("code"), "session_revoked", "{}", refused.text());
}

#[test]
fn a_start_while_the_clock_is_ahead_forgets_nothing() {
    let mut gateway = Gateway::start(ISSUER);
    let (ended, lives) = (gateway.login("alice"), gateway.login("alice"));
    let body = format!(r#"{{"refresh_token":"{}"}}"#, ended.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    gateway.stop();
    // So far that the next key is due: that it was made tells that the house was kept.
    let ahead = 100 * 24 * HOUR;
    gateway.clock.jump(ahead);
    gateway.restart();
    eventually("the house is kept", || gateway.audit().contains("auth.key.rotated").then_some(()));
    gateway.clock.jump(-ahead);
    for _ in 0..2 {
        let refused = gateway.get_as("/auth/me", &ended.access).expect(401);
        assert_eq!(refused.member("code"), "session_revoked", "{}", refused.text());
        gateway.restart();
    }
    gateway.refresh(&lives.refresh).expect(200);
}

/// The same at each start, whatever the port.
const ISSUER: &str = "[tokens]\nissuer = \"https://app.example.com\"\n";

#[test]
fn a_sweep_while_the_clock_is_ahead_forgets_no_ending() {
    let mut gateway = Gateway::start(ISSUER);
    let alice = gateway.login("alice");
    let body = format!(r#"{{"refresh_token":"{}"}}"#, alice.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    gateway.clock.jump(5 * HOUR);
    block_on(gateway.auth().store().sweep()).unwrap();
    gateway.restart();
    gateway.clock.jump(-5 * HOUR);
    gateway.restart();
    let refused = gateway.get_as("/auth/me", &alice.access).expect(401);
    assert_eq!(refused.member("code"), "session_revoked", "{}", refused.text());
}

#[test]
fn a_profile_that_was_read_before_a_change_is_not_kept() {
    let gateway = Gateway::start("");
    let auth = gateway.auth();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (alice, admin) = runtime.block_on(async {
        let id = async |user| auth.users().show(&Username::new(user).unwrap()).await.unwrap().id;
        (id("alice").await, id("admin").await)
    });
    let mut read_before = 0;
    for round in 0..1000 {
        let (old, new) = (Some(format!("{round}")), Some(format!("{round}, changed")));
        let change = async |name: &Option<String>| {
            let _ = auth.store().set_profile(alice, name.clone(), None).await.unwrap();
            auth.parts().changes.happened();
        };
        let profiles = Profiles::default();
        runtime.block_on(async {
            change(&old).await;
            let mut early = Box::pin(auth.profile(&profiles, alice));
            if leaving(1, &mut early).await.is_some() {
                return;
            }
            change(&new).await;
            // Another request of this worker notices the change.
            let _ = auth.profile(&profiles, admin).await.unwrap();
            read_before += usize::from(early.await.unwrap().name == old);
            assert_eq!(auth.profile(&profiles, alice).await.unwrap().name, new);
        });
        if read_before == 10 {
            return;
        }
    }
    panic!("it was read before the change {read_before} times");
}

#[test]
fn a_login_that_the_store_does_not_take_is_counted_whenever_it_fails() {
    let house = House::new("");
    let gateway = house.start();
    let store = Connection::open(house.path("data/portcullis.db")).unwrap();
    let mut counted = 0;
    for broken in [
        "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT raise(ABORT, 'no room'); END",
        "DROP TRIGGER full; ALTER TABLE users RENAME TO away",
    ] {
        store.execute_batch(broken).unwrap();
        house.try_password("alice", "a long passphrase").expect(503);
        counted += 1;
        let metrics = house.ask_admin("/metrics").expect(200).text();
        let told = format!("portcullis_login_total{{outcome=\"unavailable\"}} {counted}\n");
        assert!(metrics.contains(&told), "{metrics}");
    }
    gateway.stop();
}
