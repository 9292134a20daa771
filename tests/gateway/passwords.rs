//! Passwords that are set, changed, taken over from elsewhere and forgotten.

use std::time::{Duration, Instant};

use portcullis::app::control::{self, Command};
use portcullis::identity::Username;
use rusqlite::Connection;
use serde_json::Value;

use crate::sessions::block_on;
use crate::support::{Answer, Gateway, Upstream};

const GOOD: &str = "a long passphrase";
const BETTER: &str = "quite another passphrase";
/// What a browser would rather read.
const HTML: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");
const HOUR: Duration = Duration::from_secs(3_600);

fn name(user: &str) -> Username {
    Username::new(user).unwrap()
}

/// A bcrypt hash as another program would have made it.
fn bcrypt(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
}

fn column(gateway: &Gateway, user: &str, column: &str) -> Option<String> {
    Connection::open(gateway.database())
        .unwrap()
        .query_row(
            &format!("SELECT CAST({column} AS TEXT) FROM users WHERE username = ?1"),
            [user],
            |row| row.get(0),
        )
        .unwrap()
}

fn order(gateway: &Gateway, command: Command) -> Result<String, String> {
    match block_on(control::run(gateway.auth(), command)) {
        control::Answer::Done(text) => Ok(text),
        control::Answer::Refused(text) => Err(text),
        other => panic!("{other:?}"),
    }
}

fn import(gateway: &Gateway, text: &str) -> Result<String, String> {
    order(gateway, Command::UserImport { text: text.to_owned(), dry_run: false })
}

fn login(gateway: &Gateway, user: &str, password: &str) -> Answer {
    let json = format!(r#"{{"username":"{user}","password":"{password}"}}"#);
    gateway.post_json("/auth/login", &[], &json)
}

/// Waits for what a login left behind, without holding anybody up.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn row_57_an_imported_hash_lets_its_owner_in_and_becomes_argon2id() {
    let gateway = Gateway::start("");
    let long = "0123456789".repeat(8);
    let short = "hunter2";
    let file =
        format!("username,hash,roles\nbob,{},user\ncarol,{},\n", bcrypt(&long), bcrypt(short));
    import(&gateway, &file).unwrap();
    assert_eq!(column(&gateway, "bob", "pw_prep").as_deref(), Some("0"));
    let is_ours = |user| column(&gateway, user, "pw_hash").unwrap().starts_with("$argon2id$");

    // The beginning of the long one is all that the hash knows, but it must not become all.
    login(&gateway, "bob", &long[..72]).expect(200);
    login(&gateway, "bob", &long[..71]).expect(401);
    login(&gateway, "bob", &long).expect(200);
    eventually("a hash of ours", || is_ours("bob"));
    assert_eq!(column(&gateway, "bob", "pw_prep").as_deref(), Some("1"));
    assert_eq!(column(&gateway, "bob", "pw_epoch").as_deref(), Some("0"));
    login(&gateway, "bob", &long).expect(200);
    login(&gateway, "bob", &long[..72]).expect(401);

    login(&gateway, "carol", short).expect(200);
    eventually("a hash of ours", || is_ours("carol"));
    login(&gateway, "carol", short).expect(200);
    login(&gateway, "carol", "hunter3").expect(401);
}

#[test]
fn row_58_a_password_that_is_set_during_the_rehash_holds() {
    // A rehash takes far longer than the change that overtakes it.
    let gateway = Gateway::start(
        "[passwords]\nargon2 = { memory = \"64 MiB\", passes = 4, lanes = 1 }\nconcurrent = 1\n",
    );
    import(&gateway, &format!("username,hash\nbob,{}\n", bcrypt(GOOD))).unwrap();
    let store = gateway.auth().store();
    let bob = block_on(store.user(&name("bob"))).unwrap().unwrap();
    let new = portcullis::password::PasswordHash::parse(&bcrypt(BETTER)).unwrap();
    let session = login(&gateway, "bob", GOOD).expect(200);
    let _ended = block_on(store.set_password(bob.id, new.clone())).unwrap();
    eventually("no hash is made any more", || gateway.auth().logins_waiting() == 0);
    block_on(store.ping()).unwrap();
    assert_eq!(column(&gateway, "bob", "pw_hash").as_deref(), Some(new.as_str()));
    login(&gateway, "bob", GOOD).expect(401);
    gateway.refresh(&session.member("refresh_token")).expect(401);
}

#[test]
fn a_bootstrap_user_may_have_a_bcrypt_hash() {
    let user = format!("[[bootstrap]]\nname = \"bob\"\nroles = []\nhash = '{}'\n", bcrypt(GOOD));
    let gateway = Gateway::start(&user);
    login(&gateway, "bob", GOOD).expect(200);
}

#[test]
fn an_import_takes_all_or_nothing_and_names_every_line_that_is_in_the_way() {
    let gateway = Gateway::start("");
    let good = bcrypt(GOOD);
    let dear = good.replace("$04$", "$31$");
    let file = format!(
        "username,hash,roles,name,email\n\
         bob,{good},user;editor,\"Bob, the Builder\",bob@example.org\n\
         Alice,{good},user,,\n\
         bob2,{good},wizard,,\n\
         carol,plain text,user,,\n\
         dave,{dear},user,,\n\
         BOB,{good},user,,\n\
         not a name,{good},user,,\n\
         erin,{good}\n\
         \n"
    );
    let told = import(&gateway, &file).unwrap_err();
    for (line, part) in [
        (3, "alice is there, or was"),
        (4, "no role wizard"),
        (5, "neither an argon2id"),
        (6, "beyond what a login may take"),
        (7, "bob stands in line 2 already"),
        (8, "a username"),
        (9, "2 fields, but 5 columns"),
        (10, "1 fields, but 5 columns"),
    ] {
        let found = told.lines().find(|l| l.starts_with(&format!("line {line}: ")));
        assert!(found.is_some_and(|found| found.contains(part)), "line {line}: {part}\n{told}");
    }
    assert!(!told.contains("line 2:") && told.contains("nothing was added"), "{told}");
    assert!(!told.contains("$2b$"), "a report shows no hash: {told}");
    let all = || block_on(gateway.auth().users().list()).unwrap().len();
    assert_eq!(all(), 2);

    let file = file.lines().take(2).collect::<Vec<_>>().join("\r\n");
    let dry = order(&gateway, Command::UserImport { text: file.clone(), dry_run: true }).unwrap();
    assert!(dry.contains("bob\n") && dry.contains("would be added"), "{dry}");
    assert_eq!(all(), 2);
    import(&gateway, &file).unwrap();
    assert_eq!(all(), 3);
    assert_eq!(column(&gateway, "bob", "name").as_deref(), Some("Bob, the Builder"));
    assert_eq!(column(&gateway, "bob", "email").as_deref(), Some("bob@example.org"));
    assert_eq!(column(&gateway, "bob", "roles").as_deref(), Some(r#"["user","editor"]"#));
    assert!(import(&gateway, &file).unwrap_err().contains("line 2: a user named bob"));

    for other in ["", "bob,x\n", "name,hash\n", "username,hash,hash\n", "username;hash\n"] {
        assert!(import(&gateway, other).unwrap_err().contains("line 1: "), "{other:?}");
    }
}

/// From when `passwords.argon2` was dearer.
#[test]
fn a_hash_that_is_dearer_than_new_ones_raises_the_floor_for_everybody() {
    const DEAR: &str =
        "$argon2id$v=19$m=131072,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b6dWRWJTmaaJObG";
    let mut gateway = Gateway::start("");
    assert_eq!(gateway.auth().failure_floor(), Duration::ZERO, "as these tests have it");
    let database = Connection::open(gateway.database()).unwrap();
    database.execute("UPDATE users SET pw_hash = ?1 WHERE username = 'alice'", [DEAR]).unwrap();
    gateway.restart();
    assert_eq!(gateway.auth().failure_floor(), Duration::from_millis(800));
}

/// Else the time of a failed login would tell whom it is of.
#[test]
fn a_hash_that_costs_more_than_a_failed_login_waits_is_not_taken_over() {
    let gateway = Gateway::start("");
    let argon2 = |memory: u32, passes: u32| {
        let rest = "p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        format!("\"$argon2id$v=19$m={memory},t={passes},{rest}\"")
    };
    let refusal = "line 2: the hash: it costs more time than a failed login";
    let bcrypt = |cost: &str| bcrypt(GOOD).replace("$04$", cost);
    for dear in [bcrypt("$13$"), bcrypt("$14$"), argon2(65_536, 5), argon2(262_144, 2)] {
        let told = import(&gateway, &format!("username,hash\nbob,{dear}\n")).unwrap_err();
        assert!(told.contains(refusal), "{told}");
    }
    for (name, good) in [("bob", bcrypt("$12$")), ("carol", argon2(65_536, 4))] {
        import(&gateway, &format!("username,hash\n{name},{good}\n")).unwrap();
    }
}

fn change(gateway: &Gateway, headers: &[(&str, &str)], current: &str, new: &str) -> Answer {
    let json = format!(r#"{{"current_password":"{current}","new_password":"{new}"}}"#);
    gateway.post_json("/auth/password", headers, &json)
}

#[test]
fn row_33_a_changed_password_ends_every_session_but_a_fresh_one_for_who_changed_it() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let other = gateway.login("alice");
    let mine = gateway.login("alice");
    let bearer = format!("Bearer {}", mine.access);
    let by_bearer = [("Authorization", bearer.as_str())];

    change(&gateway, &[], GOOD, BETTER).expect(401);
    let wrong = change(&gateway, &by_bearer, "not hers", BETTER).expect(401);
    assert_eq!(wrong.member("code"), "invalid_credentials");
    let weak = change(&gateway, &by_bearer, GOOD, "alicealice").expect(422);
    assert_eq!(weak.member("code"), "password_rejected");
    let reasons = weak.json()["reasons"].as_array().unwrap().clone();
    assert!(reasons.len() == 2 && reasons.iter().all(Value::is_string), "{reasons:?}");
    gateway.get_as("/x", &other.access).expect(200);

    let good = change(&gateway, &by_bearer, GOOD, BETTER).expect(200);
    assert_eq!(good.cookies(), [], "a body session goes on by body");
    for access in [&other.access, &mine.access] {
        gateway.get_as("/x", access).expect(401);
    }
    gateway.refresh(&other.refresh).expect(401);
    gateway.get_as("/x", &good.member("access_token")).expect(200);
    gateway.refresh(&good.member("refresh_token")).expect(200);
    login(&gateway, "alice", GOOD).expect(401);
    login(&gateway, "alice", BETTER).expect(200);
    let audit = gateway.audit();
    assert!(audit.contains("auth.password.change"), "{audit}");
    for secret in [GOOD, BETTER, "not hers", "alicealice"] {
        assert!(!audit.contains(secret), "{secret} in {audit}");
    }
}

#[test]
fn a_password_changed_by_cookie_goes_on_by_cookie_and_only_from_our_origin() {
    let gateway = Gateway::start("");
    let before =
        gateway.login_with("alice", r#","transport":"cookie","remember":true"#).expect(200);
    let cookies = before.cookie_header();
    let cookie = ("Cookie", cookies.as_str());
    change(&gateway, &[cookie, ("Sec-Fetch-Site", "cross-site")], GOOD, BETTER).expect(403);
    change(&gateway, &[cookie, ("Origin", "null")], GOOD, BETTER).expect(403);
    let after = change(&gateway, &[cookie, ("Sec-Fetch-Site", "same-origin")], GOOD, BETTER);
    let after = after.expect(200);
    assert!(after.json().get("access_token").is_none(), "{}", after.text());
    for name in ["pc_at", "pc_rt", "pc_dev"] {
        let line = after.all("set-cookie").find(|line| line.contains(name)).expect(name);
        assert!(line.contains("Max-Age="), "still remembered: {line}");
    }
    gateway.get("/auth/me", &[("Cookie", &after.cookie_header())]).expect(200);
    gateway.get("/auth/me", &[cookie]).expect(401);
}

#[test]
fn guesses_at_the_current_password_are_limited() {
    let gateway = Gateway::start("");
    let tokens = gateway.login("alice");
    let bearer = format!("Bearer {}", tokens.access);
    let by_bearer = [("Authorization", bearer.as_str())];
    for _ in 0..10 {
        change(&gateway, &by_bearer, "a guess", BETTER).expect(401);
    }
    change(&gateway, &by_bearer, GOOD, BETTER).expect(429);
    gateway.advance(Duration::from_secs(60));
    for _ in 0..3 {
        change(&gateway, &by_bearer, GOOD, "weak").expect(422);
    }
    change(&gateway, &by_bearer, GOOD, BETTER).expect(200);
}

#[test]
fn neighbours_who_guess_keep_nobody_from_changing_the_password() {
    let gateway = Gateway::start("");
    let bearer = format!("Bearer {}", gateway.login("alice").access);
    for _ in 0..10 {
        login(&gateway, "alice", "a guess").expect(401);
    }
    login(&gateway, "alice", "a guess").expect(429);
    change(&gateway, &[("Authorization", &bearer)], GOOD, BETTER).expect(200);
}

/// Each costs two hashes, a session and a commit, as a login does.
#[test]
fn good_changes_and_weak_ones_are_limited_like_logins() {
    let gateway = Gateway::start("");
    let mut access = gateway.login("alice").access;
    let [mut current, mut next] = [GOOD, BETTER];
    for _ in 0..14 {
        let bearer = format!("Bearer {access}");
        change(&gateway, &[("Authorization", &bearer)], current, "weak").expect(422);
        let changed = change(&gateway, &[("Authorization", &bearer)], current, next).expect(200);
        access = changed.member("access_token");
        (current, next) = (next, current);
    }
    let bearer = format!("Bearer {access}");
    change(&gateway, &[("Authorization", &bearer)], current, "weak").expect(422);
    let many = change(&gateway, &[("Authorization", &bearer)], current, next).expect(429);
    assert!(many.header("retry-after").is_some());
    gateway.advance(HOUR);
    let again = gateway.try_password("alice", current).expect(200);
    let bearer = format!("Bearer {}", again.member("access_token"));
    change(&gateway, &[("Authorization", &bearer)], current, next).expect(200);
}

/// The secret of a link that an order gave.
#[track_caller]
pub fn invite(gateway: &Gateway, user: &str, roles: &[&str], hours: u64) -> String {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let command = Command::UserInvite { user: user.to_owned(), roles, seconds: hours * 3_600 };
    let told = order(gateway, command).unwrap();
    let start = format!("{}/auth/setup?t=", gateway.origin());
    let url = told.lines().next().unwrap();
    url.strip_prefix(&start).unwrap_or_else(|| panic!("{told}")).to_owned()
}

fn set_up(gateway: &Gateway, secret: &str, password: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("Content-Type", "application/x-www-form-urlencoded"), HTML];
    all.extend(headers);
    let password = password.replace(' ', "+");
    gateway.ask("POST /auth/setup", &all, &format!("t={secret}&password={password}"))
}

#[test]
fn an_invitation_makes_a_user_who_sets_a_password_once() {
    let gateway = Gateway::start("");
    let secret = invite(&gateway, "Zoe", &["editor"], 24);
    login(&gateway, "zoe", "").expect(401);
    for _ in 0..2 {
        let page = gateway.get(&format!("/auth/setup?t={secret}"), &[]).expect(200);
        let html = page.text();
        assert!(html.contains("<h1>Set a password</h1>"), "{html}");
        assert!(html.contains(r#"method="post" action="/auth/setup""#), "{html}");
        assert!(html.contains(&format!(r#"name="t" value="{secret}""#)), "{html}");
        assert!(html.contains(r#"value="zoe" autocomplete="username" readonly"#), "{html}");
        assert!(html.contains(r#"minlength="12" required autofocus aria-describedby="hint""#));
        assert!(!html.contains("alert"), "{html}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    // Browsers send a form of a page without a referrer so.
    let browser = [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")];
    let weak = set_up(&gateway, &secret, "short", &browser).expect(422);
    assert!(weak.text().contains("<li>It needs at least 12 characters.</li>"), "{}", weak.text());
    assert!(weak.text().contains(r#"aria-invalid="true" aria-describedby="fault hint""#));
    assert_eq!(weak.header("referrer-policy"), Some("no-referrer"));
    assert!(!weak.text().contains("short"), "a page never shows a password");
    let done = set_up(&gateway, &secret, BETTER, &browser).expect(303);
    assert_eq!(done.header("location"), Some("/auth/done?to=%2F"));
    let me = gateway.get("/auth/me", &[("Cookie", &done.cookie_header())]).expect(200);
    assert_eq!((me.member("username").as_str(), me.member("role").as_str()), ("zoe", "editor"));
    login(&gateway, "zoe", BETTER).expect(200);

    let again = set_up(&gateway, &secret, GOOD, &browser).expect(404);
    let never = set_up(&gateway, &"A".repeat(43), GOOD, &browser).expect(404);
    assert_eq!(again.text(), never.text());
    assert!(!again.text().contains("zoe"), "{}", again.text());
    let page = gateway.get(&format!("/auth/setup?t={secret}"), &[]).expect(404);
    assert!(!page.text().contains("zoe"), "{}", page.text());
    let logs = gateway.audit() + &gateway.access_log();
    assert!(!logs.contains(&secret), "{logs}");
    let bytes = std::fs::read(gateway.database()).unwrap();
    assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
}

#[test]
fn a_link_for_a_forgotten_password_ends_every_session() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let thief = gateway.login("alice");
    let first = invite(&gateway, "alice", &[], 24);
    let second = invite(&gateway, "alice", &[], 24);
    gateway.get_as("/x", &thief.access).expect(200);
    let json = format!(r#"{{"t":"{second}","password":"{BETTER}"}}"#);
    let done = gateway.post_json("/auth/setup", &[], &json).expect(200);
    assert_eq!(done.member("username"), "alice");
    gateway.get_as("/x", &thief.access).expect(401);
    gateway.refresh(&thief.refresh).expect(401);
    gateway.get("/x", &[("Cookie", &done.cookie_header())]).expect(200);
    login(&gateway, "alice", GOOD).expect(401);
    // The password has changed since the first link was made.
    set_up(&gateway, &first, GOOD, &[]).expect(404);
    login(&gateway, "alice", BETTER).expect(200);
}

#[test]
fn a_link_is_void_when_it_is_old_or_its_user_is_not_what_it_was() {
    let gateway = Gateway::start("");
    let users = gateway.auth().users();
    let spoilt: [&dyn Fn(); 4] = [
        &|| gateway.advance(HOUR),
        &|| block_on(users.set_password(&name("alice"), &String::from(BETTER).into())).unwrap(),
        &|| assert!(block_on(users.disable(&name("alice"))).unwrap()),
        &|| block_on(users.delete(&name("alice"), portcullis::auth::Name::Reserved)).unwrap(),
    ];
    for (at, spoil) in spoilt.iter().enumerate() {
        let _ = block_on(users.enable(&name("alice")));
        let secret = invite(&gateway, "alice", &[], 1);
        gateway.get(&format!("/auth/setup?t={secret}"), &[]).expect(200);
        spoil();
        gateway.get(&format!("/auth/setup?t={secret}"), &[]).expect(404);
        let refused = set_up(&gateway, &secret, "yet another passphrase", &[]).expect(404);
        assert_eq!(refused.cookies(), [], "{at}");
    }
}

#[test]
fn an_invitation_that_makes_no_sense_is_refused() {
    let gateway = Gateway::start("");
    let invite = |user: &str, roles: &[&str], seconds| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        order(&gateway, Command::UserInvite { user: user.to_owned(), roles, seconds }).unwrap_err()
    };
    assert!(invite("zoe", &[], 3_600).contains("--role"));
    assert!(invite("zoe", &["wizard"], 3_600).contains("no role wizard"));
    assert!(invite("alice", &["admin"], 3_600).contains("is a user already"));
    assert!(invite("alice", &[], 1).contains("1 minute"));
    assert!(invite("alice", &[], 31 * 86_400).contains("30 days"));
    block_on(gateway.auth().users().disable(&name("alice"))).unwrap();
    assert!(invite("alice", &[], 3_600).contains("disabled"));
    assert_eq!(block_on(gateway.auth().users().list()).unwrap().len(), 2);
}

#[test]
fn a_setup_form_of_another_site_is_refused_and_bad_links_are_limited() {
    let gateway = Gateway::start("");
    let secret = invite(&gateway, "alice", &[], 1);
    for site in ["cross-site", "same-site"] {
        set_up(&gateway, &secret, BETTER, &[("Sec-Fetch-Site", site)]).expect(403);
    }
    for guess in 0..20_u32 {
        let guess = format!("{guess:A>43}");
        set_up(&gateway, &guess, BETTER, &[("Origin", "null")]).expect(404);
    }
    let throttled = set_up(&gateway, &secret, BETTER, &[("Origin", "null")]).expect(429);
    assert!(throttled.text().contains("<h1>Too many attempts</h1>"), "{}", throttled.text());
    assert_eq!(throttled.header("referrer-policy"), Some("no-referrer"));
    gateway.advance(Duration::from_secs(60));
    set_up(&gateway, &secret, BETTER, &[("Origin", "null")]).expect(303);
}

#[test]
fn a_page_shows_what_a_link_says_without_letting_it_out() {
    let gateway = Gateway::start("");
    for query in ["t=%22%3E%3Cscript%3E", "t=", "", "t=a&t=b", "x=y", "t=%00%ff"] {
        let page = gateway.get(&format!("/auth/setup?{query}"), &[]).expect(404);
        assert!(!page.text().contains("<script>"), "{}", page.text());
    }
    gateway.get("/auth/setup", &[]).expect(404);
}

#[test]
fn every_page_of_a_link_keeps_it_to_itself_and_speaks_german() {
    let gateway = Gateway::start("");
    let secret = invite(&gateway, "alice", &[], 1);
    let link = format!("/auth/setup?t={secret}");
    let german = [HTML, ("Accept-Language", "de")];
    let reads = |answer: Answer, heading: &str| {
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
        let html = answer.text();
        assert!(html.contains(&format!("<h1>{heading}</h1>")), "{html}");
    };
    reads(gateway.get(&link, &german).expect(200), "Passwort festlegen");
    let weak = set_up(&gateway, &secret, "short", &german[1..]).expect(422);
    assert!(weak.text().contains("<li>Es braucht mindestens 12 Zeichen.</li>"), "{}", weak.text());
    reads(weak, "Passwort festlegen");
    reads(gateway.get("/auth/setup?t=x", &german).expect(404), "Dieser Link gilt nicht");

    let database = Connection::open(gateway.database()).unwrap();
    database.execute_batch("ALTER TABLE setup_links RENAME TO hidden").unwrap();
    reads(gateway.get(&link, &german).expect(503), "Gleich wieder da");
    reads(set_up(&gateway, &secret, BETTER, &german[1..]).expect(503), "Gleich wieder da");
    database.execute_batch("ALTER TABLE hidden RENAME TO setup_links").unwrap();
    set_up(&gateway, &secret, BETTER, &[]).expect(303);
}

#[test]
fn a_program_that_sets_a_password_by_a_form_gets_json() {
    let gateway = Gateway::start("");
    let secret = invite(&gateway, "alice", &[], 1);
    let form = |password: &str| {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let body = format!("t={secret}&password={}", password.replace(' ', "+"));
        gateway.ask("POST /auth/setup", &[kind], &body)
    };
    let weak = form("short").expect(422);
    assert_eq!(weak.member("code"), "password_rejected");
    assert_eq!(weak.json()["reasons"], serde_json::json!(["it needs at least 12 characters"]));
    assert_eq!(form(BETTER).expect(200).member("username"), "alice");
    assert_eq!(form(BETTER).expect(404).member("code"), "not_found");
}

#[test]
fn a_browsers_session_is_named_after_it_and_a_programs_is_not() {
    let gateway = Gateway::start("");
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let named = |more: &str| {
        let json = format!(r#"{{"username":"alice","password":"{GOOD}"{more}}}"#);
        let answer = gateway.post_json("/auth/login", &[("User-Agent", agent)], &json).expect(200);
        let rows = block_on(gateway.auth().users().sessions(Some(&name("alice")))).unwrap();
        let id = answer.member("session_id");
        let row = rows.into_iter().find(|row| row.identity.session.to_string() == id).unwrap();
        row.device_name
    };
    assert_eq!(named(r#","transport":"cookie""#).as_deref(), Some("Firefox on Linux"));
    assert_eq!(named(r#","transport":"cookie","device_name":"mine""#).as_deref(), Some("mine"));
    assert_eq!(named(""), None);
    assert_eq!(named(r#","transport":"body""#), None);
}

#[test]
fn sessions_from_before_lifetimes_were_lowered_end_by_the_new_ones() {
    let mut gateway = Gateway::start("[sessions]\nremember_absolute = \"30d\"\n");
    let old = gateway.login("alice");
    let fresh = gateway.login("alice");
    gateway.advance(23 * HOUR);
    let fresh = crate::support::Tokens::of(&gateway.refresh(&fresh.refresh).expect(200));
    gateway.reconfigure(
        "remember_absolute = \"30d\"",
        "remember_absolute = \"48h\"\nremember_idle = \"24h\"",
    );
    gateway.restart();
    gateway.advance(2 * HOUR);
    let ended = gateway.refresh(&old.refresh).expect(401);
    assert_eq!(ended.member("code"), "session_expired", "idle for 25 hours");
    gateway.advance(20 * HOUR);
    let again = crate::support::Tokens::of(&gateway.refresh(&fresh.refresh).expect(200));
    gateway.advance(4 * HOUR);
    let ended = gateway.refresh(&again.refresh).expect(401);
    assert_eq!(ended.member("code"), "session_expired", "49 hours after the login");
}
