//! What people see: login, logout, account and refusals as pages, and who is answered how.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::support::{Answer, Gateway, Upstream, routes};

/// What a browser sends that opens a page.
const NAVIGATION: [(&str, &str); 4] = [
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "none"),
];
/// What a browser sends with a form.
const FORM: [(&str, &str); 5] = [
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "same-origin"),
];
const GOOD: &str = "username=alice&password=a+long+passphrase";
const WRONG: &str = "username=alice&password=wrong";
const HOSTILE: &str = r#""><script>alert(1)</script><img src=x onerror=alert(1)>'`{{7*7}}"#;

fn open(gateway: &Gateway, path: &str) -> Answer {
    gateway.get(path, &NAVIGATION)
}

fn open_with(gateway: &Gateway, path: &str, more: &[(&str, &str)]) -> Answer {
    gateway.get(path, &[&NAVIGATION[..], more].concat())
}

fn submit(gateway: &Gateway, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
    gateway.ask(&format!("POST {path}"), &[&FORM[..], more].concat(), body)
}

/// Signs in by the form; the `Cookie` header of what was set.
#[track_caller]
fn sign_in(gateway: &Gateway) -> String {
    submit(gateway, "/auth/login", &[], GOOD).expect(303).cookie_header()
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A page as every page must be: its headers, a style sheet that its policy names, no script.
#[track_caller]
fn page(answer: Answer, status: u16) -> String {
    let answer = answer.expect(status);
    framed_by(&answer, "'none'")
}

/// In place of an application's form, without the header that its page has not either: where they
/// differ, WebKit takes a reload for another site's.
#[track_caller]
fn page_in_place(answer: Answer, status: u16) -> String {
    let answer = answer.expect(status);
    assert_eq!(answer.header("cross-origin-opener-policy"), None, "{answer:?}");
    styled(&answer, "'none'")
}

#[track_caller]
fn framed_by(answer: &Answer, ancestors: &str) -> String {
    let opener = answer.header("cross-origin-opener-policy");
    assert_eq!(opener, Some("same-origin"), "{answer:?}");
    styled(answer, ancestors)
}

#[track_caller]
fn styled(answer: &Answer, ancestors: &str) -> String {
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} {answer:?}");
    }
    let html = answer.text();
    let (_, style) = html.split_once("<style>").expect("a style sheet");
    let (style, _) = style.split_once("</style>").unwrap();
    let hash = STANDARD.encode(Sha256::digest(style));
    let images = if html.contains("<img") { "; img-src 'self'" } else { "" };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'{images}; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
    );
    assert_eq!(answer.header("content-security-policy"), Some(&*policy));
    assert!(html.starts_with("<!doctype html>\n<html lang=\""), "{html}");
    assert_eq!(html.matches("<h1>").count(), 1, "{html}");
    assert_eq!(html.matches("<main").count(), 1, "{html}");
    check_tags(&html);
    html
}

/// Nothing but the elements that templates have, none with a script or a style of its own.
#[track_caller]
fn check_tags(html: &str) {
    const KNOWN: [&str; 21] = [
        "!doctype", "html", "head", "meta", "title", "style", "body", "main", "p", "span", "img",
        "h1", "h2", "form", "input", "label", "div", "button", "a", "ul", "li",
    ];
    for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').split(' ').next().unwrap();
        assert!(KNOWN.contains(&name) || name == "strong", "<{tag}> in {html}");
        let lower = tag.to_lowercase();
        for scripted in [" on", " style=", "javascript:", "//"] {
            assert!(!lower.contains(scripted), "{scripted} in <{tag}>");
        }
    }
}

/// The text of the page's one heading.
fn heading(html: &str) -> &str {
    html.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0
}

#[test]
fn row_50_a_navigation_without_a_session_is_led_to_the_login_and_fetch_gets_401() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let led = open(&gateway, "/reports/2026?from=1&to=2").expect(303);
    let to = "/auth/login?return_to=%2Freports%2F2026%3Ffrom%3D1%26to%3D2";
    assert_eq!(led.header("location"), Some(to));
    assert_eq!(led.header("cache-control"), Some("no-store"));
    assert_eq!(led.cookies(), [], "a failed look never deletes cookies");
    let html = page(open(&gateway, to), 200);
    assert!(html.contains(r#"name="return_to" value="/reports/2026?from=1&#38;to=2""#), "{html}");
    assert_eq!(open(&gateway, "/").expect(303).header("location"), Some("/auth/login"));

    let fetch = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Accept", "*/*")];
    let refused = gateway.get("/reports", &fetch).expect(401);
    assert_eq!(refused.member("code"), "token_missing");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_revoked_session_leads_a_navigation_to_the_login_too() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let cookies = sign_in(&gateway);
    open_with(&gateway, "/x", &[("Cookie", &cookies)]).expect(200);
    submit(&gateway, "/auth/logout", &[("Cookie", &cookies)], "").expect(303);
    let led = open_with(&gateway, "/x", &[("Cookie", &cookies)]).expect(303);
    assert_eq!(led.header("location"), Some("/auth/login?return_to=%2Fx"));
    assert_eq!(led.cookies(), []);
}

#[test]
fn who_asks_is_answered_as_suits_them() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let html = ("Accept", "text/html");
    let navigate = ("Sec-Fetch-Mode", "navigate");
    for (headers, status) in [
        (vec![html], 303),
        (vec![("Accept", "application/xhtml+xml")], 303),
        (vec![("Accept", "TEXT/HTML")], 303),
        (vec![("Accept", "application/json;q=0.5, text/html;q=0.9")], 303),
        (vec![("Accept", "text/html;q=0.5, */*;q=0.4")], 303),
        (vec![navigate, ("Sec-Fetch-Dest", "document")], 303),
        (vec![], 401),
        (vec![("Accept", "*/*")], 401),
        (vec![("Accept", "application/json")], 401),
        (vec![("Accept", "application/json, text/html")], 401),
        (vec![("Accept", "text/html;q=0, application/json")], 401),
        (vec![("Accept", "text/html;q=0")], 401),
        (vec![("Accept", "text/html;q=0.5, application/json;q=0.9")], 401),
        (vec![html, ("X-Requested-With", "XMLHttpRequest")], 401),
        (vec![html, ("HX-Request", "true")], 401),
        (vec![html, navigate, ("HX-Request", "true")], 401),
        (vec![html, ("Sec-Fetch-Mode", "cors")], 401),
        (vec![html, ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")], 401),
        (vec![html, ("Sec-Fetch-Mode", "websocket")], 401),
    ] {
        let answer = gateway.get("/x", &headers);
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 401 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert!(answer.header("www-authenticate").is_some());
        }
    }
    assert_eq!(gateway.ask("HEAD /x", &NAVIGATION, "").expect(303).body, b"");
    assert_eq!(gateway.ask("POST /x", &[html], "").expect(401).member("code"), "token_missing");
}

#[test]
fn on_denied_fixes_how_a_route_refuses() {
    let upstream = Upstream::hello();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/api/*"
upstream = "{url}"
on_denied = "401"
[[routes]]
path = "/old/*"
upstream = "{url}"
on_denied = "login"
"#
    ));
    assert_eq!(open(&gateway, "/api/x").expect(401).member("code"), "token_missing");
    let led = gateway.get("/old/x", &[("Accept", "*/*")]).expect(303);
    assert_eq!(led.header("location"), Some("/auth/login?return_to=%2Fold%2Fx"));
    // Led elsewhere, a POST would lose what it holds.
    let held = page_in_place(gateway.ask("POST /old/x", &[("Accept", "*/*")], "a=b"), 401);
    assert_eq!(heading(&held), "You were signed out");
    // Other refusals are told as ever.
    page(open(&gateway, "/nothing"), 404);
    assert_eq!(gateway.get("/nothing", &[]).expect(404).member("code"), "not_found");
}

#[test]
fn a_form_whose_session_is_over_is_answered_in_place() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let answer = submit(&gateway, "/reports", &[], "text=much+typed");
    assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
    let html = page_in_place(answer, 401);
    let text = "Sign in in a new tab, then reload this page to send your form again.";
    assert!(html.contains("You were signed out") && html.contains(text), "{html}");
    assert!(html.contains(r#"href="/auth/login" target="_blank" rel="noopener""#), "{html}");
    assert!(!html.contains("much"), "{html}");
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn whatever_is_told_in_place_of_an_applications_form_can_be_reloaded() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = silent.local_addr().unwrap();
    let gateway = Gateway::start(&format!(
        r#"
[[routes]]
path = "/gone"
access = "public"
upstream = "http://127.0.0.1:1"
[[routes]]
path = "/slow"
access = "public"
upstream = "http://{slow}"
timeouts = {{ response = "10ms" }}
[[routes]]
path = "/small"
access = "public"
upstream = "http://{slow}"
max_body = "1 B"
[[routes]]
path = "/known"
upstream = "http://{slow}"
"#
    ));
    let cookies = sign_in(&gateway);
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO hidden").unwrap();
    let unsure = cookies.split("; ").find(|cookie| cookie.contains("pc_rt")).unwrap();
    for (path, cookies, status) in [
        ("/gone", "a=b", 502),
        ("/slow", "a=b", 504),
        ("/small", "a=b", 413),
        ("/known", unsure, 503),
    ] {
        page_in_place(submit(&gateway, path, &[("Cookie", cookies)], "text=typed"), status);
    }
    // What was opened by a link is not sent again; and the forms of our own pages have the header.
    page(open(&gateway, "/gone"), 502);
    page(submit(&gateway, "/auth/login", &[], GOOD), 503);
}

#[test]
fn a_frame_gets_a_small_page_and_never_a_login() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    for kind in ["iframe", "frame", "embed", "object"] {
        let headers =
            [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", kind)];
        let answer = gateway.get("/x", &headers).expect(401);
        assert!(answer.header("www-authenticate").is_some());
        let html = framed_by(&answer, "'self'");
        assert!(html.contains(r#"href="/auth/login" target="_top""#), "{html}");
        assert!(!html.contains("<form"), "{html}");
        let missing = gateway.get("/auth/missing", &headers).expect(404);
        framed_by(&missing, "'self'");
        // What can be clicked cannot be framed.
        let login = gateway.get("/auth/login", &headers).expect(200);
        framed_by(&login, "'none'");
    }
}

#[test]
fn the_login_form_can_be_used_without_scripts_and_by_ear() {
    let gateway = Gateway::start("");
    let html = page(open(&gateway, "/auth/login"), 200);
    for part in [
        r#"<form method="post" action="/auth/login">"#,
        r#"<label for="username">Username</label>"#,
        r#"autocomplete="username""#,
        " required autofocus",
        r#"<label for="password">Password</label>"#,
        r#"type="password""#,
        r#"autocomplete="current-password""#,
        r#"<label for="remember">Keep me signed in</label>"#,
        r#"<input type="hidden" name="return_to" value="/">"#,
        r#"<button class="wide" type="submit">Sign in</button>"#,
        r#"<html lang="en">"#,
        "<title>Sign in · localhost</title>",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    assert!(!html.contains("checked") && !html.contains("aria-invalid"), "{html}");
    let head = gateway.ask("HEAD /auth/login", &NAVIGATION, "").expect(200);
    assert_eq!(head.header("content-length"), Some(&*html.len().to_string()));
}

#[test]
fn row_3_a_login_by_form_ends_at_a_path_of_ours() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    for (return_to, ends_at) in [
        ("//evil", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/%2Fevil.example", "/"),
        ("/%5cevil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("", "/"),
        ("/reports?x=1&y=2", "/reports?x=1&y=2"),
        ("/%C3%A9t%C3%A9", "/%C3%A9t%C3%A9"),
    ] {
        let body = format!("{GOOD}&return_to={}", encoded(return_to));
        let answer = submit(&gateway, "/auth/login", &[], &body).expect(303);
        assert_eq!(answer.body, b"", "no token in a body");
        assert_eq!(answer.cookies().len(), 3, "both tokens and the device's: {answer:?}");
        let done = answer.header("location").expect("leads on").to_owned();
        assert_eq!(done, format!("/auth/done?to={}", encoded(ends_at)), "{return_to:?}");
        let cookies = answer.cookie_header();
        let end = open_with(&gateway, &done, &[("Cookie", &cookies)]).expect(303);
        assert_eq!(end.header("location"), Some(ends_at), "{return_to:?}");
        open_with(&gateway, ends_at, &[("Cookie", &cookies)]).expect(200);
    }
    // Nor by the pages themselves.
    let cookies = sign_in(&gateway);
    for page in ["login?return_to=", "done?to="] {
        let path = format!("/auth/{page}{}", encoded("//evil.example"));
        let led = open_with(&gateway, &path, &[("Cookie", &cookies)]).expect(303);
        assert_eq!(led.header("location"), Some("/"), "{page}");
    }
}

#[test]
fn a_form_without_sec_fetch_signs_in_too_and_a_program_gets_json() {
    let gateway = Gateway::start("");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let html = ("Accept", "text/html,*/*;q=0.8");
    let post = |headers: &[(&str, &str)]| gateway.ask("POST /auth/login", headers, GOOD);
    assert_eq!(post(&[form, html]).expect(303).cookies().len(), 3);
    for headers in [
        vec![form],
        vec![form, ("Accept", "*/*")],
        vec![form, ("Accept", "application/json")],
        vec![form, html, ("X-Requested-With", "XMLHttpRequest")],
        vec![form, html, ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "same-origin")],
        vec![form, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "same-origin")],
    ] {
        assert_eq!(post(&headers).expect(200).member("ok"), "true", "{headers:?}");
    }
    let wrong = gateway.ask("POST /auth/login", &[form], WRONG).expect(401);
    assert_eq!(wrong.member("code"), "invalid_credentials");
}

#[test]
fn the_box_alone_makes_a_session_remembered() {
    let gateway = Gateway::start("");
    let lives = |body: &str| {
        let answer = submit(&gateway, "/auth/login", &[], body).expect(303);
        let tokens = answer.all("set-cookie").filter(|line| !line.contains("pc_dev"));
        tokens.filter(|line| line.contains("Max-Age")).count()
    };
    assert_eq!(lives(GOOD), 0, "JSON logins are remembered by default, forms are not");
    assert_eq!(lives(&format!("{GOOD}&remember=on")), 2);
}

#[test]
fn refused_logins_show_the_form_again_with_one_message_for_every_cause() {
    let gateway = Gateway::start("");
    let name = portcullis::identity::Username::new("admin").unwrap();
    crate::sessions::block_on(gateway.auth().users().disable(&name)).unwrap();
    let refused = submit(&gateway, "/auth/login", &[], WRONG);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"localhost\""));
    let first = page(refused, 401);
    assert!(first.contains(r#"role="alert">The username or the password is wrong."#), "{first}");
    assert!(first.contains(r#"aria-invalid="true" aria-describedby="fault""#), "{first}");
    for body in [
        "username=nobody&password=wrong",
        "username=admin&password=a+long+passphrase",
        "username=&password=",
        "username=not+a+name%21&password=x",
    ] {
        assert_eq!(page(submit(&gateway, "/auth/login", &[], body), 401), first, "{body}");
    }
    let kept = format!("{WRONG}&remember=on&return_to=%2Freports");
    let html = page(submit(&gateway, "/auth/login", &[], &kept), 401);
    assert!(html.contains(r#"value="/reports""#) && html.contains(" checked"), "{html}");
    assert!(!html.contains("alice"), "what was typed is not shown again: {html}");
    let log = gateway.access_log();
    assert!(log.contains("invalid_credentials"), "{log}");
    page(submit(&gateway, "/auth/login", &[], "username=alice"), 400);
}

#[test]
fn too_many_logins_and_a_login_from_elsewhere_are_told_by_a_page() {
    let gateway = Gateway::start("[rate_limits]\nlogin_per_ip = \"2/minute\"");
    let elsewhere = [
        FORM[0],
        FORM[1],
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    let refused = gateway.ask("POST /auth/login", &elsewhere, GOOD);
    assert_eq!(refused.cookies(), []);
    assert_eq!(heading(&page(refused, 403)), "Stopped for your safety");
    for _ in 0..2 {
        submit(&gateway, "/auth/login", &[], WRONG).expect(401);
    }
    let wanted = format!("{GOOD}&return_to=%2Freports");
    let throttled = submit(&gateway, "/auth/login", &[], &wanted).expect(429);
    let seconds = throttled.header("retry-after").expect("Retry-After").to_owned();
    let html = page(throttled, 429);
    assert!(html.contains(&format!("Try again in {seconds} seconds.")), "{html}");
    let link = r#"href="/auth/login?return_to=%2Freports">Try again</a>"#;
    assert!(html.contains(link), "{html}");
}

#[test]
fn a_form_of_ours_that_is_throttled_or_fails_leads_back_to_its_page() {
    let gateway = Gateway::start("[rate_limits]\nauth_per_ip = \"2/minute\"");
    let cookies = sign_in(&gateway);
    let cookies = [("Cookie", &*cookies)];
    submit(&gateway, "/auth/login", &[], GOOD).expect(303);
    for (form, page_of_form) in [
        ("/auth/login", Some("/auth/login")),
        ("/auth/logout", Some("/auth/logout")),
        ("/auth/logout-all", Some("/auth/account")),
        ("/auth/password", Some("/auth/account")),
        ("/auth/sessions/x/end", Some("/auth/account")),
        ("/auth/setup", None),
    ] {
        let html = submit(&gateway, form, &cookies, "").expect(429).text();
        let link =
            page_of_form.map(|page| format!(r#"<a class="button" href="{page}">Try again</a>"#));
        assert_eq!(html.matches("<a").count(), usize::from(link.is_some()), "{form} {html}");
        assert!(html.contains(&link.unwrap_or_default()), "{form} {html}");
    }
}

#[test]
fn a_store_that_is_away_is_told_by_a_page_and_signs_nobody_out_but_who_leaves() {
    let gateway = Gateway::start("");
    let (cookies, leaving) = (sign_in(&gateway), sign_in(&gateway));
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO hidden").unwrap();
    for answer in [
        open_with(&gateway, "/auth/account", &[("Cookie", &cookies)]),
        submit(&gateway, "/auth/login", &[], GOOD),
    ] {
        assert_eq!(answer.cookies(), []);
        let seconds = answer.header("retry-after").expect("Retry-After").to_owned();
        let html = page(answer, 503);
        assert!(html.contains("Nobody is signed out by that."), "{html}");
        assert!(html.contains(&format!("Try again in {seconds} seconds.")), "{html}");
    }
    let html = page(submit(&gateway, "/auth/logout", &[("Cookie", &leaving)], ""), 503);
    assert_eq!(heading(&html), "You are signed out here");
    assert!(!html.contains("not signed out"), "{html}");
    database.execute_batch("ALTER TABLE hidden RENAME TO sessions").unwrap();
    page(open_with(&gateway, "/auth/account", &[("Cookie", &cookies)]), 200);
}

#[test]
fn one_who_is_signed_in_is_led_on_unless_asked_again() {
    let gateway = Gateway::start("");
    let cookies = sign_in(&gateway);
    let cookies = [("Cookie", &*cookies)];
    let led = open_with(&gateway, "/auth/login?return_to=%2Fx%3Fy", &cookies).expect(303);
    assert_eq!(led.header("location"), Some("/x?y"));
    let asked = open_with(&gateway, "/auth/login?prompt=login&return_to=%2Fx", &cookies);
    let html = page(asked, 200);
    assert!(html.contains("please sign in once more") && html.contains(r#"value="/x""#), "{html}");
    // Signing in again ends the session that was there before.
    let again = submit(&gateway, "/auth/login", &cookies, GOOD).expect(303);
    gateway.get("/auth/me", &[("Cookie", &again.cookie_header())]).expect(200);
    gateway.get("/auth/me", &cookies).expect(401);
}

#[test]
fn a_browser_that_keeps_no_cookie_is_told_why() {
    for (extra, host, reason) in [
        ("", "localhost:PORT", "Safari does not keep such cookies"),
        (
            "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\ndata_dir = \"FOLDER/data\"\npublic_url = \"https://apps.example.com\"",
            "apps.example.com",
            "begins with http:// rather than https://",
        ),
    ] {
        let gateway = Gateway::start(extra);
        let host = host.replace("PORT", &gateway.address().port().to_string());
        let bytes = crate::support::request(
            "GET /auth/done?to=%2Freports",
            &[&NAVIGATION[..], &[("Host", &*host)]].concat(),
            "",
        );
        let html = page(gateway.connect().ask(bytes), 400);
        // Whoever opens it without a login reads it too.
        assert!(html.contains("If you have just signed in, your password was right"), "{html}");
        assert!(html.contains("did not keep the cookie"), "{html}");
        assert!(html.contains(reason), "{reason} in {html}");
        assert!(html.contains("Cookies are blocked for this site"), "{html}");
        let again = "/auth/login?prompt=login&#38;return_to=%2Freports";
        assert!(html.contains(again), "{html}");
    }
}

#[test]
fn logout_asks_by_get_and_ends_by_post() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[auth]\nroles = [\"admin\", \"editor\", \"user\"]\nafter_logout = \"/goodbye\"\n{}",
        routes(&upstream.url())
    ));
    let cookies = sign_in(&gateway);
    let cookies = [("Cookie", &*cookies)];
    let html = page(open_with(&gateway, "/auth/logout", &cookies), 200);
    assert!(html.contains(r#"<form method="post" action="/auth/logout">"#), "{html}");
    gateway.get("/x", &cookies).expect(200);
    let out = submit(&gateway, "/auth/logout", &cookies, "").expect(303);
    assert_eq!(out.header("location"), Some("/goodbye"));
    assert_eq!(out.all("set-cookie").filter(|line| line.contains("Max-Age=0")).count(), 3);
    assert_eq!(out.header("clear-site-data"), None, "browsers take it over https alone");
    gateway.get("/x", &cookies).expect(401);
    assert_eq!(heading(&page(open(&gateway, "/auth/logout"), 200)), "You are signed out");
    // Programs are answered as ever.
    let json = gateway.ask("POST /auth/logout", &cookies, "").expect(200);
    assert_eq!(json.text(), r#"{"ok":true}"#);
    // Nobody else's page signs anybody out.
    let cookies = sign_in(&gateway);
    let elsewhere = [
        FORM[0],
        FORM[1],
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Cookie", &*cookies),
    ];
    page(gateway.ask("POST /auth/logout", &elsewhere, ""), 403);
    gateway.get("/x", &[("Cookie", &cookies)]).expect(200);
}

#[test]
fn a_logout_over_https_clears_what_the_browser_cached() {
    let gateway = Gateway::start(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\ndata_dir = \"FOLDER/data\"\npublic_url = \"https://apps.example.com\"",
    );
    let headers = [&FORM[..], &[("Host", "apps.example.com")]].concat();
    let bytes = crate::support::request("POST /auth/logout", &headers, "");
    let out = gateway.connect().ask(bytes).expect(303);
    assert_eq!(out.header("clear-site-data"), Some("\"cache\""));
}

#[test]
fn refusals_of_navigations_are_pages() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let cookies = sign_in(&gateway);
    let cookies = [("Cookie", &*cookies)];
    let denied = page(open_with(&gateway, "/admin/?x=1", &cookies), 403);
    assert_eq!(heading(&denied), "You may not see this");
    let other = "/auth/login?prompt=login&#38;return_to=%2Fadmin%2F%3Fx%3D1";
    assert!(denied.contains(other), "{denied}");
    let missing = page(open_with(&gateway, "/auth/missing", &cookies), 404);
    assert!(missing.contains("Reference: not_found · "), "{missing}");
    let method = open_with(&gateway, "/auth/refresh", &cookies);
    assert_eq!(method.header("allow"), Some("POST"));
    page(method, 405);
    let misdirected = crate::support::request(
        "GET /",
        &[&NAVIGATION[..], &[("Host", "evil.example")]].concat(),
        "",
    );
    page(gateway.connect().ask(misdirected), 421);
    page(submit(&gateway, "/auth/login", &cookies, &"x".repeat(9000)), 413);
    assert_eq!(gateway.ask("HEAD /admin/", &[&NAVIGATION[..], &cookies].concat(), "").status, 403);
    let json = gateway.get("/admin/", &cookies).expect(403);
    assert_eq!(json.member("code"), "forbidden");
}

#[test]
fn a_navigation_that_cannot_be_read_is_refused_by_a_page_in_its_language() {
    let gateway = Gateway::start(&routes("http://127.0.0.1:9"));
    let long = format!("/{}", "x".repeat(17_000));
    let many: Vec<_> = (0..99).map(|at| (format!("X-{at}"), "1".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let twice = [("Authorization", "Basic eHNz"), ("Authorization", "Basic eHNz")];
    let both = [("Content-Length", "1"), ("Transfer-Encoding", "chunked")];
    for (line, more, status, code) in [
        ("GET /a/%2e%2e%2fxss", &[][..], 400, "bad_request"),
        ("GET /100%xss", &[], 400, "bad_request"),
        ("GET /xss%00b", &[], 400, "bad_request"),
        ("GET /xss", &twice, 400, "bad_request"),
        ("GET /xss", &both, 400, "bad_request"),
        ("POST /100%xss", &[], 400, "bad_request"),
        (&format!("GET {long}"), &[], 414, "target_too_long"),
        ("TRACE /xss", &[], 405, "method_not_allowed"),
    ] {
        let (german, host) = (("Accept-Language", "de"), gateway.host());
        let navigation = [&NAVIGATION[..], &[german, ("Host", &*host)], more].concat();
        let mut client = gateway.connect();
        let request = crate::support::request(line, &navigation, "");
        let answer = client.ask(request);
        assert_eq!(answer.header("connection"), Some("close"), "{line} {answer:?}");
        let html = page(answer, status);
        assert!(html.contains("<html lang=\"de\">") && html.contains(code), "{line} {html}");
        assert!(!html.contains("xss"), "{line} {html}");
        assert!(client.is_closed(), "{line}");
        let scripted = [more, &[("Accept", "*/*")]].concat();
        assert_eq!(gateway.ask(line, &scripted, "").expect(status).member("code"), code, "{line}");
    }
    // Over HTTP/1.1 so many fields are refused before they are a request.
    gateway.get("/", &[&NAVIGATION[..], &many].concat()).expect(431);
}

#[test]
fn failures_of_an_application_are_pages_that_say_how_to_go_on() {
    let gateway = Gateway::start(&routes("http://127.0.0.1:9"));
    let html = page(open(&gateway, "/public/x?y=1&z=2"), 502);
    assert_eq!(heading(&html), "The application does not answer");
    assert!(html.contains(r#"href="/public/x?y=1&#38;z=2">Try again</a>"#), "{html}");
    // By a link that could lead elsewhere nothing can be tried again.
    let gateway = Gateway::start(
        "[[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:9\"",
    );
    let html = page(open(&gateway, "//evil.example/x"), 502);
    assert!(!html.contains("evil.example"), "{html}");
    let json = gateway.get("/x", &[]).expect(502);
    assert_eq!(json.member("code"), "bad_gateway");
}

#[test]
fn the_pages_speak_german() {
    let gateway = Gateway::start("");
    let german = [("Accept-Language", "de-AT,de;q=0.9,en;q=0.5")];
    let html = page(open_with(&gateway, "/auth/login", &german), 200);
    assert!(html.contains(r#"<html lang="de">"#) && html.contains("Angemeldet bleiben"), "{html}");
    let html = page(open_with(&gateway, "/auth/missing", &german), 404);
    assert_eq!(heading(&html), "Hier ist nichts");
    let gateway =
        Gateway::start("[auth]\nroles = [\"admin\", \"user\"]\npage = { language = \"de\" }");
    let html = page(open_with(&gateway, "/auth/login", &[("Accept-Language", "en")]), 200);
    assert!(html.contains("Benutzername"), "{html}");
}

#[test]
fn the_operator_gives_title_logo_and_colour() {
    let folder = tempfile::tempdir().unwrap();
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    std::fs::write(folder.path().join("logo.svg"), svg).unwrap();
    let gateway = Gateway::start_in(
        folder,
        r##"
[auth]
roles = ["admin", "user"]
page = { title = "Müller & <b>Sons</b>", logo = "logo.svg", accent = "#ffee00" }
"##,
    );
    let html = page(open(&gateway, "/auth/login"), 200);
    assert!(html.contains("Müller &#38; &#60;b&#62;Sons&#60;/b&#62;"), "{html}");
    assert!(html.contains(r#"<img src="/auth/logo" alt="">"#), "{html}");
    assert!(html.contains("--accent:#ffee00;--on-accent:#000000"), "{html}");
    let logo = gateway.get("/auth/logo", &[]).expect(200);
    assert_eq!(logo.text(), svg);
    assert_eq!(logo.header("content-type"), Some("image/svg+xml"));
    assert_eq!(logo.header("x-content-type-options"), Some("nosniff"));
    let policy = logo.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    assert_eq!(Gateway::start("").get("/auth/logo", &[]).status, 404);
}

#[test]
fn hostile_strings_are_shown_as_text_or_not_at_all() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let hostile = encoded(HOSTILE);
    // That nothing of this becomes an element is looked at by `page`.
    page(open(&gateway, &format!("/auth/login?return_to={hostile}")), 200);
    page(open(&gateway, &format!("/auth/login?return_to=%2F{hostile}")), 200);
    page(open(&gateway, &format!("/auth/login?prompt={hostile}&{hostile}")), 200);
    page(open(&gateway, &format!("/auth/done?to={hostile}")), 400);
    page(open(&gateway, &format!("/auth/{hostile}?{hostile}")), 404);
    let body = format!("username={hostile}&password={hostile}&return_to={hostile}");
    page(submit(&gateway, "/auth/login", &[], &body), 401);
    let body = "username=x&password=x&return_to=%2Fa%22%3E%3Cscript%3E";
    page(submit(&gateway, "/auth/login", &[], body), 401);
    page(open_with(&gateway, "/auth/login", &[("Accept-Language", HOSTILE)]), 200);
    page(open_with(&gateway, "/auth/missing", &[("X-Request-Id", HOSTILE)]), 404);
    // A quote may stand in a path as it is; in a page it is text.
    let html = page(open(&gateway, "/auth/login?return_to=%2Fa%22b%27c%3Cd"), 200);
    assert!(!html.contains("a\"b") && !html.contains("'c<"), "{html}");
    // What a browser calls itself is shown to its owner.
    let agent = [("User-Agent", HOSTILE)];
    let cookies = submit(&gateway, "/auth/login", &agent, GOOD).expect(303).cookie_header();
    let html = page(open_with(&gateway, "/auth/account", &[("Cookie", &cookies)]), 200);
    assert!(html.contains("&#60;script&#62;alert(1)"), "shown as text: {html}");
}

#[test]
fn the_account_page_lists_sessions_and_ends_them_by_forms() {
    let gateway = Gateway::start("");
    gateway.advance(Duration::from_secs(24 * 60));
    let led = open(&gateway, "/auth/account").expect(303);
    assert_eq!(led.header("location"), Some("/auth/login?return_to=%2Fauth%2Faccount"));
    assert_eq!(gateway.get("/auth/account", &[]).expect(401).member("code"), "token_missing");

    let other = gateway.login("alice");
    let cookies = sign_in(&gateway);
    let cookies = [("Cookie", &*cookies)];
    let html = page(open_with(&gateway, "/auth/account", &cookies), 200);
    assert!(html.contains("Signed in as <strong>alice</strong>"), "{html}");
    assert_eq!(html.matches("<li>").count(), 2, "{html}");
    assert_eq!(html.matches("this browser").count(), 1, "{html}");
    // By the hour it would be before the login.
    let since = html.split("Signed in ").nth(2).and_then(|rest| rest.get(..20)).expect("a moment");
    assert!(html.contains(&format!("Last used {since}")), "{html}");
    for target in ["/auth/password", "/auth/logout-all"] {
        assert!(html.contains(&format!(r#"method="post" action="{target}""#)), "{html}");
    }
    let end = format!("/auth/sessions/{}/end", other.session);
    assert!(html.contains(&format!(r#"action="{end}""#)), "{html}");

    let elsewhere = [FORM[0], FORM[1], ("Sec-Fetch-Site", "cross-site"), cookies[0]];
    gateway.ask(&format!("POST {end}"), &elsewhere, "").expect(403);
    let foreign = [FORM[0], FORM[1], ("Origin", "https://evil.example"), cookies[0]];
    gateway.ask(&format!("POST {end}"), &foreign, "").expect(403);
    let json = [("Content-Type", "application/json"), cookies[0]];
    gateway.ask(&format!("POST {end}"), &json, "{}").expect(415);
    gateway.get_as("/auth/me", &other.access).expect(200);

    let ended = submit(&gateway, &end, &cookies, "").expect(303);
    assert_eq!(ended.header("location"), Some("/auth/account"));
    gateway.get_as("/auth/me", &other.access).expect(401);
    let html = page(open_with(&gateway, "/auth/account", &cookies), 200);
    assert_eq!(html.matches("<li>").count(), 1, "{html}");
    submit(&gateway, &end, &cookies, "").expect(303);
    page(submit(&gateway, "/auth/sessions/nonsense/end", &cookies, ""), 404);
}

#[test]
fn the_account_page_names_guessed_devices_in_its_language_and_given_ones_as_given() {
    let gateway = Gateway::start("");
    let agent = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0");
    let cookies = submit(&gateway, "/auth/login", &[agent], GOOD).expect(303).cookie_header();
    let cookies = ("Cookie", &*cookies);
    for (language, name) in [("de", "Firefox unter Linux"), ("en", "Firefox on Linux")] {
        let html = page(
            open_with(&gateway, "/auth/account", &[cookies, ("Accept-Language", language)]),
            200,
        );
        assert!(html.contains(&format!(">{name}</strong>")), "{html}");
    }
    let given =
        r#"{"username":"alice","password":"a long passphrase","device_name":"Opera on TV"}"#;
    gateway.post_json("/auth/login", &[agent], given).expect(200);
    let german = [cookies, ("Accept-Language", "de")];
    let html = page(open_with(&gateway, "/auth/account", &german), 200);
    assert!(html.contains(">Opera on TV</strong>"), "{html}");
}

#[test]
fn the_account_page_leads_back_to_the_application() {
    let gateway = Gateway::start("");
    let cookies = sign_in(&gateway);
    let html = page(open_with(&gateway, "/auth/account", &[("Cookie", &cookies)]), 200);
    assert!(html.contains("<a href=\"/\">Start page</a>"), "{html}");
}

#[test]
fn a_password_changed_by_the_form_is_told_on_the_account_page() {
    let gateway = Gateway::start("");
    let cookies = sign_in(&gateway);
    let quiet = page(open_with(&gateway, "/auth/account", &[("Cookie", &cookies)]), 200);
    assert!(!quiet.contains("role=\"status\""), "{quiet}");
    let change = "current_password=a+long+passphrase&new_password=quite+another+one";
    let changed = submit(&gateway, "/auth/password", &[("Cookie", &cookies)], change).expect(303);
    let done = changed.header("location").expect("a way on").to_owned();
    let cookies = changed.cookie_header();
    let on = open_with(&gateway, &done, &[("Cookie", &cookies)]).expect(303);
    let account = on.header("location").expect("a way on").to_owned();
    for (language, told) in
        [("en", "The password was changed."), ("de", "Das Passwort wurde geändert.")]
    {
        let headers = [("Cookie", &*cookies), ("Accept-Language", language)];
        let html = page(open_with(&gateway, &account, &headers), 200);
        assert!(html.contains(&format!("role=\"status\">{told}</p>")), "{html}");
    }
}

#[test]
fn ending_ones_own_session_by_the_list_is_a_logout() {
    let gateway = Gateway::start("");
    let cookies = sign_in(&gateway);
    let cookies = [("Cookie", &*cookies)];
    let sid = gateway.get("/auth/me", &cookies).expect(200).member("sid");
    let out = submit(&gateway, &format!("/auth/sessions/{sid}/end"), &cookies, "").expect(303);
    assert_eq!(out.header("location"), Some("/"));
    assert_eq!(out.all("set-cookie").filter(|line| line.contains("Max-Age=0")).count(), 3);
    gateway.get("/auth/me", &cookies).expect(401);
}

#[test]
fn ending_another_session_asks_for_a_recent_login_by_a_page() {
    let gateway = Gateway::start("[tokens]\naccess_ttl = \"60m\"\naccess_jitter = 0.0");
    let other = gateway.login("alice");
    let cookies = sign_in(&gateway);
    gateway.advance(Duration::from_secs(16 * 60));
    let end = format!("/auth/sessions/{}/end", other.session);
    let refused = submit(&gateway, &end, &[("Cookie", &cookies)], "");
    assert!(refused.header("www-authenticate").is_some());
    let html = page(refused, 401);
    let link = "/auth/login?prompt=login&#38;return_to=%2Fauth%2Faccount";
    assert!(html.contains("recent sign-in") && html.contains(link), "{html}");
    gateway.get_as("/auth/me", &other.access).expect(200);
}
