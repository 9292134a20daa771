//! Sessions for people, and the administration of users over HTTP: the behaviours by their numbers
//! in `docs/sessions.md`.

use std::time::Duration;

use portcullis::auth::{Mode, Name, Newcomer};
use portcullis::config::{Bootstrap, BootstrapPassword};
use portcullis::identity::{Role, Username};
use portcullis::password::PasswordHash;
use serde_json::{Value, json};

use crate::sessions::block_on;
use crate::support::{Answer, Gateway, Tokens, Upstream};

const MINUTE: Duration = Duration::from_secs(60);
/// So many connections that each of two workers gets some, but for one chance in a million.
const ENOUGH: usize = 20;

fn bearer(access: &str) -> String {
    format!("Bearer {access}")
}

/// Asks with an access token and, where there is one, a JSON body.
#[track_caller]
fn ask(gateway: &Gateway, line: &str, access: &str, body: &str) -> Answer {
    let bearer = bearer(access);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    gateway.ask(line, &headers, body)
}

fn sessions_of(gateway: &Gateway, access: &str) -> Vec<Value> {
    let answer = gateway.get_as("/auth/sessions", access).expect(200);
    answer.json()["sessions"].as_array().unwrap().clone()
}

fn ids(gateway: &Gateway, access: &str) -> Vec<String> {
    let sessions = sessions_of(gateway, access);
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

/// Every worker answers so.
#[track_caller]
fn everywhere(gateway: &Gateway, access: &str, status: u16, code: &str) {
    for _ in 0..ENOUGH {
        let answer = gateway.get_as("/x", access).expect(status);
        if status != 200 {
            assert_eq!(answer.member("code"), code);
        }
    }
}

fn without_request_id(answer: &Answer) -> String {
    let mut json = answer.json();
    json.as_object_mut().unwrap().remove("request_id");
    json.to_string()
}

/// The same session, with a login that is no longer recent.
#[track_caller]
fn grown_old(gateway: &Gateway, tokens: &Tokens) -> Tokens {
    gateway.advance(16 * MINUTE);
    Tokens::of(&gateway.refresh(&tokens.refresh).expect(200))
}

#[test]
fn a_session_gets_the_name_that_its_owner_gives_it() {
    let gateway = Gateway::start("");
    let (one, other) = (gateway.login("alice"), gateway.login("alice"));
    for (session, name) in [(&one, "Küche"), (&other, "phone")] {
        let line = format!("PATCH /auth/sessions/{}", session.session);
        let body = json!({ "device_name": name }).to_string();
        let answer = ask(&gateway, &line, &one.access, &body).expect(204);
        assert_eq!(answer.body, b"");
    }
    let named: Vec<_> = sessions_of(&gateway, &other.access)
        .iter()
        .map(|session| (session["id"].clone(), session["device_name"].clone()))
        .collect();
    assert!(named.contains(&(json!(one.session), json!("Küche"))), "{named:?}");
    assert!(named.contains(&(json!(other.session), json!("phone"))), "{named:?}");
}

#[test]
fn a_name_that_is_blank_long_or_unprintable_is_refused() {
    let gateway = Gateway::start("");
    let tokens = gateway.login("alice");
    let line = format!("PATCH /auth/sessions/{}", tokens.session);
    let long = "ä".repeat(65);
    for name in ["", "  ", "a\nb", "a\u{1b}[31m", "a\u{202e}b", "a\u{200b}b", "\u{feff}a", &long] {
        let body = json!({ "device_name": name }).to_string();
        ask(&gateway, &line, &tokens.access, &body).expect(400);
    }
    for body in ["", "{}", r#"{"device_name":null}"#, r#"{"device_name":7}"#] {
        ask(&gateway, &line, &tokens.access, body).expect(400);
    }
    assert_eq!(sessions_of(&gateway, &tokens.access)[0]["device_name"], Value::Null);
    // A joiner makes one picture of two, and is a letter's in some scripts.
    for name in ["ä".repeat(64), "\u{1f469}\u{200d}\u{1f4bb}".to_owned()] {
        let body = json!({ "device_name": name }).to_string();
        ask(&gateway, &line, &tokens.access, &body).expect(204);
    }
}

#[test]
fn a_login_whose_device_name_is_blank_gives_none_and_replaces_nobody() {
    let gateway = Gateway::start("");
    for blank in ["", "  "] {
        let more = format!(r#","transport":"body","device_name":"{blank}""#);
        let logins = [(); 2].map(|()| gateway.login_with("alice", &more).expect(200));
        let access = logins[0].member("access_token");
        assert_eq!(sessions_of(&gateway, &access)[0]["device_name"], Value::Null);
        for login in logins {
            gateway.refresh(&login.member("refresh_token")).expect(200);
        }
    }
}

/// No client can put it into a path: `/auth/admin/users/..` is another path.
#[test]
fn a_name_of_dots_alone_is_nobodys() {
    let gateway = Gateway::start("");
    let users = gateway.auth().users();
    let hash = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$\
        AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for dots in [".", "..", "..."] {
        let name = Username::new(dots).unwrap();
        let newcomer = Newcomer {
            name: name.clone(),
            full_name: None,
            email: None,
            roles: Vec::new(),
            password: None,
        };
        let role = vec![Role::new("user").unwrap()];
        let day = Duration::from_secs(86_400);
        let password = BootstrapPassword::Hash(PasswordHash::parse(hash).unwrap());
        let bootstrap = Bootstrap { name: name.clone(), roles: Vec::new(), password };
        let file = format!("username,hash\n{dots},\"{hash}\"\n");
        let refusals = [
            block_on(users.add(newcomer)).unwrap_err().to_string(),
            block_on(users.invite(&name, role, day)).unwrap_err().to_string(),
            block_on(users.bootstrap(&bootstrap)).unwrap_err().to_string(),
            block_on(users.import(&file, Mode::ForGood)).unwrap().faults[0].1.clone(),
        ];
        for refused in refusals {
            assert_eq!(refused, "a username cannot be dots alone", "{dots}");
        }
        assert!(block_on(users.show(&name)).is_err());
    }
    let admin = gateway.login("admin");
    let body = r#"{"username":"..","roles":["user"]}"#;
    ask(&gateway, "POST /auth/admin/users", &admin.access, body).expect(400);
}

#[test]
fn a_bootstrap_user_who_was_deleted_stays_away_though_the_name_is_free() {
    let mut gateway = Gateway::start("");
    let name = Username::new("alice").unwrap();
    block_on(gateway.auth().users().delete(&name, Name::Freed)).unwrap();
    gateway.reload().unwrap();
    gateway.restart();
    assert!(block_on(gateway.auth().users().show(&name)).is_err());
    // Somebody else may take it.
    let role = vec![Role::new("user").unwrap()];
    let day = Duration::from_secs(86_400);
    block_on(gateway.auth().users().invite(&name, role, day)).unwrap();
}

#[test]
fn naming_another_session_asks_for_a_recent_login_and_naming_ones_own_does_not() {
    let gateway = Gateway::start("");
    let other = gateway.login("alice");
    let old = grown_old(&gateway, &gateway.login("alice"));
    let body = r#"{"device_name":"x"}"#;
    let line = |id: &str| format!("PATCH /auth/sessions/{id}");
    let refused = ask(&gateway, &line(&other.session), &old.access, body).expect(401);
    assert_eq!(refused.member("code"), "reauth_required");
    assert_eq!(refused.member("max_age"), "900");
    ask(&gateway, &line(&old.session), &old.access, body).expect(204);
}

#[test]
fn row_31_a_foreign_and_an_unknown_session_look_the_same() {
    let gateway = Gateway::start("");
    let (alice, admin) = (gateway.login("alice"), gateway.login("admin"));
    let ended = gateway.login("alice");
    let end = format!("DELETE /auth/sessions/{}", ended.session);
    ask(&gateway, &end, &alice.access, "").expect(204);
    let foreign = ["PATCH", "DELETE"].map(|method| {
        let line = format!("{method} /auth/sessions/{}", admin.session);
        ask(&gateway, &line, &alice.access, r#"{"device_name":"x"}"#).expect(404)
    });
    let unknown = "00000000-0000-4000-8000-000000000000";
    for id in [unknown, "x", "%2e", &admin.session.to_uppercase()] {
        for (method, foreign) in ["PATCH", "DELETE"].into_iter().zip(&foreign) {
            let line = format!("{method} /auth/sessions/{id}");
            let answer = ask(&gateway, &line, &alice.access, r#"{"device_name":"x"}"#);
            if answer.status != 400 {
                let answer = answer.expect(404);
                assert_eq!(without_request_id(&answer), without_request_id(foreign), "{line}");
            }
        }
    }
    let line = format!("PATCH /auth/sessions/{}", ended.session);
    ask(&gateway, &line, &alice.access, r#"{"device_name":"x"}"#).expect(404);
    gateway.refresh(&admin.refresh).expect(200);
}

#[test]
fn row_32_logout_all_ends_every_session_and_counts_them() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let others = [gateway.login("alice"), gateway.login("alice")];
    let browser = gateway.login_by_cookie("alice");
    let stranger = gateway.login("admin");
    let cookies = browser.cookie_header();
    let answer = gateway.post_json("/auth/logout-all", &[("Cookie", &cookies)], "").expect(200);
    assert_eq!(answer.json(), json!({ "ok": true, "sessions_ended": 3 }));
    let deleted: Vec<_> = answer.all("set-cookie").collect();
    assert!(deleted.len() >= 2 && deleted.iter().all(|line| line.contains("Max-Age=0")));
    for tokens in &others {
        everywhere(&gateway, &tokens.access, 401, "session_revoked");
        gateway.refresh(&tokens.refresh).expect(401);
    }
    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    everywhere(&gateway, &stranger.access, 200, "");
    let audit = gateway.audit();
    assert!(audit.contains(r#""event":"auth.logout""#) && audit.contains(r#""reason":"all""#));
}

#[test]
fn logout_all_may_keep_the_session_that_asks() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let other = gateway.login("alice");
    let browser = gateway.login_by_cookie("alice");
    let cookies = browser.cookie_header();
    let keep = |cookies: &str| {
        let body = r#"{"keep_current":true}"#;
        gateway.post_json("/auth/logout-all", &[("Cookie", cookies)], body).expect(200)
    };
    let answer = keep(&cookies);
    assert_eq!(answer.json(), json!({ "ok": true, "sessions_ended": 1 }));
    assert_eq!(answer.cookies(), []);
    everywhere(&gateway, &other.access, 401, "session_revoked");
    gateway.get("/x", &[("Cookie", &cookies)]).expect(200);
    assert_eq!(keep(&cookies).json()["sessions_ended"], 0);
}

#[test]
fn logout_all_asks_for_a_recent_login_of_this_site() {
    let gateway = Gateway::start("");
    let old = grown_old(&gateway, &gateway.login("alice"));
    let refused = ask(&gateway, "POST /auth/logout-all", &old.access, "").expect(401);
    assert_eq!(refused.member("code"), "reauth_required");
    gateway.ask("POST /auth/logout-all", &[], "").expect(401);
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    for (name, value) in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")] {
        let headers = [("Cookie", cookies.as_str()), (name, value)];
        let refused = gateway.ask("POST /auth/logout-all", &headers, "").expect(403);
        assert_eq!(refused.member("code"), "csrf_rejected");
    }
    gateway.refresh(&old.refresh).expect(200);
}

#[test]
fn a_session_past_its_end_is_not_counted_by_logout_all() {
    let gateway = Gateway::start("[sessions]\nremember_idle = \"1h\"\n");
    gateway.login("alice");
    gateway.advance(61 * MINUTE);
    let now = gateway.login("alice");
    let answer = ask(&gateway, "POST /auth/logout-all", &now.access, "").expect(200);
    assert_eq!(answer.json()["sessions_ended"], 1);
}

#[test]
fn a_session_past_its_end_is_not_counted_when_all_are_ended() {
    let gateway = Gateway::start("[sessions]\nremember_idle = \"1h\"\n");
    let users = gateway.auth().users();
    gateway.login("alice");
    gateway.login("admin");
    gateway.advance(61 * MINUTE);
    gateway.login("alice");
    let alice = portcullis::identity::Username::new("alice").unwrap();
    assert_eq!(block_on(users.end_sessions(&alice)).unwrap(), 1);
    gateway.login("alice");
    assert_eq!(block_on(users.end_all_sessions()).unwrap(), 1);
}

#[test]
fn all_sessions_end_or_none() {
    let gateway = Gateway::start("");
    let users = gateway.auth().users();
    let all = ["admin", "alice"].map(|name| gateway.login(name));
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON sessions WHEN NEW.user_id =
        (SELECT id FROM users WHERE username = 'alice') BEGIN SELECT RAISE(ABORT, 'no'); END";
    database.execute_batch(refuse).unwrap();
    assert!(block_on(users.end_all_sessions()).is_err());
    for tokens in &all {
        gateway.get_as("/auth/me", &tokens.access).expect(200);
    }
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(block_on(users.end_all_sessions()).unwrap(), 2);
    for tokens in &all {
        gateway.get_as("/auth/me", &tokens.access).expect(401);
    }
    let audit = gateway.audit();
    for name in ["admin", "alice"] {
        let told = |line: &&str| {
            line.contains("auth.session.revoked") && line.contains(&format!("\"{name}\""))
        };
        assert_eq!(audit.lines().filter(told).count(), 1, "{name}: {audit}");
    }
}

#[test]
fn row_34_the_21st_session_ends_another() {
    let gateway = Gateway::start("[tokens]\naccess_ttl = \"60m\"\naccess_jitter = 0.0\n");
    let cookie = gateway.login_by_cookie("alice").member("session_id");
    let unrefreshed = gateway.login("alice");
    let mut last = unrefreshed.clone();
    for _ in 2..20 {
        gateway.advance(2 * MINUTE);
        last = Tokens::of(&gateway.refresh(&gateway.login("alice").refresh).expect(200));
    }
    assert_eq!(ids(&gateway, &last.access).len(), 20);
    gateway.advance(2 * MINUTE);
    let newest = gateway.login("alice");
    let left = ids(&gateway, &newest.access);
    assert_eq!(left.len(), 20);
    assert!(!left.contains(&unrefreshed.session) && left.contains(&cookie), "{left:?}");
    let ended = gateway.get_as("/auth/me", &unrefreshed.access).expect(401);
    assert_eq!(ended.member("code"), "session_revoked");
    assert!(gateway.audit().contains("evicted"), "{}", gateway.audit());
}

#[test]
fn row_34_scripts_that_never_refreshed_go_first_and_browsers_last() {
    let gateway = Gateway::start("[sessions]\nmax_per_user = 6\n");
    let step = || gateway.advance(3 * MINUTE);
    let (cookie, unpinned) = (r#","transport":"cookie""#, "");
    let login = |how: &str| {
        step();
        gateway.login_with("alice", how).expect(200).member("session_id")
    };
    let refreshed = |tokens: &Tokens| {
        step();
        gateway.refresh(&tokens.refresh).expect(200);
        tokens.session.clone()
    };
    let browser = login(cookie);
    let script = gateway.login("alice");
    let first = login(unpinned);
    let other = gateway.login("alice");
    let second = login(r#","transport":"body""#);
    let late_browser = login(cookie);
    // The one that was seen first is the one that began last.
    let order = [first, second, refreshed(&other), refreshed(&script), browser, late_browser];
    for (round, gone) in order.iter().enumerate() {
        step();
        let newest = gateway.login_by_cookie("alice");
        let headers = [("Cookie", newest.cookie_header())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let list = gateway.get("/auth/sessions", &headers).expect(200).text();
        for (at, session) in order.iter().enumerate() {
            assert_eq!(list.contains(session), at > round, "{at} in round {round}: {gone}");
        }
    }
}

#[test]
fn row_36_a_new_role_is_in_force_at_once_and_nobody_is_signed_out() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let (alice, admin) = (gateway.login("alice"), gateway.login("admin"));
    gateway.get_as("/admin/x", &alice.access).expect(403);
    let roles = r#"{"roles":["user","admin"]}"#;
    let answer = ask(&gateway, "PUT /auth/admin/users/alice/roles", &admin.access, roles);
    assert_eq!(answer.expect(200).json()["roles"], json!(["user", "admin"]));
    everywhere(&gateway, &alice.access, 401, "token_expired");
    let alice = Tokens::of(&gateway.refresh(&alice.refresh).expect(200));
    gateway.get_as("/admin/x", &alice.access).expect(200);
    let me = gateway.get_as("/auth/me", &alice.access).expect(200);
    assert_eq!(me.json()["roles"], json!(["user", "admin"]));
}

/// Every call of the administration: method and path, and a body that would do.
const CALLS: [(&str, &str); 9] = [
    ("GET /auth/admin/users", ""),
    ("POST /auth/admin/users", r#"{"username":"bob"}"#),
    ("GET /auth/admin/users/alice", ""),
    ("PUT /auth/admin/users/alice/roles", r#"{"roles":["editor"]}"#),
    ("POST /auth/admin/users/alice/disable", ""),
    ("POST /auth/admin/users/alice/enable", ""),
    ("GET /auth/admin/sessions", ""),
    ("DELETE /auth/admin/sessions/00000000-0000-4000-8000-000000000000", ""),
    ("DELETE /auth/admin/users/alice", ""),
];

#[test]
fn only_an_administrator_who_signed_in_recently_administers() {
    let gateway = Gateway::start("");
    let alice = gateway.login("alice");
    let old = grown_old(&gateway, &gateway.login("admin"));
    let alice = Tokens::of(&gateway.refresh(&alice.refresh).expect(200));
    for (line, body) in CALLS {
        let refused = gateway.ask(line, &[("Content-Type", "application/json")], body).expect(401);
        assert_eq!(refused.member("code"), "token_missing", "{line}");
        let refused = ask(&gateway, line, &alice.access, body).expect(403);
        assert_eq!(refused.member("code"), "forbidden", "{line}");
        let refused = ask(&gateway, line, &old.access, body).expect(401);
        assert_eq!(refused.member("code"), "reauth_required", "{line}");
        assert!(refused.header("www-authenticate").is_some());
    }
    let users = gateway.login("admin");
    let list = ask(&gateway, "GET /auth/admin/users", &users.access, "").expect(200);
    assert_eq!(list.json()["users"].as_array().unwrap().len(), 2, "nothing has happened");
    gateway.refresh(&alice.refresh).expect(200);
}

#[test]
fn a_cookie_administers_from_our_own_pages_alone() {
    let gateway = Gateway::start("");
    let cookies = gateway.login_by_cookie("admin").cookie_header();
    for (line, body) in CALLS.into_iter().filter(|(line, _)| !line.starts_with("GET")) {
        for (name, value) in [("Sec-Fetch-Site", "same-site"), ("Origin", "https://evil.example")] {
            let headers =
                [("Cookie", cookies.as_str()), ("Content-Type", "application/json"), (name, value)];
            let refused = gateway.ask(line, &headers, body).expect(403);
            assert_eq!(refused.member("code"), "csrf_rejected", "{line}");
        }
    }
    let headers = [
        ("Cookie", cookies.as_str()),
        ("Content-Type", "application/json"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    gateway.ask("POST /auth/admin/users", &headers, r#"{"username":"bob"}"#).expect(201);
}

#[test]
fn who_may_administer_is_asked_when_the_body_is_there() {
    let gateway = Gateway::start("");
    for (taken, status) in [("its session", 401), ("its role", 401)] {
        let admin = gateway.login("admin");
        let bearer = bearer(&admin.access);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = r#"{"roles":["admin"]}"#;
        let whole = gateway.request("PUT /auth/admin/users/alice/roles", &headers, body);
        let (begun, rest) = whole.split_at(whole.len() - 1);
        let mut slow = gateway.connect();
        slow.send(begun);
        // Long enough for all that can be asked before the body is there.
        std::thread::sleep(Duration::from_millis(300));
        let users = gateway.auth().users();
        let name = Username::new("admin").unwrap();
        crate::sessions::block_on(async {
            match taken {
                "its session" => drop(users.end_sessions(&name).await.unwrap()),
                _ => drop(users.set_roles(&name, vec![Role::new("user").unwrap()]).await.unwrap()),
            }
        });
        slow.ask(rest).expect(status);
        let alice =
            crate::sessions::block_on(users.show(&Username::new("alice").unwrap())).unwrap();
        assert_eq!(alice.roles, [Role::new("user").unwrap()], "{taken}");
    }
}

#[test]
fn an_empty_admin_role_switches_the_administration_off() {
    let gateway = Gateway::start("[auth]\nroles = [\"admin\", \"user\"]\nadmin_role = \"\"\n");
    let admin = gateway.login("admin");
    for (line, body) in CALLS {
        ask(&gateway, line, &admin.access, body).expect(404);
    }
}

#[test]
fn another_role_may_administer() {
    let gateway = Gateway::start("[auth]\nroles = [\"admin\", \"user\"]\nadmin_role = \"user\"\n");
    let (alice, admin) = (gateway.login("alice"), gateway.login("admin"));
    gateway.get_as("/auth/admin/users", &alice.access).expect(200);
    gateway.get_as("/auth/admin/users", &admin.access).expect(403);
}

#[test]
fn users_are_added_without_a_password_shown_and_never_with_a_hash() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let body = json!({
        "username": "Bob+1@Example.com", "roles": ["editor", "user"],
        "name": "Bob Éxample", "email": "bob@example.com"
    });
    let added = ask(&gateway, "POST /auth/admin/users", &admin, &body.to_string()).expect(201);
    let user = added.json();
    assert_eq!(user["username"], "bob+1@example.com");
    assert_eq!(user["roles"], json!(["editor", "user"]));
    assert_eq!((&user["has_password"], &user["disabled"]), (&json!(false), &json!(false)));
    for path in ["bob+1@example.com", "bob%2B1%40example.com", "BOB+1@example.com"] {
        let shown = gateway.get_as(&format!("/auth/admin/users/{path}"), &admin).expect(200);
        assert_eq!(shown.json(), user, "{path}");
    }
    let list = gateway.get_as("/auth/admin/users", &admin).expect(200);
    assert_eq!(list.json()["users"].as_array().unwrap().len(), 3);
    assert!(!list.text().contains("argon2"), "{}", list.text());
    gateway.login_with("bob+1@example.com", "").expect(401);
}

#[test]
fn row_59_a_taken_name_is_a_conflict_in_every_spelling_and_after_deletion() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let add = |name: &str| {
        let body = json!({ "username": name }).to_string();
        ask(&gateway, "POST /auth/admin/users", &admin, &body)
    };
    for name in ["alice", "Alice", "ａｌｉｃｅ"] {
        let refused = add(name).expect(409);
        assert_eq!(refused.member("code"), "conflict");
        assert!(refused.member("detail").contains("alice"), "{}", refused.text());
    }
    ask(&gateway, "DELETE /auth/admin/users/alice", &admin, "").expect(204);
    gateway.get_as("/auth/admin/users/alice", &admin).expect(404);
    add("alice").expect(409);
}

#[test]
fn a_user_is_read_strictly() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let long = json!({ "username": "bob", "name": "x".repeat(201) }).to_string();
    for body in [
        "{}",
        r#"{"username":""}"#,
        r#"{"username":"a b"}"#,
        r#"{"username":"bob","roles":["nobody"]}"#,
        r#"{"username":"bob","roles":["Not A Role"]}"#,
        r#"{"username":"bob","password":"a long passphrase"}"#,
        r#"{"username":"bob","name":"a\nb"}"#,
        r#"{"username":"bob","email":7}"#,
        &long,
    ] {
        ask(&gateway, "POST /auth/admin/users", &admin, body).expect(400);
    }
    let line = "PUT /auth/admin/users/alice/roles";
    for body in ["", "{}", r#"{"roles":"user"}"#, r#"{"roles":["nobody"]}"#] {
        ask(&gateway, line, &admin, body).expect(400);
    }
    let unknown = ask(&gateway, line, &admin, r#"{"roles":["nobody"]}"#).member("detail");
    assert!(unknown.contains("there is no role nobody"), "{unknown}");
    for path in ["nobody", "a%20b", "%ff", "%2"] {
        let answer = gateway.get_as(&format!("/auth/admin/users/{path}"), &admin);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    assert_eq!(
        gateway.get_as("/auth/admin/users", &admin).json()["users"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn row_35_a_disabled_user_is_out_at_once_and_may_come_back() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let (alice, admin) = (gateway.login("alice"), gateway.login("admin").access);
    let call = |what: &str| {
        let line = format!("POST /auth/admin/users/alice/{what}");
        ask(&gateway, &line, &admin, "").expect(200).json()["disabled"].clone()
    };
    assert_eq!(call("disable"), json!(true));
    everywhere(&gateway, &alice.access, 401, "session_revoked");
    gateway.refresh(&alice.refresh).expect(401);
    gateway.login_with("alice", "").expect(401);
    assert_eq!(call("enable"), json!(false));
    gateway.refresh(&alice.refresh).expect(401);
    gateway.login("alice");
}

#[test]
fn a_deleted_user_is_out_at_once() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let (alice, admin) = (gateway.login("alice"), gateway.login("admin").access);
    ask(&gateway, "DELETE /auth/admin/users/alice", &admin, "").expect(204);
    everywhere(&gateway, &alice.access, 401, "session_revoked");
    ask(&gateway, "DELETE /auth/admin/users/alice", &admin, "").expect(404);
}

#[test]
fn an_administrator_sees_every_session_and_ends_one() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let (alice, admin) = (gateway.login("alice"), gateway.login("admin"));
    let list = |query: &str| {
        let path = format!("/auth/admin/sessions{query}");
        let answer = gateway.get_as(&path, &admin.access).expect(200).json();
        let sessions = answer["sessions"].as_array().unwrap().clone();
        let whose = |session: &Value| (session["username"].clone(), session["current"].clone());
        let mut found: Vec<_> = sessions.iter().map(whose).collect();
        found.sort_by_key(|(name, _)| name.to_string());
        found
    };
    assert_eq!(list(""), [(json!("admin"), json!(true)), (json!("alice"), json!(false))]);
    assert_eq!(list("?user=Alice"), [(json!("alice"), json!(false))]);
    gateway.get_as("/auth/admin/sessions?user=nobody", &admin.access).expect(404);
    gateway.get_as("/auth/admin/sessions?user=%20", &admin.access).expect(400);
    let line = format!("DELETE /auth/admin/sessions/{}", alice.session);
    ask(&gateway, &line, &admin.access, "").expect(204);
    everywhere(&gateway, &alice.access, 401, "session_revoked");
    ask(&gateway, &line, &admin.access, "").expect(404);
    ask(&gateway, "DELETE /auth/admin/sessions/x", &admin.access, "").expect(404);
    assert_eq!(list("?user=alice"), []);
}

#[test]
fn the_last_who_can_administer_stays() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let takings = [
        ("PUT /auth/admin/users/admin/roles", r#"{"roles":["user"]}"#),
        ("POST /auth/admin/users/admin/disable", ""),
        ("DELETE /auth/admin/users/admin", ""),
    ];
    let refused_all = || {
        for (line, body) in takings {
            let refused = ask(&gateway, line, &admin, body).expect(409);
            assert_eq!(refused.member("code"), "conflict");
            assert!(refused.member("detail").contains("admin is the last"), "{}", refused.text());
        }
    };
    refused_all();
    // Nobody signs in by the name of one without a password, or of one who is disabled.
    let body = r#"{"username":"bob","roles":["admin"]}"#;
    ask(&gateway, "POST /auth/admin/users", &admin, body).expect(201);
    ask(&gateway, "POST /auth/admin/users/alice/disable", &admin, "").expect(200);
    let roles = r#"{"roles":["admin"]}"#;
    ask(&gateway, "PUT /auth/admin/users/alice/roles", &admin, roles).expect(200);
    refused_all();
    ask(&gateway, "POST /auth/admin/users/alice/enable", &admin, "").expect(200);
    ask(&gateway, "DELETE /auth/admin/users/admin", &admin, "").expect(204);
    let alice = gateway.login("alice").access;
    ask(&gateway, "DELETE /auth/admin/users/alice", &alice, "").expect(409);
}

#[test]
fn two_administrators_cannot_take_the_role_from_each_other_at_once() {
    for _ in 0..10 {
        let gateway = Gateway::start("");
        let admin = gateway.login("admin").access;
        let roles = r#"{"roles":["admin"]}"#;
        ask(&gateway, "PUT /auth/admin/users/alice/roles", &admin, roles).expect(200);
        let alice = gateway.login("alice").access;
        let take = |whose: &str, access: &str| {
            let line = format!("POST /auth/admin/users/{whose}/disable");
            ask(&gateway, &line, access, "").status
        };
        let outcomes = std::thread::scope(|scope| {
            let one = scope.spawn(|| take("alice", &admin));
            let other = scope.spawn(|| take("admin", &alice));
            [one.join().unwrap(), other.join().unwrap()]
        });
        let done = outcomes.iter().filter(|status| **status == 200).count();
        assert_eq!(done, 1, "{outcomes:?}");
    }
}

#[test]
fn every_call_of_the_administration_is_audited_with_its_actor() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let alice = gateway.login("alice").access;
    for (line, body) in CALLS {
        ask(&gateway, line, &admin, body);
    }
    let shown = ask(&gateway, "GET /auth/admin/users", &alice, "");
    assert_eq!(shown.status, 401, "deleted by now");
    let bob = r#"{"username":"bob"}"#;
    ask(&gateway, "POST /auth/admin/users", &admin, bob).expect(409);
    let audit = gateway.audit();
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let calls: Vec<_> = lines.iter().filter(|line| line["event"] == "auth.admin").collect();
    let told: Vec<_> = calls
        .iter()
        .map(|line| format!("{} {} {}", line["reason"], line["username"], line["outcome"]))
        .collect();
    let expected = [
        r#""list_users" null "success""#,
        r#""add_user" null "success""#,
        r#""show_user" "alice" "success""#,
        r#""set_roles" "alice" "success""#,
        r#""disable_user" "alice" "success""#,
        r#""enable_user" "alice" "success""#,
        r#""list_sessions" null "success""#,
        r#""end_session" null "not_found""#,
        r#""delete_user" "alice" "success""#,
        r#""add_user" null "conflict""#,
    ];
    assert_eq!(told, expected);
    for line in calls {
        assert_eq!(line["actor"], "admin", "{line}");
        assert!(line["request_id"].is_string() && line["ip_prefix"].is_string(), "{line}");
    }
    for event in ["added", "roles", "disabled", "enabled", "deleted"] {
        let name = format!("auth.user.{event}");
        let done = lines.iter().rfind(|line| line["event"] == name.as_str()).expect(&name);
        assert_eq!(done["actor"], "admin", "{done}");
    }
}

#[test]
fn a_refused_call_is_audited_too() {
    let gateway = Gateway::start("");
    let alice = gateway.login("alice").access;
    ask(&gateway, "POST /auth/admin/users/admin/disable", &alice, "").expect(403);
    let audit = gateway.audit();
    let line = audit.lines().find(|line| line.contains("auth.admin")).expect(&audit);
    for part in [r#""actor":"alice""#, r#""username":"admin""#, r#""outcome":"forbidden""#] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn an_administrator_is_limited_by_user() {
    let gateway =
        Gateway::start("[rate_limits]\nadmin_per_user = { burst = 3, every = \"20s\" }\n");
    let sessions = [gateway.login("admin").access, gateway.login("admin").access];
    let ask = |access: &str| gateway.get_as("/auth/admin/users", access);
    for at in 0..3 {
        ask(&sessions[at % 2]).expect(200);
    }
    let refused = ask(&sessions[0]).expect(429);
    assert!(refused.header("retry-after").is_some());
    ask(&sessions[1]).expect(429);
    gateway.advance(Duration::from_secs(20));
    ask(&sessions[1]).expect(200);
}
