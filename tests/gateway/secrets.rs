//! A whole story, good and bad; afterwards no log, metric or refusal repeats a secret of it, and
//! the counters add up.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{Answer, House, Tokens, Upstream, eventually, request, routes};

const SHARED: &str = "qWxvbmcgc2hhcmVkIHNlY3JldCB0aGF0IG5vYm9keSBndWVzc2Vz";

/// The words of the story that no log may know. Each is one that nothing else says.
const WORDS: &[&str] = &[
    "a long passphrase",
    "quite another passphrase",
    "wrong-guess-of-a-password",
    "password-typed-as-a-name",
    "value-of-an-app-cookie",
    "value-in-a-query",
    "dmFsdWUtb2YtYmFzaWM6eA",
    "pcr_garbage-as-a-refresh-token",
    "garbage-as-a-bearer-token",
    "garbage-as-an-access-cookie",
    "key-of-an-idempotent-retry",
    "text-in-a-proxied-body",
    SHARED,
];

/// Everything that was said to or by the gateway.
#[derive(Default)]
struct Story {
    /// Tokens and cookie values that the gateway gave.
    given: RefCell<Vec<String>>,
    /// Answers that refuse, whole.
    refusals: RefCell<Vec<String>>,
    requests: RefCell<usize>,
}

impl Story {
    /// Notes an answer, and whether it was the expected one.
    #[track_caller]
    fn told(&self, answer: Answer, status: u16) -> Answer {
        *self.requests.borrow_mut() += 1;
        let answer = answer.expect(status);
        if status >= 400 {
            self.refusals.borrow_mut().push(format!("{:?}\n{}", answer.headers, answer.text()));
        }
        let mut given = self.given.borrow_mut();
        given.extend(answer.cookies().into_iter().map(|(_, value)| value));
        let json = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        let tokens = ["access_token", "refresh_token"];
        given.extend(tokens.iter().filter_map(|name| json[name].as_str().map(str::to_owned)));
        answer
    }

    /// What must be found nowhere: the words, the tokens, and every long part of a token.
    fn secrets(&self) -> Vec<String> {
        let mut all: Vec<_> = WORDS.iter().map(|word| (*word).to_owned()).collect();
        for token in self.given.borrow().iter().filter(|token| !token.is_empty()) {
            let secret = token.rsplit('.').next().unwrap().trim_start_matches("pcr_");
            let parts = secret.as_bytes().chunks_exact(20);
            all.extend(parts.map(|part| String::from_utf8_lossy(part).into_owned()));
            all.push(token.clone());
        }
        all
    }
}

/// Logins, refreshes and endings, as scripts and browsers.
fn sessions(house: &House, story: &Story) -> Tokens {
    let login =
        |user: &str, password: &str, status| story.told(house.try_password(user, password), status);
    login("alice", "wrong-guess-of-a-password", 401);
    login("nobody", "wrong-guess-of-a-password", 401);
    login("password-typed-as-a-name", "x", 401);
    let first = Tokens::of(&login("alice", "a long passphrase", 200));
    let key = [("Idempotency-Key", "key-of-an-idempotent-retry")];
    let body = format!(r#"{{"refresh_token":"{}"}}"#, first.refresh);
    for _ in 0..2 {
        story.told(house.post_json("/auth/refresh", &key, &body), 200);
    }
    story.told(house.refresh(&first.refresh), 401);
    story.told(house.refresh("pcr_garbage-as-a-refresh-token"), 401);
    story.told(house.refresh(&first.access), 401);
    story.told(house.get_as("/x", &first.refresh), 401);
    let second = Tokens::of(&login("admin", "a long passphrase", 200));
    let browser = story.told(house.login_with("alice", r#","transport":"cookie""#), 200);
    let cookies = browser.cookie_header();
    story.told(house.refresh_by_cookie(&cookies), 200);
    let foreign = [("Cookie", cookies.as_str()), ("Origin", "https://evil.example")];
    story.told(house.ask("POST /auth/logout", &foreign, ""), 403);
    story.told(house.ask("POST /x?q=value-in-a-query", &foreign, ""), 403);
    let out = [("Cookie", cookies.as_str())];
    story.told(house.ask("POST /auth/logout?q=value-in-a-query", &out, ""), 200);
    story.told(house.get("/x", &out), 401);
    story.told(house.refresh_by_cookie(&cookies), 401);
    for (json, status) in [
        (r#"{"username":"alice","password":"wrong-guess-of-a-password""#, 400),
        (r#"{"username":"alice","passwort":"wrong-guess-of-a-password"}"#, 400),
        (r#"{"username":"alice","password":["wrong-guess-of-a-password"]}"#, 400),
    ] {
        story.told(house.post_json("/auth/login", &[], json), status);
    }
    let text = [("Content-Type", "text/plain")];
    story.told(house.ask("POST /auth/login", &text, "wrong-guess-of-a-password"), 415);
    let throttled = (0..20).find(|_| {
        let answer = house.try_password("somebody", "wrong-guess-of-a-password");
        let status = answer.status;
        story.told(answer, if status == 429 { 429 } else { 401 });
        status == 429
    });
    assert!(throttled.is_some(), "guesses are throttled");
    second
}

/// Requests that are forwarded, and others that are not.
fn proxied(house: &House, story: &Story, admin: &Tokens) {
    let bearer = format!("Bearer {}", admin.access);
    let cookies = "app=value-of-an-app-cookie";
    let all = [("Authorization", bearer.as_str()), ("Cookie", cookies)];
    story.told(house.get("/x?token=value-in-a-query", &all), 200);
    story.told(house.get("/admin/x?token=value-in-a-query", &all), 200);
    story.told(house.ask("POST /x", &all, "text-in-a-proxied-body"), 200);
    let basic = [("Authorization", "Basic dmFsdWUtb2YtYmFzaWM6eA==")];
    story.told(house.get("/x?token=value-in-a-query", &basic), 401);
    story.told(house.get("/public/x?token=value-in-a-query", &basic), 200);
    story.told(house.get_as("/x", "garbage-as-a-bearer-token"), 401);
    let cookie =
        format!("__Host-Http-pc_at_{}=garbage-as-an-access-cookie", house.address().port());
    story.told(house.get("/x", &[("Cookie", &cookie)]), 401);
    story.told(house.get("/down?token=value-in-a-query", &all), 502);
    story.told(house.get("/x/%00?token=value-in-a-query", &all), 400);
    let elsewhere = request("GET /?q=value-in-a-query", &[("Host", "evil.example")], "");
    story.told(house.connect().ask(elsewhere), 421);
    story.told(house.get("/auth/nothing?q=value-in-a-query", &all), 404);
    story.told(house.ask("PUT /auth/me?q=value-in-a-query", &all, ""), 405);
    for path in ["/auth/me", "/auth/sessions", "/auth/jwks.json"] {
        story.told(house.get(&format!("{path}?q=value-in-a-query"), &all), 200);
    }
}

/// What an administrator does, and gets to see.
fn administration(house: &House) -> String {
    let mut seen = String::new();
    let mut run = |arguments: &[&str], typed: &str, code| {
        let said = house.run_typing(arguments, typed).expect(code);
        seen += &(said.out + &said.err);
    };
    run(&["user", "add", "bob", "--role", "user"], "quite another passphrase\n", 0);
    run(&["user", "add", "alice"], "quite another passphrase\n", 1);
    run(&["user", "passwd", "alice"], "quite another passphrase\n", 0);
    run(&["user", "list", "--json"], "", 0);
    run(&["user", "show", "alice"], "", 0);
    run(&["session", "list", "--json"], "", 0);
    run(&["show"], "", 0);
    run(&["check"], "", 0);
    run(&["routes", "--json"], "", 0);
    run(&["explain", "GET", "/x?token=value-of-nothing", "--user", "alice"], "", 0);
    run(&["session", "revoke", "--all"], "", 0);
    seen
}

/// The sum of every series of a family.
fn sum(metrics: &str, family: &str) -> usize {
    let of_family = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(family)?;
        let (_, number) = rest.rsplit_once(' ').filter(|_| rest.starts_with(['{', ' ']))?;
        Some(number.parse::<usize>().expect("a count"))
    });
    of_family.sum()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|bad| panic!("{bad}: {line}")))
        .collect()
}

#[test]
fn row_68_nothing_secret_is_told_and_the_counters_add_up() {
    let upstream = Upstream::hello();
    let down = "[[routes]]\npath = \"/down\"\nupstream = \"http://127.0.0.1:1\"\n";
    let tokens = format!("[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SHARED}\"\n");
    let mut house = House::new(&(tokens + down + &routes(&upstream.url())));
    house.reconfigure("[log]", "[log]\nlevel = \"debug\"");
    let gateway = house.start();
    let story = Story::default();
    let admin = sessions(&house, &story);
    proxied(&house, &story, &admin);
    let seen = administration(&house);
    story.told(house.get_as("/x", &admin.access), 401);
    let forwarded = format!("{:?}", upstream.seen());
    assert!(forwarded.contains("value-in-a-query"), "the words are told");

    let requests = *story.requests.borrow();
    let metrics = eventually("every request is counted", || {
        let metrics = house.ask_admin("/metrics").text();
        (sum(&metrics, REQUESTS) == requests).then_some(metrics)
    });
    let said = gateway.stop();
    let mut secrets = story.secrets();
    secrets.extend(hashes(&house));
    secrets.push(house.text("data/master").trim().to_owned());
    assert!(secrets.len() > 60, "{secrets:?}");
    let refusals = story.refusals.borrow().join("\n");
    let (access, audit) = (house.text("access.log"), house.text("audit.log"));
    for text in [&access, &audit, &said, &metrics, &seen, &refusals] {
        assert!(!text.is_empty());
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is told:\n{text}");
        }
    }
    counters_add_up(&house, &metrics, requests);
}

const REQUESTS: &str = "http_server_request_duration_seconds_count";

/// The hashes of the passwords.
fn hashes(house: &House) -> Vec<String> {
    let database = Connection::open(house.path("data/portcullis.db")).unwrap();
    let sql = "SELECT pw_hash FROM users WHERE pw_hash IS NOT NULL";
    let mut all = database.prepare(sql).unwrap();
    let hashes = all.query_map([], |row| row.get(0)).unwrap();
    hashes.map(Result::unwrap).collect()
}

fn counters_add_up(house: &House, metrics: &str, requests: usize) {
    let access = json_lines(&house.text("access.log"));
    assert_eq!(access.len(), requests, "a line for each request");
    assert_eq!(sum(metrics, "portcullis_authz_decisions_total"), requests);
    let mut events = BTreeMap::new();
    for line in json_lines(&house.text("audit.log")) {
        *events.entry(line["event"].as_str().unwrap().to_owned()).or_insert(0_usize) += 1;
    }
    for (event, series) in [
        ("auth.login.success", r#"portcullis_login_total{outcome="success"}"#),
        ("auth.login.failure", r#"portcullis_login_total{outcome="failure"}"#),
        ("auth.login.throttled", r#"portcullis_login_total{outcome="throttled"}"#),
        ("auth.session.revoked", "portcullis_session_revoked_total"),
    ] {
        let told = events.get(event).copied().unwrap_or_default();
        assert!(told > 0, "no {event}: {events:?}");
        assert_eq!(told, sum(metrics, series), "{event}\n{metrics}");
    }
    let logins = access.iter().filter(|line| line["route"] == "/auth/login");
    let counted = logins.filter(|line| matches!(line["status"].as_u64(), Some(200 | 401 | 429)));
    assert_eq!(counted.count(), sum(metrics, "portcullis_login_total"));
    let refreshes = access.iter().filter(|line| line["route"] == "/auth/refresh");
    assert_eq!(refreshes.count(), sum(metrics, "portcullis_refresh_total"));
    let forwarded = access.iter().filter(|line| !line["upstream"].is_null());
    assert_eq!(forwarded.count(), sum(metrics, "http_client_request_duration_seconds_count"));
}
