//! Login, refresh, logout and the session list over HTTP: the behaviours by their numbers in
//! `docs/sessions.md`.

use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Answer, Gateway, Tokens, Upstream, eventually};

const MINUTE: Duration = Duration::from_secs(60);

fn database(gateway: &Gateway) -> Connection {
    Connection::open(gateway.database()).expect("the database opens")
}

/// One number of the only, or latest, session's row.
pub fn row(gateway: &Gateway, session: &str, column: &str) -> Option<String> {
    let id: Vec<u8> = session
        .replace('-', "")
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    database(gateway)
        .query_row(
            &format!("SELECT CAST({column} AS TEXT) FROM sessions WHERE sid = ?1"),
            [id],
            |row| row.get(0),
        )
        .expect("the session has a row")
}

fn without_request_id(answer: &Answer) -> String {
    let mut json = answer.json();
    json.as_object_mut().unwrap().remove("request_id");
    json.to_string()
}

#[test]
fn row_1_a_good_login_gives_a_pair_and_keeps_no_token() {
    let gateway = Gateway::start("");
    let answer = gateway.login_with("alice", r#","transport":"body""#).expect(200);
    assert_eq!(answer.member("token_type"), "bearer");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.cookies(), [], "a body session gets no cookies");
    let tokens = Tokens::of(&answer);
    assert_eq!(row(&gateway, &tokens.session, "gen").as_deref(), Some("0"));
    let database = gateway.database();
    for file in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{file}", database.display())).unwrap_or_default();
        for token in [&tokens.refresh, &tokens.access] {
            let kept =
                bytes.windows(24).any(|window| token.as_bytes().windows(24).any(|t| t == window));
            assert!(!kept, "a part of a token lies in the database{file}");
        }
    }
}

#[test]
fn row_4_wrong_unknown_and_disabled_look_the_same() {
    let gateway = Gateway::start("");
    let name = portcullis::identity::Username::new("admin").unwrap();
    block_on(gateway.auth().users().disable(&name)).unwrap();
    let ask = |user: &str, password: &str| {
        let json = format!(r#"{{"username":"{user}","password":"{password}"}}"#);
        gateway.post_json("/auth/login", &[], &json).expect(401)
    };
    let wrong = ask("alice", "not hers");
    for (user, password) in
        [("nobody", "x"), ("admin", "a long passphrase"), ("not a name!", "x"), ("alice", "")]
    {
        let other = ask(user, password);
        assert_eq!(without_request_id(&wrong), without_request_id(&other), "{user}");
        let names = |answer: &Answer| {
            answer
                .headers
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "date" | "content-length" | "x-request-id" => name.clone(),
                    _ => format!("{name}: {value}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&wrong), names(&other), "{user}");
        assert_eq!(wrong.body.len(), other.body.len());
    }
    assert_eq!(wrong.member("code"), "invalid_credentials");
    assert_eq!(wrong.member("error"), "invalid_grant");
    assert_eq!(wrong.cookies(), []);
}

#[test]
fn row_5_a_login_ends_the_session_of_the_cookie_it_came_with() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let first = gateway.login_by_cookie("alice");
    let cookies = first.cookie_header();
    gateway.get("/x", &[("Cookie", &cookies)]).expect(200);
    let json = r#"{"username":"alice","password":"a long passphrase","transport":"cookie"}"#;
    let second = gateway.post_json("/auth/login", &[("Cookie", &cookies)], json).expect(200);
    assert_ne!(first.member("session_id"), second.member("session_id"));
    let old = first.member("session_id");
    assert_eq!(row(&gateway, &old, "revoke_reason").as_deref(), Some("replaced"));
    let refused = gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    assert_eq!(refused.member("code"), "session_revoked");
    gateway.get("/x", &[("Cookie", &second.cookie_header())]).expect(200);
}

#[test]
fn row_7_a_refresh_gives_a_new_pair() {
    let gateway = Gateway::start("");
    let before = gateway.login("alice");
    let after = Tokens::of(&gateway.refresh(&before.refresh).expect(200));
    assert_ne!(before.refresh, after.refresh);
    assert_ne!(before.access, after.access);
    assert_eq!(before.session, after.session);
    assert_eq!(row(&gateway, &before.session, "gen").as_deref(), Some("1"));
}

#[test]
fn row_8_a_replayed_body_token_ends_its_family() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let before = gateway.login("alice");
    let after = Tokens::of(&gateway.refresh(&before.refresh).expect(200));
    gateway.get_as("/x", &after.access).expect(200);
    let refused = gateway.refresh(&before.refresh).expect(401);
    assert_eq!(refused.member("code"), "refresh_reused");
    assert_eq!(refused.member("error"), "invalid_grant");
    assert!(!refused.member("detail").is_empty());
    assert_eq!(refused.cookies(), [], "a failed refresh never deletes cookies");
    assert_eq!(row(&gateway, &before.session, "revoke_reason").as_deref(), Some("reuse"));
    gateway.refresh(&after.refresh).expect(401);
    for access in [before.access, after.access] {
        gateway.get_as("/x", &access).expect(401);
    }
    assert!(gateway.audit().contains("reuse"), "{}", gateway.audit());
}

#[test]
fn rows_9_and_10_a_keyed_retry_gets_the_same_successor_and_any_other_ends_the_session() {
    let gateway = Gateway::start("");
    let retry = |token: &str, key: &str| {
        let json = format!(r#"{{"refresh_token":"{token}"}}"#);
        gateway.post_json("/auth/refresh", &[("Idempotency-Key", key)], &json)
    };
    let tokens = gateway.login("alice");
    let first = retry(&tokens.refresh, "0123456789abcdef").expect(200);
    gateway.advance(Duration::from_secs(119));
    let again = retry(&tokens.refresh, "0123456789abcdef").expect(200);
    assert_eq!(first.member("refresh_token"), again.member("refresh_token"));
    assert_ne!(first.member("access_token"), again.member("access_token"));
    assert_eq!(row(&gateway, &tokens.session, "gen").as_deref(), Some("1"));
    let other = retry(&tokens.refresh, "fedcba9876543210").expect(401);
    assert_eq!(other.member("code"), "refresh_reused");

    let tokens = gateway.login("alice");
    retry(&tokens.refresh, "0123456789abcdef").expect(200);
    gateway.refresh(&tokens.refresh).expect(401);
    assert_eq!(row(&gateway, &tokens.session, "revoke_reason").as_deref(), Some("reuse"));

    let tokens = gateway.login("alice");
    retry(&tokens.refresh, "0123456789abcdef").expect(200);
    gateway.advance(Duration::from_secs(120));
    retry(&tokens.refresh, "0123456789abcdef").expect(401);
}

#[test]
fn an_idempotency_key_that_is_too_short_is_refused_and_changes_nothing() {
    let gateway = Gateway::start("");
    let tokens = gateway.login("alice");
    let json = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
    gateway.post_json("/auth/refresh", &[("Idempotency-Key", "short")], &json).expect(400);
    gateway.refresh(&tokens.refresh).expect(200);
}

#[test]
fn row_19_a_mangled_token_is_refused_without_a_look_at_the_store() {
    let gateway = Gateway::start("");
    let good = gateway.login("alice").refresh;
    let flipped = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut mangled = vec![
        flipped(good.len() - 2),
        flipped(10),
        good[..good.len() - 1].to_owned(),
        format!("{good}="),
        format!("{good}A"),
        "pcr_".to_owned() + &"A".repeat(10_000 - 4),
        good.replace("pcr_", ""),
        String::new(),
    ];
    // The last character holds bits that no byte uses: every other of its spellings is no token.
    let last = good.chars().last().unwrap();
    mangled.extend(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            .chars()
            .filter(|c| *c != last)
            .map(|c| good[..good.len() - 1].to_owned() + &c.to_string()),
    );
    // A store that cannot be read would answer 503.
    let hidden = gateway.database().with_extension("hidden");
    database(&gateway).execute_batch("ALTER TABLE sessions RENAME TO hidden").unwrap();
    for token in &mangled {
        let status = if token.len() > 8_000 { 413 } else { 401 };
        let answer = gateway.refresh(token).expect(status);
        if status == 401 {
            assert_eq!(answer.member("code"), "refresh_invalid", "{token}");
        }
        assert_eq!(answer.cookies(), []);
    }
    gateway.refresh(&good).expect(503);
    database(&gateway).execute_batch("ALTER TABLE hidden RENAME TO sessions").unwrap();
    drop(hidden);
    gateway.refresh(&good).expect(200);
}

#[test]
fn row_20_nobody_ends_a_session_by_guessing_its_token() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let gateway = Gateway::start("");
    let good = gateway.login("alice").refresh;
    let mut bytes = URL_SAFE_NO_PAD.decode(&good[4..]).unwrap();
    // Everything but the session's id and generation is guessed.
    for byte in bytes.iter_mut().skip(1 + 1 + 16 + 8) {
        *byte ^= 0x5a;
    }
    let guess = format!("pcr_{}", URL_SAFE_NO_PAD.encode(&bytes));
    let refused = gateway.refresh(&guess).expect(401);
    assert_eq!(refused.member("code"), "refresh_invalid");
    let logout = format!(r#"{{"refresh_token":"{guess}"}}"#);
    gateway.post_json("/auth/logout", &[], &logout).expect(200);
    gateway.refresh(&good).expect(200);
}

#[test]
fn row_21_a_store_that_was_rolled_back_ends_the_session() {
    let gateway = Gateway::start("");
    let tokens = gateway.login("alice");
    let columns = "gen, cur_hash, prev_hash, rot_salt";
    let saved: (i64, Vec<u8>) = database(&gateway)
        .query_row("SELECT gen, cur_hash FROM sessions", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let newer = Tokens::of(&gateway.refresh(&tokens.refresh).expect(200));
    database(&gateway)
        .execute(
            &format!("UPDATE sessions SET ({columns}) = (?1, ?2, NULL, NULL)"),
            rusqlite::params![saved.0, saved.1],
        )
        .unwrap();
    gateway.refresh(&newer.refresh).expect(401);
    let reason = row(&gateway, &tokens.session, "revoke_reason");
    assert_eq!(reason.as_deref(), Some("store_rollback"));
    let audit = gateway.audit();
    let line = audit.lines().find(|line| line.contains("store_rollback")).expect(&audit);
    assert!(line.contains("error"), "{line}");
}

#[test]
fn row_22_a_token_that_changes_its_transport_ends_the_session() {
    let gateway = Gateway::start("");
    let by_cookie = gateway.login_by_cookie("alice");
    let token = by_cookie.cookie("pc_rt").unwrap();
    gateway.refresh(&token).expect(401);
    let session = by_cookie.member("session_id");
    assert_eq!(row(&gateway, &session, "revoke_reason").as_deref(), Some("transport"));

    let name = by_cookie.cookies().into_iter().find(|(name, _)| name.contains("pc_rt")).unwrap().0;
    let tokens = gateway.login("alice");
    gateway.refresh_by_cookie(&format!("{name}={}", tokens.refresh)).expect(401);
    let reason = row(&gateway, &tokens.session, "revoke_reason");
    assert_eq!(reason.as_deref(), Some("transport"));
}

#[test]
fn an_unpinned_login_gives_both_and_the_first_refresh_pins_it() {
    let gateway = Gateway::start("");
    let answer = gateway.login_with("alice", "").expect(200);
    let tokens = Tokens::of(&answer);
    assert_eq!(answer.cookie("pc_rt").as_deref(), Some(tokens.refresh.as_str()));
    assert_eq!(row(&gateway, &tokens.session, "transport").as_deref(), Some("0"));
    let next = Tokens::of(&gateway.refresh(&tokens.refresh).expect(200));
    assert_eq!(row(&gateway, &tokens.session, "transport").as_deref(), Some("2"));
    let name = answer.cookies().into_iter().find(|(name, _)| name.contains("pc_rt")).unwrap().0;
    gateway.refresh_by_cookie(&format!("{name}={}", next.refresh)).expect(401);
}

#[test]
fn row_23_a_cookie_and_a_body_token_of_two_sessions_are_refused() {
    let gateway = Gateway::start("");
    let one = gateway.login_with("alice", "").expect(200);
    let other = gateway.login_with("alice", "").expect(200);
    let body = format!(r#"{{"refresh_token":"{}"}}"#, other.member("refresh_token"));
    let cookies = one.cookie_header();
    let refused = gateway.post_json("/auth/refresh", &[("Cookie", &cookies)], &body).expect(400);
    assert_eq!(refused.member("code"), "invalid_request");
    // A script's cookie jar sends the cookie of the same session along.
    let own = other.cookie_header();
    gateway.post_json("/auth/refresh", &[("Cookie", &own)], &body).expect(200);
    gateway.refresh(&one.member("refresh_token")).expect(200);
}

#[test]
fn row_24_a_session_ends_when_idle_and_absolutely() {
    let gateway =
        Gateway::start("[sessions]\nremember_idle = \"1h\"\nremember_absolute = \"3h\"\n");
    let idle = gateway.login("alice");
    gateway.advance(61 * MINUTE);
    assert_eq!(gateway.refresh(&idle.refresh).expect(401).member("code"), "session_expired");

    let mut busy = gateway.login_by_cookie("alice");
    let mut last = u64::MAX;
    for _ in 0..3 {
        gateway.advance(50 * MINUTE);
        busy = gateway.refresh_by_cookie(&busy.cookie_header()).expect(200);
        let line = busy.all("set-cookie").find(|line| line.contains("pc_rt")).unwrap().to_owned();
        let max_age: u64 = line
            .split("Max-Age=")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .and_then(|age| age.trim().parse().ok())
            .expect(&line);
        assert!(max_age <= 3600 && max_age <= last, "{max_age} after {last}");
        last = max_age;
    }
    assert!(last <= 1800, "it must shrink near the absolute end: {last}");
    gateway.advance(31 * MINUTE);
    let refused = gateway.refresh_by_cookie(&busy.cookie_header()).expect(401);
    assert_eq!(refused.member("code"), "session_expired");
    assert_eq!(refused.cookies(), []);
}

#[test]
fn row_25_logout_is_success_whatever_the_token_and_ends_what_it_knows() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let logout = |token: &str| {
        let body = format!(r#"{{"refresh_token":"{token}"}}"#);
        let answer = gateway.post_json("/auth/logout", &[], &body).expect(200);
        assert_eq!(answer.text(), r#"{"ok":true}"#);
        let deleted: Vec<_> = answer.all("set-cookie").collect();
        for name in ["pc_at", "pc_rt", "pc_own"] {
            let line = deleted.iter().find(|line| line.contains(name)).expect(name);
            assert!(line.contains("Max-Age=0"), "{line}");
        }
        assert!(!deleted.iter().any(|line| line.contains("pc_dev")), "{deleted:?}");
    };
    let current = gateway.login("alice");
    logout(&current.refresh);
    gateway.get_as("/x", &current.access).expect(401);
    gateway.refresh(&current.refresh).expect(401);

    let previous = gateway.login("alice");
    let next = Tokens::of(&gateway.refresh(&previous.refresh).expect(200));
    logout(&previous.refresh);
    gateway.get_as("/x", &next.access).expect(401);

    let expired = gateway.login("alice");
    gateway.advance(16 * MINUTE);
    let bearer = format!("Bearer {}", expired.access);
    gateway.ask("POST /auth/logout", &[("Authorization", &bearer)], "").expect(200);
    gateway.refresh(&expired.refresh).expect(401);

    let by_cookie = gateway.login_by_cookie("alice");
    let cookies = by_cookie.cookie_header();
    gateway.ask("POST /auth/logout", &[("Cookie", &cookies)], "").expect(200);
    gateway.refresh_by_cookie(&cookies).expect(401);

    logout("garbage");
    gateway.ask("POST /auth/logout", &[], "").expect(200);
}

#[test]
fn the_access_line_of_a_logout_names_the_session_and_the_user_where_a_token_does() {
    let gateway = Gateway::start("");
    // Written once the answer is out.
    let last = |session: &str| {
        let names = format!(r#""session":"{session}""#);
        let is_it =
            |line: &&str| line.contains(r#""path":"/auth/logout""#) && line.contains(&names);
        eventually("the logout has its line", || {
            gateway.access_log().lines().find(is_it).map(str::to_owned)
        })
    };
    let script = gateway.login("alice");
    let bearer = format!("Bearer {}", script.access);
    gateway.ask("POST /auth/logout", &[("Authorization", &bearer)], "").expect(200);
    let line = last(&script.session);
    assert!(line.contains(r#""user":"alice""#), "{line}");

    let browser = gateway.login_by_cookie("alice");
    let cookies = browser.cookie_header();
    let session = gateway.get("/auth/me", &[("Cookie", &cookies)]).expect(200).member("sid");
    gateway.ask("POST /auth/logout", &[("Cookie", &cookies)], "").expect(200);
    let line = last(&session);
    assert!(line.contains(r#""user":"alice""#), "{line}");

    // A refresh token tells no name.
    let script = gateway.login("alice");
    let body = format!(r#"{{"refresh_token":"{}"}}"#, script.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    last(&script.session);

    gateway.ask("POST /auth/logout", &[], "").expect(200);
    let log = gateway.access_log();
    let line = log.lines().last().unwrap_or_default();
    assert!(!line.contains(r#""session""#) && !line.contains(r#""user""#), "{line}");
}

#[test]
fn row_25_a_logout_ends_the_session_of_each_token_that_came_along() {
    let gateway = Gateway::start("");
    let logout = |headers: &[(&str, &str)], body: &str| {
        let answer = gateway.post_json("/auth/logout", headers, body).expect(200);
        assert!(answer.all("set-cookie").any(|line| line.contains("Max-Age=0")));
    };
    let by_cookie = || gateway.login_by_cookie("alice").cookie_header();
    let bearer = |token: &str| format!("Bearer {token}");

    let (cookies, script) = (by_cookie(), gateway.login("alice"));
    let forged = bearer(&script.access[..script.access.len() - 8]);
    logout(&[("Cookie", &cookies), ("Authorization", &forged)], "");
    gateway.refresh_by_cookie(&cookies).expect(401);

    logout(&[("Authorization", &bearer(&script.refresh))], "");
    gateway.refresh(&script.refresh).expect(401);

    let (cookies, script) = (by_cookie(), gateway.login("alice"));
    logout(&[("Cookie", &cookies), ("Authorization", &bearer(&script.access))], "");
    gateway.refresh_by_cookie(&cookies).expect(401);
    gateway.refresh(&script.refresh).expect(401);

    let [one, other] = [by_cookie(), by_cookie()];
    let [access, refresh] = [(&one, "pc_at"), (&other, "pc_rt")]
        .map(|(all, name)| all.split("; ").find(|cookie| cookie.contains(name)).unwrap());
    logout(&[("Cookie", &format!("{access}; {refresh}"))], "");
    for cookies in [&one, &other] {
        gateway.refresh_by_cookie(cookies).expect(401);
    }

    for unreadable in ["", "garbage"] {
        let cookies = by_cookie();
        let body = format!(r#"{{"refresh_token":"{unreadable}"}}"#);
        logout(&[("Cookie", &cookies)], &body);
        gateway.refresh_by_cookie(&cookies).expect(401);
    }

    let (cookies, script) = (by_cookie(), gateway.login("alice"));
    let body = format!(r#"{{"refresh_token":"{}"}}"#, script.refresh);
    gateway.post_json("/auth/logout", &[("Cookie", &cookies)], &body).expect(400);
    gateway.refresh_by_cookie(&cookies).expect(200);
    gateway.refresh(&script.refresh).expect(200);
}

#[test]
fn row_25_a_logout_ends_the_sessions_of_cookies_whatever_the_body() {
    let gateway = Gateway::start("");
    let twice = r#"{"refresh_token":"a","refresh_token":"b"}"#;
    let nonsense = [
        ("text/plain;charset=UTF-8", "x"),
        ("", "x"),
        ("multipart/form-data; boundary=b", "--b--"),
        ("application/json", "{x"),
        ("application/json", "[1]"),
        ("application/json", r#"{"refresh_token":5}"#),
        ("application/json", twice),
        ("application/x-www-form-urlencoded", "refresh_token=a&refresh_token=b"),
    ];
    let long = "x".repeat(9_000);
    let nonsense = nonsense.map(|(kind, body)| (kind, body, 200));
    for (kind, body, status) in nonsense.into_iter().chain([("text/plain", &*long, 413)]) {
        let cookies = gateway.login_by_cookie("alice").cookie_header();
        let script = gateway.login("alice");
        let bearer = format!("Bearer {}", script.access);
        let headers = [("Cookie", &*cookies), ("Authorization", &bearer), ("Content-Type", kind)];
        let headers = if kind.is_empty() { &headers[..2] } else { &headers[..] };
        let answer = gateway.ask("POST /auth/logout", headers, body).expect(status);
        let deletions = answer.all("set-cookie").filter(|line| line.contains("Max-Age=0"));
        assert_eq!(deletions.count(), 3, "{kind} {body}: {answer:?}");
        gateway.refresh_by_cookie(&cookies).expect(401);
        gateway.refresh(&script.refresh).expect(401);
    }
}

#[test]
fn row_25_a_logout_ends_the_session_of_each_of_two_cookies_of_one_name() {
    let gateway = Gateway::start("");
    for name in ["pc_at", "pc_rt"] {
        let both = [(); 2].map(|()| gateway.login_by_cookie("alice").cookie_header());
        let one = |all: &String| {
            all.split("; ").find(|cookie| cookie.contains(name)).expect(name).to_owned()
        };
        let doubled = both.each_ref().map(one).join("; ");
        gateway.ask("POST /auth/logout", &[("Cookie", &doubled)], "").expect(200);
        for cookies in &both {
            gateway.refresh_by_cookie(cookies).expect(401);
        }
    }
}

#[test]
fn row_26_no_token_outlives_a_logout_that_races_a_refresh() {
    let gateway = Gateway::start(LOOSE);
    for _ in 0..100 {
        let tokens = gateway.login("alice");
        let body = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
        let (refreshed, _) = std::thread::scope(|scope| {
            let refresh = scope.spawn(|| gateway.refresh(&tokens.refresh));
            let logout = scope.spawn(|| gateway.post_json("/auth/logout", &[], &body).expect(200));
            (refresh.join().unwrap(), logout.join().unwrap())
        });
        let mut access = vec![tokens.access];
        match refreshed.status {
            200 => {
                let tokens = Tokens::of(&refreshed);
                gateway.refresh(&tokens.refresh).expect(401);
                access.push(tokens.access);
            }
            status => assert_eq!(status, 401),
        }
        for access in access {
            gateway.get_as("/auth/me", &access).expect(401);
        }
    }
}

#[test]
fn row_29_the_session_list_shows_the_current_one_and_does_not_move_with_a_rotation() {
    let gateway = Gateway::start("");
    let other = gateway.login("alice");
    let mine = gateway.login("alice");
    gateway.login("admin");
    let list = |access: &str| gateway.get_as("/auth/sessions", access).expect(200);
    let before = list(&mine.access);
    let sessions = before.json()["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2, "{}", before.text());
    let current: Vec<_> = sessions.iter().filter(|one| one["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"], mine.session.as_str());
    for word in ["hash", "\"gen\"", "pcr_"] {
        assert!(!before.text().contains(word), "{}", before.text());
    }
    gateway.advance(Duration::from_secs(5));
    let json = format!(r#"{{"refresh_token":"{}"}}"#, other.refresh);
    gateway.post_json("/auth/refresh", &[("User-Agent", "another")], &json).expect(200);
    assert_eq!(before.text(), list(&mine.access).text());
}

#[test]
fn row_30_ending_another_session_asks_for_a_recent_login() {
    let gateway = Gateway::start("[tokens]\naccess_ttl = \"60m\"\n");
    let other = gateway.login("alice");
    let mine = gateway.login("alice");
    let end = |id: &str, access: &str| {
        let bearer = format!("Bearer {access}");
        gateway.ask(&format!("DELETE /auth/sessions/{id}"), &[("Authorization", &bearer)], "")
    };
    gateway.advance(16 * MINUTE);
    let refused = end(&other.session, &mine.access).expect(401);
    assert_eq!(refused.member("code"), "reauth_required");
    assert_eq!(refused.member("max_age"), "900");
    gateway.get_as("/auth/me", &other.access).expect(200);

    let fresh = gateway.login("alice");
    assert_eq!(end(&other.session, &fresh.access).expect(204).body, b"");
    gateway.get_as("/auth/me", &other.access).expect(401);
    gateway.refresh(&other.refresh).expect(401);
    end(&other.session, &fresh.access).expect(204);
    // One's own never asks.
    end(&mine.session, &mine.access).expect(204);
    gateway.get_as("/auth/me", &mine.access).expect(401);
}

/// The store carries an ending out whether or not anybody waits for the answer.
#[test]
fn an_ending_is_true_at_once_though_whoever_asked_for_it_has_left() {
    let gateway = Gateway::start("");
    let (other, mine) = (gateway.login("alice"), gateway.login("alice"));
    let bearer = format!("Bearer {}", mine.access);
    let line = format!("DELETE /auth/sessions/{}", other.session);
    let busy = database(&gateway);
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut leaving = gateway.connect();
    leaving.send(gateway.request(&line, &[("Authorization", &bearer)], ""));
    // Long enough for it to wait in the store's queue, and then for us to be missed.
    std::thread::sleep(Duration::from_millis(300));
    drop(leaving);
    std::thread::sleep(Duration::from_millis(300));
    busy.execute_batch("COMMIT").unwrap();
    eventually("the session ends", || row(&gateway, &other.session, "revoked_at"));
    // Told by what goes on without whoever asked.
    eventually("it is told", || {
        let audit = gateway.audit();
        let told =
            |line: &str| line.contains("auth.session.revoked") && line.contains(&other.session);
        audit.lines().any(told).then_some(())
    });
    gateway.get_as("/auth/me", &other.access).expect(401);
    gateway.get_as("/auth/me", &mine.access).expect(200);
}

#[test]
fn row_31_a_foreign_session_and_an_unknown_one_look_the_same() {
    let gateway = Gateway::start("");
    let foreign = gateway.login("admin");
    let bearer = format!("Bearer {}", gateway.login("alice").access);
    let end = |id: &str| {
        let line = format!("DELETE /auth/sessions/{id}");
        without_request_id(&gateway.ask(&line, &[("Authorization", &bearer)], "").expect(404))
    };
    let unknown = end("00000000-0000-4000-8000-000000000000");
    assert_eq!(end(&foreign.session), unknown);
    assert_eq!(end("garbage"), unknown);
    gateway.get_as("/auth/me", &foreign.access).expect(200);
}

#[test]
fn row_35_a_disabled_user_is_out_at_once() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let tokens = gateway.login("alice");
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let name = portcullis::identity::Username::new("alice").unwrap();
    block_on(gateway.auth().users().disable(&name)).unwrap();
    gateway.get_as("/x", &tokens.access).expect(401);
    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    gateway.refresh(&tokens.refresh).expect(401);
    assert_eq!(row(&gateway, &tokens.session, "revoke_reason").as_deref(), Some("user"));
    gateway.login_with("alice", "").expect(401);
    block_on(gateway.auth().users().enable(&name)).unwrap();
    gateway.login("alice");
    gateway.get_as("/x", &tokens.access).expect(401);
}

#[test]
fn a_change_of_roles_is_true_on_the_next_request() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let tokens = gateway.login("alice");
    gateway.get_as("/admin/x", &tokens.access).expect(403);
    let name = portcullis::identity::Username::new("alice").unwrap();
    let roles = vec![portcullis::identity::Role::new("admin").unwrap()];
    block_on(gateway.auth().users().set_roles(&name, roles)).unwrap();
    let stale = gateway.get_as("/admin/x", &tokens.access).expect(401);
    assert_eq!(stale.member("code"), "token_expired", "a refresh gives the new roles");
    let next = Tokens::of(&gateway.refresh(&tokens.refresh).expect(200));
    gateway.get_as("/admin/x", &next.access).expect(200);
}

#[test]
fn row_38_the_leeway_of_an_expired_token_is_five_seconds() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let answer = gateway.login_with("alice", r#","transport":"body""#).expect(200);
    let life: u64 = answer.member("expires_in").parse().unwrap();
    let access = answer.member("access_token");
    gateway.advance(Duration::from_secs(life + 4));
    gateway.get_as("/x", &access).expect(200);
    gateway.advance(Duration::from_secs(2));
    let refused = gateway.get_as("/x", &access).expect(401);
    assert_eq!(refused.member("code"), "token_expired");
    assert_eq!(refused.member("error"), "invalid_token");
    let challenge = refused.header("www-authenticate").expect("a 401 challenges");
    assert!(challenge.starts_with("Bearer realm=\"") && challenge.contains("invalid_token"));
}

#[test]
fn row_39_each_token_counts_for_what_it_is_alone() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let tokens = gateway.login("alice");
    gateway.get_as("/x", &tokens.refresh).expect(401);
    gateway.refresh(&tokens.access).expect(401);
    gateway.get_as("/x", &tokens.access).expect(200);
    gateway.refresh(&tokens.refresh).expect(200);
}

#[test]
fn row_41_an_access_token_says_what_it_must_and_no_more() {
    let gateway = Gateway::start("[sessions]\nremember_absolute = \"15d\"\n");
    let mut lives = Vec::new();
    for _ in 0..20 {
        let answer = gateway.login_with("alice", r#","transport":"body""#).expect(200);
        let claims = claims(&answer.member("access_token"));
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!((720..=900).contains(&life), "{life}");
        assert!((life - answer.member("expires_in").parse::<i64>().unwrap()).abs() <= 1);
        lives.push(life);
        assert_eq!(claims["type"], "access");
        assert_eq!(claims["role"], "user");
        assert_eq!(claims["roles"], serde_json::json!(["user"]));
        assert_eq!(claims["preferred_username"], "alice");
        assert_eq!(claims["aud"], "portcullis");
        assert_eq!(claims["iss"], gateway.origin());
        assert_eq!(claims["sid"], answer.member("session_id"));
        for name in ["sub", "jti", "sv", "auth_time", "amr", "client_id"] {
            assert!(!claims[name].is_null(), "{name}: {claims}");
        }
        assert!(claims["email"].is_null());
    }
    lives.dedup();
    assert!(lives.len() > 1, "lives are random: {lives:?}");
}

#[test]
fn row_41_a_token_does_not_outlive_its_session() {
    let gateway = Gateway::start(
        "[tokens]\naccess_ttl = \"8m\"\n[sessions]\nremember_idle = \"10m\"\nremember_absolute = \"20m\"\n",
    );
    let mut tokens = gateway.login("alice");
    for _ in 0..2 {
        gateway.advance(9 * MINUTE);
        tokens = Tokens::of(&gateway.refresh(&tokens.refresh).expect(200));
    }
    let claims = claims(&tokens.access);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!(life <= 120, "two minutes are left: {life}");
}

#[test]
fn row_56_parallel_guesses_reach_the_hasher_no_more_often_than_the_limit_allows() {
    let gateway = Gateway::start("[passwords]\nqueue_per_network = 64\n");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = || {
            let json = r#"{"username":"alice","password":"a guess"}"#;
            gateway.post_json("/auth/login", &[], json).status
        };
        let guesses: Vec<_> = (0..50).map(|_| scope.spawn(guess)).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    let hashed = statuses.iter().filter(|status| **status == 401).count();
    let throttled = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((hashed, throttled), (10, 40), "{statuses:?}");
    let refused = gateway.login_with("alice", "").expect(429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().expect("whole seconds");
    assert!((1..=120).contains(&wait), "{wait}");
    gateway.login("admin");
    gateway.advance(2 * MINUTE);
    gateway.login("alice");
}

#[test]
fn row_59_every_spelling_of_a_name_is_one_account() {
    let gateway = Gateway::start("");
    for name in ["alice", "Alice", "ALICE", "ａｌｉｃｅ"] {
        let json = format!(r#"{{"username":"{name}","password":"a long passphrase"}}"#);
        let access =
            gateway.post_json("/auth/login", &[], &json).expect(200).member("access_token");
        assert_eq!(gateway.get_as("/auth/me", &access).member("username"), "alice");
    }
    let newcomer = |name: &str| portcullis::auth::Newcomer {
        name: portcullis::identity::Username::new(name).unwrap(),
        full_name: None,
        email: None,
        roles: vec![],
        password: Some(portcullis::secret::Secret::new("a good long password")),
    };
    let refused = block_on(gateway.auth().users().add(newcomer("ALICE"))).unwrap_err();
    assert!(refused.to_string().contains("alice"), "{refused}");
}

#[test]
fn row_60_a_full_hash_queue_says_busy_and_never_wrong_password() {
    let gateway = Gateway::start(
        "[passwords]\nargon2 = { memory = \"64 MiB\", passes = 3, lanes = 1 }\nconcurrent = 1\nqueue = 1\n",
    );
    let answers: Vec<_> = std::thread::scope(|scope| {
        let logins: Vec<_> =
            (0..8).map(|_| scope.spawn(|| gateway.login_with("alice", ""))).collect();
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    });
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty(), "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
    for answer in &busy {
        assert_eq!(answer.member("code"), "busy");
        answer.header("retry-after").unwrap().parse::<u64>().expect("whole seconds");
        assert_eq!(answer.cookies(), []);
    }
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)));
    gateway.login("alice");
}

#[test]
fn row_67_a_revocation_holds_after_the_lifetime_was_lowered() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    let tokens_section = "[tokens]\naccess_ttl = \"60m\"\nissuer = \"http://gateway.test\"\n";
    let mut gateway = Gateway::start(&format!("{tokens_section}{routes}"));
    let tokens = gateway.login("alice");
    let body = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
    gateway.post_json("/auth/logout", &[], &body).expect(200);
    gateway.reconfigure("access_ttl = \"60m\"", "access_ttl = \"5m\"");
    gateway.restart();
    gateway.advance(30 * MINUTE);
    let refused = gateway.get_as("/x", &tokens.access).expect(401);
    assert_eq!(refused.member("code"), "session_revoked");
}

#[test]
fn sessions_survive_a_restart() {
    let upstream = Upstream::hello();
    let routes = crate::support::routes(&upstream.url());
    let mut gateway =
        Gateway::start(&format!("[tokens]\nissuer = \"http://gateway.test\"\n{routes}"));
    let tokens = gateway.login("alice");
    gateway.restart();
    gateway.get_as("/x", &tokens.access).expect(200);
    gateway.refresh(&tokens.refresh).expect(200);
}

#[test]
fn me_tells_who_is_there() {
    let gateway = Gateway::start("");
    let tokens = gateway.login("alice");
    let me = gateway.get_as("/auth/me", &tokens.access).expect(200).json();
    assert_eq!(me["username"], "alice");
    assert_eq!(me["role"], "user");
    assert_eq!(me["sid"], tokens.session.as_str());
    assert_eq!(gateway.get("/auth/me", &[]).expect(401).member("code"), "token_missing");
}

#[test]
fn every_answer_to_a_broken_body_is_a_clear_no() {
    let gateway = Gateway::start("");
    let post = |kind: &str, body: &str| {
        gateway.ask("POST /auth/login", &[("Content-Type", kind)], body).status
    };
    assert_eq!(post("application/json", "{"), 400);
    assert_eq!(post("application/json", "[]"), 400);
    assert_eq!(post("application/json", r#"{"username":"alice"}"#), 400);
    let twice = r#"{"username":"alice","username":"admin","password":"x"}"#;
    assert_eq!(post("application/json", twice), 400);
    assert_eq!(post("application/x-www-form-urlencoded", "username=a&username=b&password=c"), 400);
    assert_eq!(post("text/plain", "x"), 415);
    assert_eq!(post("application/json", &"x".repeat(9_000)), 413);
    let form = "username=alice&password=a+long+passphrase";
    assert_eq!(post("application/x-www-form-urlencoded; charset=utf-8", form), 200);
    assert_eq!(gateway.ask("POST /auth/login", &[], "").status, 400);
    assert_eq!(gateway.get("/auth/login/", &[]).status, 404);
    let wrong = gateway.get("/auth/refresh", &[]).expect(405);
    assert_eq!(wrong.header("allow"), Some("POST"));
}

/// The payload of a JWT, unverified.
pub fn claims(token: &str) -> serde_json::Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Limits that a test of something else does not run into.
pub const LOOSE: &str = r#"
[rate_limits]
login_per_ip = "100000/minute"
login_per_network = "100000/minute"
login_per_username = { burst = 100000, every = "1s" }
login_per_user = "100000/hour"
refresh_per_session = "100000/minute"
refresh_per_ip = "100000/minute"
sessions_per_session = "100000/minute"
admin_per_user = "100000/minute"
auth_per_ip = "1000000/minute"
"#;
