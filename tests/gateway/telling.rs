//! What a refusal tells the people who read it: a developer at a console, a person at a form.

use crate::support::{Answer, Gateway};

const HTML: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const WRONG: &str = "current_password=not+hers&new_password=quite+another+passphrase";

#[track_caller]
fn assert_tells(answer: Answer, (status, code): (u16, &str), detail: &str) {
    let answer = answer.expect(status);
    assert_eq!(answer.member("code"), code);
    assert_eq!(answer.member("detail"), detail);
}

#[test]
fn a_wrong_current_password_shows_the_form_again() {
    let gateway = Gateway::start("");
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    for (language, told) in
        [("en", "The current password is wrong."), ("de", "Das bisherige Passwort ist falsch.")]
    {
        let headers = [("Cookie", cookies.as_str()), FORM, HTML, ("Accept-Language", language)];
        let page = gateway.ask("POST /auth/password", &headers, WRONG).expect(401);
        let html = page.text();
        assert!(html.contains(told), "{html}");
        assert!(html.contains(r#"action="/auth/password""#), "{html}");
        assert!(html.contains(r#"autofocus aria-invalid="true" aria-describedby="fault""#));
        assert!(
            !html.contains("not hers") && !html.contains("quite another"),
            "no password is shown"
        );
        assert!(page.header("www-authenticate").is_some());
    }
    let headers = [("Cookie", cookies.as_str()), JSON];
    let json = r#"{"current_password":"not hers","new_password":"quite another passphrase"}"#;
    let refused = gateway.ask("POST /auth/password", &headers, json);
    assert_tells(refused, (401, "invalid_credentials"), "The current password is wrong.");
    gateway.get("/auth/me", &[("Cookie", &cookies)]).expect(200);
}

#[test]
fn a_body_that_cannot_be_understood_says_what_is_wrong_and_nothing_of_what_it_holds() {
    let gateway = Gateway::start("");
    for (kind, body, detail) in [
        (JSON, r#"{"username":"alice"}"#, "The field `password` is missing."),
        (FORM, "username=alice", "The field `password` is missing."),
        (JSON, r#"{"password":"s3cret","password":"s3cret"}"#, "The field `password` comes twice."),
        (FORM, "s3cret=1&s3cret=2", "A field comes twice."),
        (
            JSON,
            r#"{"username":"alice","password":["s3cret"]}"#,
            "A field holds what it cannot hold.",
        ),
        (
            JSON,
            r#"{"username":"a","password":"b","transport":"s3cret"}"#,
            "A field holds what it cannot hold.",
        ),
        (JSON, r#"{"username":"alice","password":"s3cret"#, "The body is not valid JSON."),
        (JSON, "username=alice&password=s3cret", "The body is not valid JSON."),
    ] {
        let answer = gateway.ask("POST /auth/login", &[kind], body);
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
        assert_tells(answer, (400, "invalid_request"), detail);
    }
}

#[test]
fn what_is_asked_for_in_vain_is_told_with_the_way_out() {
    let gateway = Gateway::start("");
    let login = r#"{"username":"alice","password":"a long passphrase","transport":"body"}"#;
    let browser = [JSON, ("Sec-Fetch-Site", "same-origin")];
    assert_tells(
        gateway.ask("POST /auth/login", &browser, login),
        (400, "invalid_request"),
        "Browsers sign in by cookie: leave `transport` out. With `cookies.allow_browser_body` they may ask for `body`.",
    );
    let tokens = gateway.login("alice");
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let refresh = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
    assert_tells(
        gateway.ask("POST /auth/refresh", &[JSON, ("Cookie", &cookies)], &refresh),
        (400, "invalid_request"),
        "The refresh token in the body and the refresh cookie are of different sessions: send one of them.",
    );
    for key in ["short", &"x".repeat(257)] {
        assert_tells(
            gateway.ask("POST /auth/refresh", &[JSON, ("Idempotency-Key", key)], &refresh),
            (400, "invalid_request"),
            "`Idempotency-Key` must come once, with 16 to 256 characters of ASCII.",
        );
    }
    let bearer = format!("Bearer {}", tokens.access);
    let name = format!("PATCH /auth/sessions/{}", tokens.session);
    for body in [r#"{"device_name":" "}"#, r#"{"device_name":"a\nb"}"#] {
        assert_tells(
            gateway.ask(&name, &[JSON, ("Authorization", &bearer)], body),
            (400, "invalid_request"),
            "`device_name` must have 1 to 64 printable characters.",
        );
    }
    assert_tells(
        gateway.ask("POST /auth/setup", &[JSON], r#"{"t":"x","password":"a long passphrase"}"#),
        (404, "not_found"),
        "This link was used, is too old, or was never made. Ask for a new one.",
    );
    gateway.refresh(&tokens.refresh).expect(200);
}

#[test]
fn a_login_that_is_not_recent_is_told_in_the_challenge_too() {
    let gateway = Gateway::start("");
    let tokens = gateway.login("alice");
    gateway.advance(std::time::Duration::from_secs(901));
    let tokens = gateway.refresh(&tokens.refresh).expect(200).member("access_token");
    let bearer = format!("Bearer {tokens}");
    let refused = gateway.ask("POST /auth/logout-all", &[("Authorization", &bearer)], "");
    let refused = refused.expect(401);
    let challenge = refused.header("www-authenticate").unwrap();
    let told = r#", error="insufficient_user_authentication", max_age="900""#;
    assert!(challenge.starts_with("Bearer realm=") && challenge.ends_with(told), "{challenge}");
}

#[test]
fn a_username_that_cannot_be_says_which_character_it_cannot_hold() {
    let gateway = Gateway::start("");
    let bearer = format!("Bearer {}", gateway.login("admin").access);
    let headers = [JSON, ("Authorization", bearer.as_str())];
    assert_tells(
        gateway.ask("POST /auth/admin/users", &headers, r#"{"username":"ca rol"}"#),
        (400, "invalid_request"),
        "a username cannot hold ' ': letters, digits and . _ - @ + only",
    );
}

#[test]
fn a_login_leads_back_to_the_fragment_that_it_was_asked_for() {
    let gateway = Gateway::start("");
    let page = gateway.get("/auth/login?return_to=%2Fapp%23%2Finbox", &[HTML]).expect(200);
    assert!(page.text().contains(r#"name="return_to" value="/app#/inbox""#), "{}", page.text());
    let form = "username=alice&password=a+long+passphrase&return_to=%2Fapp%23%2Finbox";
    let done = gateway.ask("POST /auth/login", &[FORM, HTML], form).expect(303);
    assert_eq!(done.header("location"), Some("/auth/done?to=%2Fapp%23%2Finbox"));
    let on = gateway.get("/auth/done?to=%2Fapp%23%2Finbox", &[("Cookie", &done.cookie_header())]);
    assert_eq!(on.expect(303).header("location"), Some("/app#/inbox"));
}

#[test]
fn a_login_whose_cookie_came_back_twice_says_so() {
    let gateway = Gateway::start("");
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let doubled = format!("{cookies}; {cookies}");
    let page = gateway.get("/auth/done?to=%2F", &[("Cookie", &doubled), HTML]).expect(400).text();
    assert!(page.contains("Two cookies of the same name came back"), "{page}");
    assert!(!page.contains("Cookies are blocked"), "{page}");
    let page = gateway.get("/auth/done?to=%2F", &[HTML]).expect(400).text();
    assert!(page.contains("Cookies are blocked") && !page.contains("Two cookies"), "{page}");
}
