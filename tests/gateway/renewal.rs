//! Cookies that renew themselves inside any request, and the rows of the state machine that
//! browsers meet: behaviours by their numbers in `docs/sessions.md`.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use portcullis::auth::{Client, Peek};
use portcullis::telemetry::RequestId;

use crate::sessions::{LOOSE, block_on, row};
use crate::support::{Answer, Gateway, Then, Upstream, request, routes};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

struct House {
    gateway: Gateway,
    upstream: Upstream,
}

impl House {
    fn new() -> Self {
        Self::with(Upstream::hello())
    }

    fn with(upstream: Upstream) -> Self {
        let gateway = Gateway::start(&format!("{LOOSE}{}", routes(&upstream.url())));
        Self { gateway, upstream }
    }

    fn get(&self, cookies: &str) -> Answer {
        self.gateway.get("/x", &[("Cookie", cookies)])
    }

    fn generation(&self, login: &Answer) -> String {
        row(&self.gateway, &login.member("session_id"), "gen").unwrap()
    }
}

/// `name=value` of the refresh cookie alone.
fn refresh_only(answer: &Answer) -> String {
    let (name, value) =
        answer.cookies().into_iter().find(|(name, _)| name.contains("pc_rt")).expect("a pc_rt");
    format!("{name}={value}")
}

#[test]
fn row_11_a_retry_inside_the_window_gets_the_same_successor() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(MINUTE);
    let first = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    house.gateway.advance(29 * SECOND);
    let again = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    assert_eq!(first.cookie("pc_rt"), again.cookie("pc_rt"));
    assert_ne!(first.cookie("pc_at"), again.cookie("pc_at"));
    assert_eq!(house.generation(&login), "1");
}

#[test]
fn rows_12_and_13_the_current_token_is_kept_inside_the_window_and_rotated_after_it() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(29 * SECOND);
    let early = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    assert_eq!(early.cookie("pc_rt"), login.cookie("pc_rt"));
    assert_eq!(house.generation(&login), "0");
    house.gateway.advance(SECOND);
    let late = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    assert_ne!(late.cookie("pc_rt"), login.cookie("pc_rt"));
    assert_eq!(house.generation(&login), "1");
}

#[test]
fn row_14_a_previous_token_after_the_window_is_a_thief_once_its_successor_was_seen() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(MINUTE);
    let next = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    house.get(&next.cookie_header()).expect(200);
    house.gateway.advance(MINUTE);
    let refused = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(401);
    assert_eq!(refused.member("code"), "refresh_reused");
    assert_eq!(refused.cookies(), [], "a failed refresh deletes no cookies");
    house.get(&next.cookie_header()).expect(401);
}

#[test]
fn row_15_two_generations_behind_is_a_thief_at_any_time() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(MINUTE);
    let next = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    house.gateway.advance(MINUTE);
    house.gateway.refresh_by_cookie(&next.cookie_header()).expect(200);
    let refused = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(401);
    assert_eq!(refused.member("code"), "refresh_reused");
}

#[test]
fn row_16_parallel_refreshes_are_one_rotation_with_one_successor() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let mut cookies = login.cookie_header();
    for round in 1..=60 {
        house.gateway.advance(MINUTE);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let refreshes: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| house.gateway.refresh_by_cookie(&cookies)))
                .collect();
            refreshes.into_iter().map(|refresh| refresh.join().unwrap()).collect()
        });
        let mut successors: Vec<_> =
            answers.iter().map(|answer| answer.clone().expect(200).cookie("pc_rt")).collect();
        successors.sort();
        successors.dedup();
        assert_eq!(successors.len(), 1, "round {round}");
        assert_eq!(house.generation(&login), round.to_string());
        cookies = answers[0].cookie_header();
    }
}

/// The limit counts what rotates, and of these only one does.
#[test]
fn row_16_sixty_tabs_that_wake_at_once_are_all_answered() {
    let gateway = Gateway::start("");
    let login = gateway.login_by_cookie("alice");
    gateway.advance(MINUTE);
    let cookies = login.cookie_header();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let tabs: Vec<_> =
            (0..60).map(|_| scope.spawn(|| gateway.refresh_by_cookie(&cookies))).collect();
        tabs.into_iter().map(|tab| tab.join().unwrap()).collect()
    });
    let mut successors: Vec<_> =
        answers.into_iter().map(|answer| answer.expect(200).cookie("pc_rt")).collect();
    successors.dedup();
    assert_eq!(successors.len(), 1);
    let generation = row(&gateway, &login.member("session_id"), "gen");
    assert_eq!(generation.as_deref(), Some("1"));
}

#[test]
fn row_18_a_replay_does_not_make_the_window_longer() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let old = login.cookie_header();
    house.gateway.advance(MINUTE);
    let next = house.gateway.refresh_by_cookie(&old).expect(200);
    house.gateway.advance(15 * SECOND);
    house.gateway.refresh_by_cookie(&old).expect(200);
    house.gateway.advance(14 * SECOND);
    house.gateway.refresh_by_cookie(&old).expect(200);
    house.get(&next.cookie_header()).expect(200);
    house.gateway.advance(2 * SECOND);
    house.gateway.refresh_by_cookie(&old).expect(401);
}

#[test]
fn row_36_a_new_role_is_in_force_on_the_next_request_and_nobody_is_signed_out() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    house.gateway.get("/admin/x", &[("Cookie", &cookies)]).expect(403);
    let name = portcullis::identity::Username::new("alice").unwrap();
    let roles = vec![portcullis::identity::Role::new("admin").unwrap()];
    block_on(house.gateway.auth().users().set_roles(&name, roles)).unwrap();
    let answer = house.gateway.get("/admin/x", &[("Cookie", &cookies)]).expect(200);
    assert_eq!(house.upstream.last().header("remote-groups"), Some("admin"));
    assert!(answer.cookie("pc_at").is_some(), "the renewed token says the new role");
    let renewed = answer.cookie_header();
    house.gateway.get("/admin/x", &[("Cookie", &renewed)]).expect(200);
}

#[test]
fn row_48_a_page_after_the_access_token_ended_is_served_and_renewed() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: app=1\r\nCache-Control: public, max-age=9\r\n\r\nok",
    );
    let house = House::with(upstream);
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let answer = house.get(&login.cookie_header()).expect(200);
    assert_eq!(house.upstream.only().header("remote-user"), Some("alice"));
    let names: Vec<_> = answer.cookies().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "app");
    assert!(answer.header("cache-control").unwrap().contains("private"));
    let renewed = house.get(&answer.cookie_header()).expect(200);
    assert_eq!(renewed.cookie("pc_rt"), None, "nothing to renew");
    house.get(&refresh_only(&answer)).expect(200);
}

#[test]
fn no_shared_cache_keeps_the_tokens_of_a_renewal_on_a_public_route() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=9\r\n\r\nok",
    );
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/files/*"
access = "public"
upstream = "{url}"
[[routes]]
path = "/files/private/*"
upstream = "{url}"
"#
    ));
    let login = gateway.login_by_cookie("alice");
    gateway.advance(20 * MINUTE);
    // A public path with a reading that is not: the caller matters, and is told to nobody.
    let cookies = login.cookie_header();
    let answer = gateway.get("/files//private/x", &[("Cookie", &cookies)]).expect(200);
    assert_eq!(upstream.only().header("remote-user"), None);
    assert!(answer.cookie("pc_at").is_some());
    assert_eq!(answer.header("cache-control"), Some("max-age=9, private"));
}

#[test]
fn a_token_near_its_end_is_renewed_early() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let life: u64 = login.member("expires_in").parse().unwrap();
    house.gateway.advance(Duration::from_secs(life - 25));
    assert_eq!(house.get(&login.cookie_header()).expect(200).cookie("pc_at"), None);
    house.gateway.advance(10 * SECOND);
    assert!(house.get(&login.cookie_header()).expect(200).cookie("pc_at").is_some());
}

#[test]
fn rows_49_and_66_many_files_at_once_are_one_read_and_one_rotation() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let cookies = login.cookie_header();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let files: Vec<_> = (0..120).map(|_| scope.spawn(|| house.get(&cookies))).collect();
        files.into_iter().map(|file| file.join().unwrap()).collect()
    });
    let mut successors: Vec<_> =
        answers.iter().filter_map(|answer| answer.clone().expect(200).cookie("pc_rt")).collect();
    assert_eq!(successors.len(), 120);
    successors.sort();
    successors.dedup();
    assert_eq!(successors.len(), 1);
    assert_eq!(house.generation(&login), "1");
}

#[test]
fn row_50_a_session_that_is_over_is_401_for_programs_without_deletions() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let logout = refresh_only(&login);
    house.gateway.ask("POST /auth/logout", &[("Cookie", &logout)], "").expect(200);
    house.gateway.advance(20 * MINUTE);
    for _ in 0..2 {
        let refused = house.get(&login.cookie_header()).expect(401);
        assert_eq!(refused.member("code"), "session_revoked");
        assert_eq!(refused.cookies(), []);
    }
    assert_eq!(house.upstream.seen().len(), 0);
}

#[test]
fn a_refresh_cookie_makes_nobody_known_beyond_a_jump_over_its_sessions_end() {
    let house = House::new();
    let refresh = refresh_only(&house.gateway.login_by_cookie("alice"));
    house.get(&refresh).expect(200);
    house.gateway.clock.jump(31 * 24 * 60 * 60 * 1000);
    let refused = house.get(&refresh).expect(401);
    assert_eq!(refused.member("code"), "token_expired");
}

#[test]
fn row_51_a_form_sent_after_the_end_arrives_whole_and_once() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let body = "x".repeat(100_000);
    let cookies = login.cookie_header();
    let answer = house.gateway.ask("POST /x", &[("Cookie", &cookies)], &body).expect(200);
    assert_eq!(house.upstream.only().body, body.as_bytes());
    assert!(answer.cookie("pc_at").is_some() && answer.cookie("pc_rt").is_some());
}

#[test]
fn a_renewal_needs_the_origin_too() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let cookies = refresh_only(&login);
    let evil = [("Cookie", cookies.as_str()), ("Sec-Fetch-Site", "cross-site")];
    house.gateway.ask("POST /x", &evil, "").expect(403);
    assert_eq!(house.generation(&login), "0");
    assert_eq!(house.upstream.seen().len(), 0);
}

#[test]
fn rows_52_and_53_an_outage_signs_nobody_out() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.get(&login.cookie_header()).expect(200);
    let database = rusqlite::Connection::open(house.gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    house.get(&login.cookie_header()).expect(200);
    let refused = house.gateway.refresh_by_cookie(&login.cookie_header()).expect(503);
    refused.header("retry-after").unwrap().parse::<u64>().unwrap();
    assert_eq!(refused.cookies(), []);
    house.gateway.login_with("alice", "").expect(503);
    let refresh = refresh_only(&login);
    let page = house.get(&refresh).expect(503);
    assert_eq!(page.cookies(), []);
    database.execute_batch("ALTER TABLE away RENAME TO sessions").unwrap();
    house.gateway.advance(2 * SECOND);
    house.get(&refresh).expect(200);
    house.gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
}

#[test]
fn a_logout_that_is_asked_for_again_after_an_outage_is_told_once() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    let leave = || house.gateway.ask("POST /auth/logout", &[("Cookie", &cookies)], "");
    let database = rusqlite::Connection::open(house.gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    leave().expect(503);
    database.execute_batch("ALTER TABLE away RENAME TO sessions").unwrap();
    leave().expect(200);
    block_on(house.gateway.auth().finish_logouts());
    let audit = house.gateway.audit();
    assert_eq!(audit.matches(r#""event":"auth.logout""#).count(), 1, "{audit}");
    assert_eq!(audit.matches(r#""event":"auth.session.revoked""#).count(), 1, "{audit}");
}

#[test]
fn row_52_a_logout_during_an_outage_is_not_claimed_and_is_finished_later() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    let database = rusqlite::Connection::open(house.gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    let answer = house.gateway.ask("POST /auth/logout", &[("Cookie", &cookies)], "").expect(503);
    assert_eq!(answer.member("code"), "logout_unfinished");
    assert!(answer.all("set-cookie").all(|line| line.contains("Max-Age=0")), "{answer:?}");
    assert_eq!(answer.cookies().len(), 3);
    house.get(&cookies).expect(401);
    database.execute_batch("ALTER TABLE away RENAME TO sessions").unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while row(&house.gateway, &login.member("session_id"), "revoke_reason").is_none() {
        assert!(std::time::Instant::now() < deadline, "the logout was forgotten");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nothing_renews_a_session_whose_logout_is_unfinished() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    let auth = house.gateway.auth();
    let client = Client {
        address: [127, 0, 0, 1].into(),
        agent: None,
        request_id: RequestId::new(auth.now()),
    };
    let token = login.cookie("pc_rt").unwrap();
    let peeked = block_on(auth.peek(&token, client)).unwrap();
    let Peek::Known { renewal, .. } = peeked else { panic!("{peeked:?}") };
    house.gateway.advance(MINUTE);
    let database = rusqlite::Connection::open(house.gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    house.gateway.ask("POST /auth/logout", &[("Cookie", &cookies)], "").expect(503);
    database.execute_batch("ALTER TABLE away RENAME TO sessions").unwrap();
    assert!(block_on(auth.renew(renewal)).is_none());
    let refused = house.gateway.refresh_by_cookie(&cookies).expect(401);
    assert_eq!((refused.member("code"), refused.cookies().len()), ("session_revoked".into(), 0));
}

#[test]
fn rows_62_and_64_rotation_waits_for_the_answers_head() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::scripted(move |seen, stream| {
        if seen.line().ends_with("/slow") {
            let _ = wait.lock().unwrap().recv();
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Then::KeepOpen
    });
    let house = House::with(upstream);
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let cookies = login.cookie_header();
    let host = house.gateway.host();
    let slow = request("GET /slow", &[("Host", &host), ("Cookie", &cookies)], "");

    let mut left = house.gateway.connect();
    left.send(&slow);
    await_requests(&house.upstream, 1);
    assert_eq!(house.generation(&login), "0", "nothing before the head");
    drop(left);
    go.send(()).unwrap();

    let mut waiting = house.gateway.connect();
    waiting.send(&slow);
    await_requests(&house.upstream, 2);
    house.gateway.advance(40 * SECOND);
    let other = house.get(&cookies).expect(200);
    house.gateway.advance(15 * SECOND);
    go.send(()).unwrap();
    let answer = waiting.answer().expect("an answer").expect(200);
    assert_eq!(house.generation(&login), "1", "one step for both");
    assert_eq!(answer.cookie("pc_rt"), other.cookie("pc_rt"));
}

/// By whoever holds the cookie: the thing is done, and no rotation finds a thief out.
#[test]
fn a_request_that_is_left_before_its_answer_rotates_nothing_and_is_told() {
    let (gone, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::scripted(move |_, _| {
        let _ = wait.lock().unwrap().recv();
        Then::Close
    });
    let house = House::with(upstream);
    let login = house.gateway.login_by_cookie("alice");
    let (host, cookie) = (house.gateway.host(), refresh_only(&login));
    let headers = [("Host", &*host), ("Cookie", &*cookie), ("Content-Length", "0")];
    house.gateway.advance(MINUTE);
    let mut left = house.gateway.connect();
    left.send(request("POST /x", &headers, ""));
    await_requests(&house.upstream, 1);
    drop(left);
    let line = crate::support::eventually("it is told", || {
        let log = house.gateway.access_log();
        log.lines().find(|line| line.contains(r#""path":"/x""#)).map(str::to_owned)
    });
    let session = format!(r#""session":"{}""#, login.member("session_id"));
    assert!(line.contains(&session) && line.contains(r#""aborted":true"#), "{line}");
    assert!(!line.contains("status"), "{line}");
    assert_eq!(house.generation(&login), "0");
    gone.send(()).unwrap();
}

#[test]
fn row_63_a_loop_of_long_polls_never_ends() {
    let house = House::new();
    let mut cookies = house.gateway.login_by_cookie("alice").cookie_header();
    for _ in 0..50 {
        house.gateway.advance(55 * SECOND);
        let answer = house.get(&cookies).expect(200);
        if answer.cookie("pc_rt").is_some() {
            cookies = answer.cookie_header();
        }
    }
}

#[test]
fn row_65_a_lost_reply_costs_the_owner_nothing_and_a_stranger_everything() {
    let house = House::new();
    let agent = ("User-Agent", "Firefox");
    let login = house.gateway.post_json(
        "/auth/login",
        &[agent],
        r#"{"username":"alice","password":"a long passphrase","transport":"cookie"}"#,
    );
    let old = refresh_only(&login.clone().expect(200));
    let lose_a_reply = || {
        house.gateway.advance(20 * MINUTE);
        house.gateway.get("/x", &[("Cookie", &old), agent]).expect(200);
        house.gateway.advance(10 * MINUTE);
    };
    lose_a_reply();
    let answer = house.gateway.get("/x", &[("Cookie", &old), agent]).expect(200);
    assert!(answer.cookie("pc_rt").is_some(), "the successor, again");
    assert_eq!(house.generation(&login), "1");
    let thief = house.gateway.get("/x", &[("Cookie", &old), ("User-Agent", "curl")]).expect(401);
    assert_eq!(thief.cookies(), []);
    assert_eq!(
        row(&house.gateway, &login.member("session_id"), "revoke_reason").as_deref(),
        Some("reuse")
    );
}

/// A thief who uses the access token beside the cookie cannot look like a lost reply.
#[test]
fn an_access_token_as_bearer_confirms_its_rotation_like_a_cookie() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let taken = house.get(&refresh_only(&login)).expect(200).cookie("pc_at").unwrap();
    house.gateway.get_as("/auth/sessions", &taken).expect(200);
    // The worker waits for no confirmation; whoever asks the store's writer now comes after it.
    block_on(house.gateway.auth().store().ping()).unwrap();
    house.gateway.advance(10 * MINUTE);
    house.get(&refresh_only(&login)).expect(401);
    let reason = row(&house.gateway, &login.member("session_id"), "revoke_reason");
    assert_eq!(reason.as_deref(), Some("reuse"));
}

#[test]
fn a_session_that_lives_by_its_body_is_not_renewed_by_a_cookie() {
    let house = House::new();
    let unpinned = house.gateway.login_with("alice", "").expect(200);
    house.gateway.advance(20 * MINUTE);
    let refused = house.get(&unpinned.cookie_header()).expect(401);
    let after = house.get(&refresh_only(&unpinned)).expect(401);
    for answer in [refused, after] {
        assert_eq!(answer.member("code"), "token_expired");
        let detail = answer.member("detail");
        assert!(detail.contains("`\"transport\": \"cookie\"`"), "{detail}");
    }
    let session = unpinned.member("session_id");
    assert_eq!(row(&house.gateway, &session, "revoked_at"), None, "and not ended by it");
    house.gateway.refresh(&unpinned.member("refresh_token")).expect(200);
}

#[test]
fn our_own_endpoints_renew_too_but_those_that_handle_tokens() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let me = house.gateway.get("/auth/me", &[("Cookie", &refresh_only(&login))]).expect(200);
    assert_eq!(me.member("username"), "alice");
    assert!(me.cookie("pc_at").is_some());
    assert_eq!(house.generation(&login), "1");
}

#[test]
fn an_optional_route_takes_a_dead_session_for_nobody() {
    let house = House::new();
    let login = house.gateway.login_by_cookie("alice");
    house.gateway.advance(20 * MINUTE);
    let cookies = refresh_only(&login);
    house.gateway.get("/optional/x", &[("Cookie", &cookies)]).expect(200);
    assert_eq!(house.upstream.last().header("remote-user"), Some("alice"));
    house.gateway.advance(Duration::from_secs(40 * 24 * 3600));
    house.gateway.get("/optional/x", &[("Cookie", &cookies)]).expect(200);
    assert_eq!(house.upstream.last().header("remote-user"), None);
}

fn await_requests(upstream: &Upstream, count: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while upstream.seen().len() < count {
        assert!(std::time::Instant::now() < deadline, "{count} requests did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A token of just before a rotation, and of its second, says nothing of the rotation's reply.
#[test]
fn what_was_given_before_a_rotation_does_not_confirm_it() {
    let gateway = Gateway::start("");
    let login = gateway.login_by_cookie("alice").cookie_header();
    gateway.advance(Duration::from_millis(30_100));
    let first = gateway.refresh_by_cookie(&login).expect(200);
    gateway.advance(Duration::from_millis(29_950));
    let again = gateway.refresh_by_cookie(&first.cookie_header()).expect(200);
    assert_eq!(again.cookie("pc_rt"), first.cookie("pc_rt"));
    gateway.advance(Duration::from_millis(150));
    let lost = gateway.refresh_by_cookie(&again.cookie_header()).expect(200);
    assert_ne!(lost.cookie("pc_rt"), first.cookie("pc_rt"));
    gateway.get("/auth/me", &[("Cookie", &again.cookie_header())]).expect(200);
    block_on(gateway.auth().store().ping()).unwrap();
    gateway.advance(Duration::from_secs(70));
    let found = gateway.refresh_by_cookie(&again.cookie_header()).expect(200);
    assert_eq!(found.cookie("pc_rt"), lost.cookie("pc_rt"));
}
