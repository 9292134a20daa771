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
