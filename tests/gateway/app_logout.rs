//! Logouts of applications end our session too: `logout` of a route.

use std::io::Read;
use std::time::Duration;

use crate::sessions::row;
use crate::support::{Answer, Gateway, Then, Upstream, eventually, request};

const SAME_ORIGIN: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

fn house(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
[[routes]]
path = "/*"
upstream = "{url}"
[[routes]]
path = "/cal/*"
strip_prefix = "/cal"
logout = ["/cal/.web/logout", "/cal/sign out"]
cache = "upstream"
upstream = "{url}"
[[routes]]
path = "/maybe/*"
access = "optional"
logout = "/maybe/logout"
upstream = "{url}"
"#,
        url = upstream.url()
    ))
}

/// Whether the answer deletes the cookies of a session, and no other.
#[track_caller]
fn signs_out(answer: &Answer) -> bool {
    let ours = |line: &&str| line.contains("pc_");
    let lines: Vec<&str> = answer.all("set-cookie").filter(ours).collect();
    for name in ["pc_at", "pc_rt", "pc_own"] {
        let deleted = |line: &&&str| line.contains(name) && line.contains("Max-Age=0");
        let count = lines.iter().filter(deleted).count();
        assert_eq!(count, usize::from(!lines.is_empty()), "{name}: {lines:?}");
    }
    assert!(lines.is_empty() || lines.len() == 3, "{lines:?}");
    !lines.is_empty()
}

fn reason(gateway: &Gateway, login: &Answer) -> Option<String> {
    row(gateway, &login.member("session_id"), "revoke_reason")
}

#[test]
fn an_applications_logout_ends_our_session_and_keeps_the_applications_answer() {
    let upstream = Upstream::answering(
        "HTTP/1.1 302 Found\r\nLocation: /cal/bye\r\nSet-Cookie: app=; Max-Age=0\r\n\
         Cache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = house(&upstream);
    let (login, other) = (gateway.login_by_cookie("alice"), gateway.login_by_cookie("alice"));
    let cookies = login.cookie_header();
    let out = gateway.ask("POST /cal/.web/logout", &[("Cookie", &cookies)], "").expect(302);
    assert!(signs_out(&out), "{out:?}");
    assert_eq!(out.header("location"), Some("/cal/bye"));
    assert!(out.all("set-cookie").any(|line| line == "app=; Max-Age=0"), "{out:?}");
    assert_eq!(out.all("cache-control").collect::<Vec<_>>(), ["no-store"]);
    assert_eq!(out.header("clear-site-data"), None, "browsers take it over https alone");
    let seen = upstream.only();
    assert_eq!((seen.line(), seen.header("remote-user")), ("POST /.web/logout", Some("alice")));

    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    gateway.refresh_by_cookie(&cookies).expect(401);
    assert_eq!(reason(&gateway, &login).as_deref(), Some("logout"));
    let audit = gateway.audit();
    assert_eq!(audit.matches(r#""event":"auth.logout""#).count(), 1, "{audit}");
    // Nobody else's, and none of the same user's others.
    gateway.get("/x", &[("Cookie", &other.cookie_header())]).expect(302);
}

#[test]
fn a_link_to_an_applications_logout_counts_only_within_the_origin() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let login = gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    for method in ["GET", "HEAD", "OPTIONS"] {
        for site in [
            &[][..],
            &[("Sec-Fetch-Site", "none")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "cross-site")],
            &[SAME_ORIGIN, ("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-origin, cross-site")],
        ] {
            let headers = [&[("Cookie", &*cookies)], site].concat();
            let answer = gateway.ask(&format!("{method} /cal/.web/logout"), &headers, "");
            assert!(answer.status == 200 && !signs_out(&answer), "{method} {site:?}: {answer:?}");
        }
    }
    for path in ["/cal/.web/logout/", "/cal/.web/LOGOUT", "/cal/.web/logout;x", "/cal/.web", "/x"] {
        let answer = gateway.ask(&format!("POST {path}"), &[("Cookie", &cookies)], "").expect(200);
        assert!(!signs_out(&answer), "{path}: {answer:?}");
    }
    let foreign = [("Cookie", &*cookies), ("Origin", "https://evil.example")];
    assert!(!signs_out(&gateway.ask("POST /cal/.web/logout", &foreign, "").expect(403)));
    let host = gateway.host();
    let head = [("Host", &*host), ("Cookie", &*cookies), SAME_ORIGIN];
    // One path, however the client spells it.
    let spelled = request("GET /cal/%2Eweb/logout?next=/", &head, "");
    let out = gateway.connect().ask(spelled).expect(200);
    assert!(signs_out(&out), "{out:?}");
    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    assert_eq!(upstream.last().line(), "GET /.web/logout?next=/");

    let again = gateway.login_by_cookie("alice").cookie_header();
    let headers = [("Cookie", &*again), SAME_ORIGIN];
    assert!(signs_out(&gateway.get("/cal/sign%20out", &headers).expect(200)));
}

#[test]
fn an_applications_logout_ends_the_session_of_the_caller_and_of_nobody_else() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let nobody = gateway.ask("POST /maybe/logout", &[], "").expect(200);
    assert!(!signs_out(&nobody), "{nobody:?}");
    gateway.ask("POST /cal/.web/logout", &[], "").expect(401);
    assert_eq!(upstream.seen().len(), 1);

    let by_cookie = gateway.login_by_cookie("alice");
    let script = gateway.login("admin");
    let bearer = format!("Bearer {}", script.access);
    let both = [("Cookie", &*by_cookie.cookie_header()), ("Authorization", &*bearer)];
    gateway.ask("POST /cal/.web/logout", &both, "").expect(200);
    gateway.get_as("/x", &script.access).expect(401);
    assert_eq!(reason(&gateway, &by_cookie), None, "the Bearer decided who asks");
    gateway.get("/x", &[("Cookie", &by_cookie.cookie_header())]).expect(200);
    let known = [("Cookie", &*by_cookie.cookie_header())];
    assert!(signs_out(&gateway.ask("POST /maybe/logout", &known, "").expect(200)));
    assert_eq!(reason(&gateway, &by_cookie).as_deref(), Some("logout"));
}

#[test]
fn an_applications_logout_ends_the_session_of_the_refresh_cookie_too() {
    let gateway = house(&Upstream::hello());
    let [one, other, third] = [(); 3].map(|()| gateway.login_by_cookie("alice"));
    let pick = |login: &Answer, part: &str| {
        let cookies = login.cookie_header();
        cookies.split("; ").find(|cookie| cookie.contains(part)).unwrap().to_owned()
    };
    let mixed = format!("{}; {}", pick(&one, "pc_at"), pick(&other, "pc_rt"));
    let foreign = [("Cookie", &*mixed), ("Origin", "https://evil.example")];
    gateway.ask("POST /cal/.web/logout", &foreign, "").expect(403);
    assert_eq!([&one, &other].map(|login| reason(&gateway, login)), [None, None]);
    let out = gateway.ask("POST /cal/.web/logout", &[("Cookie", &mixed)], "").expect(200);
    assert!(signs_out(&out), "{out:?}");
    let ended = [&one, &other, &third].map(|login| reason(&gateway, login));
    let logout = || Some("logout".to_owned());
    assert_eq!(ended, [logout(), logout(), None]);
}

#[test]
fn an_applications_logout_ends_the_sessions_of_doubled_cookies_too() {
    let gateway = house(&Upstream::hello());
    let [one, other, third] = [(); 3].map(|()| gateway.login_by_cookie("alice"));
    let pick = |login: &Answer, part: &str| {
        let cookies = login.cookie_header();
        cookies.split("; ").find(|cookie| cookie.contains(part)).unwrap().to_owned()
    };
    let [access, doubled, twice] =
        [(&one, "pc_at"), (&other, "pc_rt"), (&third, "pc_rt")].map(|(of, part)| pick(of, part));
    let cookies = format!("{access}; {doubled}; {twice}");
    let script = gateway.login("admin");
    let bearer = format!("Bearer {}", script.access);
    let both = [("Cookie", &*cookies), ("Authorization", &*bearer)];
    gateway.ask("POST /cal/.web/logout", &both, "").expect(200);
    let ended = || [&one, &other, &third].map(|login| reason(&gateway, login));
    assert_eq!(ended(), [None, None, None], "the Bearer decided who asks");
    let out = gateway.ask("POST /cal/.web/logout", &[("Cookie", &cookies)], "").expect(200);
    assert!(signs_out(&out), "{out:?}");
    assert_eq!(ended(), [(); 3].map(|()| Some("logout".to_owned())));
}

#[test]
fn a_logout_by_an_expired_access_cookie_renews_nothing() {
    let gateway = house(&Upstream::hello());
    let login = gateway.login_by_cookie("alice");
    gateway.advance(Duration::from_secs(16 * 60));
    let cookies = login.cookie_header();
    let out = gateway.ask("POST /cal/.web/logout", &[("Cookie", &cookies)], "").expect(200);
    assert!(signs_out(&out), "{out:?}");
    assert_eq!(row(&gateway, &login.member("session_id"), "gen").as_deref(), Some("0"));
    assert_eq!(reason(&gateway, &login).as_deref(), Some("logout"));
    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
}

#[test]
fn a_dead_application_does_not_keep_anybody_signed_in() {
    let upstream = Upstream::scripted(|_, _| Then::Close);
    let gateway = house(&upstream);
    let login = gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    let out = gateway.ask("POST /cal/.web/logout", &[("Cookie", &cookies)], "").expect(502);
    assert!(signs_out(&out), "{out:?}");
    assert_eq!(reason(&gateway, &login).as_deref(), Some("logout"));
}

#[test]
fn whoever_does_not_wait_for_the_applications_logout_is_signed_out_and_told_of() {
    let upstream = Upstream::scripted(|_, stream| {
        // Never answers: waits until the gateway hangs up.
        let _ = stream.read(&mut [0]);
        Then::Close
    });
    let gateway = house(&upstream);
    let login = gateway.login_by_cookie("alice");
    let mut client = gateway.connect();
    client.send(gateway.request(
        "POST /cal/.web/logout",
        &[("Cookie", &login.cookie_header())],
        "",
    ));
    eventually("the application is asked", || (!upstream.seen().is_empty()).then_some(()));
    drop(client);
    assert_eq!(reason(&gateway, &login).as_deref(), Some("logout"));
    eventually("it is told", || gateway.audit().contains(r#""event":"auth.logout""#).then_some(()));
}

#[test]
fn during_an_outage_no_application_claims_a_logout() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let login = gateway.login_by_cookie("alice");
    let cookies = login.cookie_header();
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE sessions RENAME TO away").unwrap();
    let out = gateway.ask("POST /cal/.web/logout", &[("Cookie", &cookies)], "").expect(503);
    assert!(signs_out(&out) && out.header("retry-after").is_some(), "{out:?}");
    assert_eq!(upstream.only().line(), "POST /.web/logout", "its own session ends all the same");
    gateway.get("/x", &[("Cookie", &cookies)]).expect(401);
    database.execute_batch("ALTER TABLE away RENAME TO sessions").unwrap();
    eventually("the logout is finished", || reason(&gateway, &login));
}

#[test]
fn an_applications_logout_over_https_clears_what_the_browser_cached() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nClear-Site-Data: \"storage\", \"cookies\"\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\ndata_dir = \"FOLDER/data\"\n\
         public_url = \"https://apps.example.com\"\n\
         [[routes]]\npath = \"/*\"\nlogout = \"/logout\"\nupstream = \"{}\"\n",
        upstream.url()
    ));
    let host = ("Host", "apps.example.com");
    let body = r#"{"username":"alice","password":"a long passphrase","transport":"cookie"}"#;
    let json = ("Content-Type", "application/json");
    let login = gateway.connect().ask(request("POST /auth/login", &[host, json], body)).expect(200);
    let headers = [host, ("Cookie", &login.cookie_header())];
    let out = gateway.connect().ask(request("POST /logout", &headers, "")).expect(200);
    assert!(signs_out(&out), "{out:?}");
    assert_eq!(out.all("clear-site-data").collect::<Vec<_>>(), ["\"storage\"", "\"cache\""]);
}

#[test]
fn a_logout_that_asks_for_a_tunnel_is_refused_and_ends_nothing() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let opening = [
        ("Cookie", &*cookies),
        SAME_ORIGIN,
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let refused = gateway.get("/cal/.web/logout", &opening).expect(400);
    assert!(!signs_out(&refused), "{refused:?}");
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    gateway.get("/x", &[("Cookie", &cookies)]).expect(200);
    // What opens no tunnel goes on as a logout.
    let other = [&opening[..2], &[("Connection", "Upgrade"), ("Upgrade", "h2c")]].concat();
    assert!(signs_out(&gateway.get("/cal/.web/logout", &other).expect(200)));
}
