//! One device, several people: what a browser is told to forget, and what a page of one's own says.

use crate::support::{Answer, Gateway, request};

const HTTPS: &str = "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\n\
    data_dir = \"FOLDER/data\"\npublic_url = \"https://apps.example.com\"\n";
const HOST: (&str, &str) = ("Host", "apps.example.com");
const FORM: [(&str, &str); 5] = [
    ("Accept", "text/html"),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "same-origin"),
];

/// Signs in by the form with a `Cookie` header.
fn sign_in(gateway: &Gateway, user: &str, cookies: &str) -> Answer {
    let body = format!("username={user}&password=a+long+passphrase");
    let headers = [&FORM[..], &[HOST, ("Cookie", cookies)]].concat();
    gateway.connect().ask(request("POST /auth/login", &headers, &body)).expect(303)
}

/// The device cookie alone: what is left after a logout.
fn device(answer: &Answer) -> String {
    let (name, value) =
        answer.cookies().into_iter().find(|(name, _)| name.contains("pc_dev")).expect("a pc_dev");
    format!("{name}={value}")
}

#[test]
fn a_login_after_somebody_elses_clears_what_the_browser_cached() {
    let gateway = Gateway::start(HTTPS);
    let cleared = |answer: &Answer| answer.header("clear-site-data").map(str::to_owned);
    let first = sign_in(&gateway, "alice", "x=1");
    assert_eq!(cleared(&first), None, "nobody was here before");
    let again = sign_in(&gateway, "alice", &device(&first));
    assert_eq!(cleared(&again), None, "the same as before");
    let other = sign_in(&gateway, "admin", &device(&again));
    assert_eq!(cleared(&other).as_deref(), Some("\"cache\""));
    assert_eq!(cleared(&sign_in(&gateway, "admin", &device(&other))), None);
    let back = sign_in(&gateway, "alice", &other.cookie_header());
    assert_eq!(cleared(&back).as_deref(), Some("\"cache\""), "without a logout between too");
    // What cannot be read says that somebody was here, and no more.
    let (name, _) =
        device(&back).split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
    let odd = sign_in(&gateway, "alice", &format!("{name}=garbage"));
    assert_eq!(cleared(&odd).as_deref(), Some("\"cache\""));
}

#[test]
fn over_http_no_login_clears_anything() {
    let gateway = Gateway::start("");
    let first = gateway.login_by_cookie("alice");
    let body = r#"{"username":"admin","password":"a long passphrase","transport":"cookie"}"#;
    let cookies = device(&first);
    let other = gateway.post_json("/auth/login", &[("Cookie", &cookies)], body).expect(200);
    assert_eq!(other.header("clear-site-data"), None);
}

#[test]
fn ending_ones_own_session_by_delete_takes_the_cookies_away() {
    let gateway = Gateway::start("");
    let (login, other) = (gateway.login_by_cookie("alice"), gateway.login_by_cookie("alice"));
    let cookies = [("Cookie", &*login.cookie_header())];
    let end = |of: &Answer| {
        let line = format!("DELETE /auth/sessions/{}", of.member("session_id"));
        gateway.ask(&line, &cookies, "").expect(204)
    };
    assert_eq!(end(&other).cookies(), [], "another's end is no logout here");
    let own = end(&login);
    let deleted = own.all("set-cookie").filter(|line| line.contains("Max-Age=0")).count();
    assert_eq!((deleted, own.cookies().len()), (3, 3), "{own:?}");
}

#[test]
fn a_weak_new_password_is_told_at_the_form_in_the_readers_language() {
    let gateway = Gateway::start("");
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let change = |language: &str, new: &str| {
        let more = [("Cookie", &*cookies), ("Accept-Language", language)];
        let body = format!("current_password=a+long+passphrase&new_password={new}");
        gateway.ask("POST /auth/password", &[&FORM[..], &more].concat(), &body)
    };
    for (language, new, reasons) in [
        (
            "de",
            "alicealice",
            &["Es braucht mindestens 12 Zeichen.", "Es darf den Benutzernamen nicht enthalten."][..],
        ),
        ("en", "aaaaaaaaaaaa", &["It must not be one short piece again and again."]),
    ] {
        let html = change(language, new).expect(422).text();
        for reason in reasons {
            assert!(html.contains(&format!("<li>{reason}</li>")), "{reason}: {html}");
        }
        assert!(
            html.contains(r#"aria-invalid="true" aria-describedby="fault new-hint""#),
            "{html}"
        );
        assert!(html.contains(r#"action="/auth/password""#) && !html.contains(new), "{html}");
    }
    gateway.get("/auth/me", &[("Cookie", &cookies)]).expect(200);
    change("en", "quite+another+passphrase").expect(303);
}
