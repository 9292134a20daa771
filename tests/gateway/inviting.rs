//! `POST /auth/admin/users/{name}/invite`: links that set a password, made over HTTP.

use std::time::Duration;

use crate::support::{Answer, Gateway};

const PATH: &str = "/auth/admin/users/alice/invite";
const BETTER: &str = "quite another passphrase";

fn invite(gateway: &Gateway, access: &str, (path, body): (&str, &str)) -> Answer {
    gateway.post_json(path, &[("Authorization", &format!("Bearer {access}"))], body)
}

/// Sets a password by a link, as a script.
fn set(gateway: &Gateway, url: &str, password: &str) -> Answer {
    let (_, secret) = url.split_once("?t=").expect("a link");
    let json = serde_json::json!({ "t": secret, "password": password });
    gateway.post_json("/auth/setup", &[], &json.to_string())
}

#[test]
fn an_administrators_link_sets_a_password_once_and_ends_the_sessions_before() {
    let gateway = Gateway::start("");
    let before = gateway.login("alice");
    let admin = gateway.login("admin");
    let link = invite(&gateway, &admin.access, (PATH, "")).expect(200);
    assert_eq!(link.header("cache-control"), Some("no-store"));
    let url = link.member("url");
    assert!(url.starts_with(&format!("{}/auth/setup?t=", gateway.origin())), "{url}");
    // Until somebody uses it nothing has changed.
    gateway.get_as("/auth/me", &before.access).expect(200);
    set(&gateway, &url, BETTER).expect(200);
    gateway.get_as("/auth/me", &before.access).expect(401);
    gateway.try_password("alice", BETTER).expect(200);
    set(&gateway, &url, "and another passphrase").expect(404);

    let audit = gateway.audit();
    let told = |event: &str, more: &str| {
        let line = |line: &&str| line.contains(event) && line.contains(more);
        assert_eq!(audit.lines().filter(line).count(), 1, "{event} {more}: {audit}");
    };
    told(r#""event":"auth.user.invited""#, r#""actor":"admin""#);
    told(r#""reason":"invite_user""#, r#""outcome":"success""#);
    let (_, secret) = url.split_once("?t=").unwrap();
    assert!(!audit.contains(secret) && !gateway.access_log().contains(secret));
}

#[test]
fn a_link_lives_as_long_as_asked_within_bounds_and_only_for_somebody_who_can_sign_in() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let link = invite(&gateway, &admin, (PATH, r#"{"ttl_seconds":60}"#)).expect(200);
    gateway.advance(Duration::from_secs(61));
    set(&gateway, &link.member("url"), BETTER).expect(404);
    for body in [r#"{"ttl_seconds":59}"#, r#"{"ttl_seconds":2592001}"#, r#"{"ttl":60}"#, "[]"] {
        invite(&gateway, &admin, (PATH, body)).expect(400);
    }
    for nobody in ["nobody", "a%20b", "%00"] {
        let path = format!("/auth/admin/users/{nobody}/invite");
        let answer = invite(&gateway, &admin, (&path, ""));
        assert!(matches!(answer.status, 400 | 404), "{nobody}: {answer:?}");
    }
    assert_eq!(gateway.try_password("nobody", BETTER).status, 401, "nobody was made");
    gateway.ask(
        "POST /auth/admin/users/alice/disable",
        &[("Authorization", &format!("Bearer {admin}"))],
        "",
    );
    invite(&gateway, &admin, (PATH, "")).expect(409);
}

#[test]
fn only_administrators_who_signed_in_recently_get_a_link_and_not_too_many() {
    let gateway = Gateway::start(
        "[tokens]\naccess_ttl = \"60m\"\naccess_jitter = 0.0\n[rate_limits]\nadmin_per_user = \"3/minute\"",
    );
    let (admin, alice) = (gateway.login("admin").access, gateway.login("alice").access);
    gateway.post_json(PATH, &[], "").expect(401);
    invite(&gateway, &alice, (PATH, "")).expect(403);
    for status in [200, 200, 200, 429] {
        invite(&gateway, &admin, (PATH, "")).expect(status);
    }
    let cookies = gateway.login_by_cookie("admin").cookie_header();
    let foreign = [("Cookie", &*cookies), ("Sec-Fetch-Site", "same-site")];
    gateway.post_json(PATH, &foreign, "").expect(403);
    gateway.advance(Duration::from_secs(16 * 60));
    let late = invite(&gateway, &admin, (PATH, "")).expect(401);
    assert_eq!(late.member("code"), "reauth_required");
}

/// Roles of 32 characters, of which not all fit into a token.
fn many_roles() -> Vec<String> {
    (0..100).map(|number| format!("{number:0>32}")).collect()
}

/// The most of these roles that alice may have.
fn as_many_as_fit(gateway: &Gateway) -> usize {
    let name = portcullis::identity::Username::new("alice").unwrap();
    let read = |role: &String| portcullis::identity::Role::new(role).unwrap();
    let roles: Vec<_> = many_roles().iter().map(read).collect();
    let fits = |count: usize| {
        let users = gateway.auth().users();
        crate::sessions::block_on(users.set_roles(&name, roles[..count].to_vec())).is_ok()
    };
    (1..roles.len()).find(|count| !fits(*count)).expect("not all fit") - 1
}

#[test]
fn a_login_whose_token_would_be_too_long_says_so_and_leaves_nothing_behind() {
    let names: Vec<_> = many_roles().iter().map(|role| format!("\"{role}\"")).collect();
    let mut gateway = Gateway::start(&format!(
        "[tokens]\nissuer = \"https://a.example\"\n[auth]\nroles = [\"admin\", \"user\", {}]\n",
        names.join(", ")
    ));
    let admin = gateway.login("admin").access;
    let link = invite(&gateway, &admin, (PATH, "")).expect(200).member("url");
    assert!(as_many_as_fit(&gateway) > 40);
    gateway.login("alice");
    // Every token becomes longer by what its issuer becomes longer.
    let longer = format!("https://a.example/{}", "x".repeat(300));
    gateway.reconfigure("https://a.example", &longer);
    gateway.reload().unwrap();

    let alice = portcullis::identity::Username::new("alice").unwrap();
    let sessions = || {
        let users = gateway.auth().users();
        crate::sessions::block_on(users.sessions(Some(&alice))).unwrap().len()
    };
    for more in ["", r#","transport":"body""#, r#","transport":"cookie""#] {
        let answer = gateway.login_with("alice", more).expect(500);
        assert_eq!(answer.member("code"), "too_many_roles");
        assert!(answer.member("detail").contains("more roles than fit"), "{answer:?}");
        assert_eq!(answer.cookies(), []);
    }
    assert_eq!(set(&gateway, &link, BETTER).expect(500).member("code"), "too_many_roles");
    assert_eq!(sessions(), 1, "no session but the one before");
    gateway.try_password("alice", "wrong").expect(401);
    let audit = gateway.audit();
    let failures = audit.lines().filter(|line| line.contains(r#""reason":"no_token""#));
    assert_eq!(failures.count(), 4, "{audit}");
    assert_eq!(audit.matches("auth.login.success").count(), 2, "{audit}");

    let fewer = vec![portcullis::identity::Role::new("user").unwrap()];
    crate::sessions::block_on(gateway.auth().users().set_roles(&alice, fewer)).unwrap();
    gateway.login("alice");
    set(&gateway, &link, BETTER).expect(200);
}

#[test]
fn an_invitation_that_fails_adds_nobody() {
    let gateway = Gateway::start("");
    let dave = portcullis::identity::Username::new("dave").unwrap();
    let user = vec![portcullis::identity::Role::new("user").unwrap()];
    let invite = || {
        let users = gateway.auth().users();
        let life = Duration::from_secs(60);
        crate::sessions::block_on(users.invite(&dave, user.clone(), life))
    };
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE setup_links RENAME TO away").unwrap();
    assert!(invite().is_err());
    database.execute_batch("ALTER TABLE away RENAME TO setup_links").unwrap();
    let link = invite().expect("dave is nobody yet");
    let url = String::from_utf8(link.url.expose().to_vec()).unwrap();
    set(&gateway, &url, BETTER).expect(200);
    let audit = gateway.audit();
    for event in ["auth.user.added", "auth.user.invited"] {
        let of_dave = |line: &&str| line.contains(event) && line.contains("dave");
        assert_eq!(audit.lines().filter(of_dave).count(), 1, "{audit}");
    }
}
