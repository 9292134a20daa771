//! What `docs/reference/reload.md` says of each key, tried: a key that follows a reload is seen to
//! follow it, and to go back by the next one; a key that does not is refused by its name.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::sessions::LOOSE;
use crate::support::{Answer, Client, Gateway, Tokens, Upstream, eventually, request, routes};

const PAGE: &str = include_str!("../../docs/reference/reload.md");

/// Below each marker a case writes its key.
const FILE: &str = r##"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "off"
workers = 2
# server
[log]
output = "file:FOLDER/access.log"
audit_output = "file:FOLDER/audit.log"
# log
[tokens]
access_jitter = 0.0
# tokens
[sessions]
# sessions
[cookies]
# cookies
[passwords]
# passwords
LIMITS
[auth]
roles = ["admin", "editor", "user"]
# auth
[identity.mine]
user = "X-Mine"
# identity
[upstreams.app]
servers = ["UPSTREAM"]
# upstream
[[routes]]
path = "/r/*"
upstream = "app"
# route
[cors.spa]
origins = ["http://localhost:1"]
# cors
"##;

type Probe = fn(&Gateway, &Upstream) -> String;

/// The key, what is replaced in the file by what, and what shows it.
type Case = (&'static str, &'static str, &'static str, Probe);

/// What a test of its own shows, or no test can see without waiting for a clock of the machine.
const ELSEWHERE: [(&str, &str); 17] = [
    ("server.max_connections", "the_bounds_of_connections_and_heads_follow"),
    ("server.timeouts", "of the machine's clock"),
    ("server.timeouts.header", "of the machine's clock"),
    ("server.timeouts.idle", "of the machine's clock"),
    ("server.timeouts.tls_handshake", "of the machine's clock"),
    ("server.timeouts.drain", "of the machine's clock"),
    ("server.limits.body_min_rate", "of the machine's clock"),
    ("server.tls", "tls: certificates follow a reload"),
    ("server.tls.cert", "tls: certificates follow a reload"),
    ("server.tls.key", "tls: certificates follow a reload"),
    ("server.hsts", "asks for TLS"),
    ("tokens.secret", "a_shared_secret_is_rotated_by_two_reloads"),
    ("tokens.secret_file", "a_shared_secret_is_rotated_by_two_reloads"),
    ("tokens.rotate_every", "of the office's minute"),
    ("passwords.concurrent", "of the threads, as queue is"),
    ("passwords.queue", "of the threads"),
    ("passwords.queue_per_network", "of the threads"),
];

/// Tables that are compiled into one snapshot, which requests get whole or not at all: a few of
/// their keys stand for all.
const BY_SNAPSHOT: [&str; 22] = [
    "the file",
    "a rate",
    "[[bootstrap]]",
    "[cors.NAME]",
    "[identity.NAME]",
    "identity.NAME.roles",
    "identity.NAME.proof",
    "[upstreams.NAME]",
    "upstreams.NAME.health",
    "upstreams.NAME.eject",
    "upstreams.NAME.tls",
    "upstreams.NAME.timeouts",
    "[[routes]]",
    "routes.headers",
    "routes.timeouts",
    "routes.respond",
    "[[tests]]",
    "tests.as",
    "tests.expect",
    "sessions.master_keys",
    "server.http_redirect",
    "[store]",
];

fn at(gateway: &Gateway, host: &str) -> String {
    let ask = request("GET /public/x", &[("Host", host)], "");
    Client::connect(gateway.address()).ask(ask).status.to_string()
}

fn asked(gateway: &Gateway, path: &str) -> String {
    gateway.get(path, &[]).status.to_string()
}

fn posted(gateway: &Gateway, path: &str, access: &str) -> String {
    let bearer = format!("Bearer {access}");
    let headers = [("Authorization", bearer.as_str())];
    gateway.ask(&format!("POST {path}"), &headers, &"x".repeat(3000)).status.to_string()
}

/// Whom an application is told to have asked.
fn forwarded(gateway: &Gateway, upstream: &Upstream) -> String {
    let said = [("X-Forwarded-For", "203.0.113.7"), ("X-Real-IP", "203.0.113.8")];
    gateway.get("/public/x", &said).expect(200);
    upstream.last().header("x-forwarded-for").unwrap_or_default().to_owned()
}

fn with_fields(gateway: &Gateway) -> String {
    let names: Vec<String> = (0..30).map(|number| format!("X-Field-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    gateway.get("/public/x", &headers).status.to_string()
}

/// Whether a second connection is served beside a first.
fn beside(gateway: &Gateway) -> String {
    let ask = gateway.request("GET /public/x", &[], "");
    let alone = || {
        let mut first = gateway.connect();
        first.send(&ask);
        first.answer().filter(|answer| answer.status == 200).map(|_| first)
    };
    // Connections before have to go first.
    let first = eventually("a connection finds room", alone);
    let mut second = gateway.connect();
    second.send(&ask);
    let answer = second.answer().map(|answer| answer.status);
    drop(first);
    format!("{answer:?}")
}

fn member(token: &str, name: &str) -> String {
    use base64::Engine;
    let content = token.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(content).unwrap();
    serde_json::from_slice::<Value>(&json).unwrap()[name].to_string()
}

fn claim(gateway: &Gateway, name: &str) -> String {
    member(&gateway.login("alice").access, name)
}

/// The shortest life of some access tokens.
fn life(gateway: &Gateway) -> String {
    let one = || gateway.login_with("alice", r#","transport":"body""#).expect(200);
    let lives = (0..8).map(|_| one().member("expires_in").parse::<u32>().unwrap());
    lives.min().unwrap().to_string()
}

fn refresh_life(gateway: &Gateway, remember: bool) -> String {
    let more = format!(r#","transport":"body","remember":{remember}"#);
    gateway.login_with("alice", &more).expect(200).member("refresh_expires_in")
}

/// How the cookie of a login is to be kept.
fn kept(gateway: &Gateway) -> String {
    let answer = gateway.login_by_cookie("alice");
    let set = answer.all("set-cookie").find(|set| set.contains("pc_rt")).unwrap().to_owned();
    let (name, attributes) = (set.split('=').next().unwrap(), set.split_once(';').unwrap().1);
    format!("{name} {attributes}")
}

/// The end of a session that is remembered, in its list.
fn end(gateway: &Gateway) -> String {
    let answer = gateway.login_with("alice", r#","transport":"body","remember":true"#).expect(200);
    let list = gateway.get_as("/auth/sessions", &answer.member("access_token")).expect(200).json();
    let sessions = list["sessions"].as_array().or(list.as_array()).unwrap();
    let own = sessions.iter().find(|session| session["current"] == true).unwrap();
    own["expires_at"].to_string()
}

/// Refreshes 20 s after the login: within the window that changes nothing.
fn coalesced(gateway: &Gateway) -> String {
    let login = gateway.login_by_cookie("alice");
    gateway.advance(Duration::from_secs(20));
    let again = gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    (again.cookie("pc_rt") == login.cookie("pc_rt")).to_string()
}

/// Retries 60 s after a refresh, with its key.
fn keyed(gateway: &Gateway) -> String {
    let refresh = gateway.login("alice").refresh;
    let json = format!(r#"{{"refresh_token":"{refresh}"}}"#);
    let ask = || {
        gateway.post_json("/auth/refresh", &[("Idempotency-Key", "0123456789abcdef")], &json).status
    };
    let first = ask();
    gateway.advance(Duration::from_secs(60));
    format!("{first} {}", ask())
}

fn live_after_three(gateway: &Gateway) -> String {
    let mut logins: Vec<_> = (0..3).map(|_| gateway.login("alice")).collect();
    let last = logins.pop().unwrap();
    let list = gateway.get_as("/auth/sessions", &last.access).expect(200).json();
    let sessions = list["sessions"].as_array().or(list.as_array()).unwrap();
    (sessions.len() > 2).to_string()
}

/// Ten minutes after the login.
fn logs_all_out(gateway: &Gateway) -> String {
    let bearer = format!("Bearer {}", gateway.login("alice").access);
    gateway.advance(Duration::from_secs(600));
    gateway.post_json("/auth/logout-all", &[("Authorization", &bearer)], "").status.to_string()
}

/// A token that ended three seconds ago.
fn late(gateway: &Gateway) -> String {
    let access = gateway.login("alice").access;
    gateway.advance(Duration::from_secs(15 * 60 + 3));
    gateway.get_as("/auth/me", &access).status.to_string()
}

fn browser(gateway: &Gateway, transport: &str) -> String {
    let json = format!(
        r#"{{"username":"alice","password":"a long passphrase","transport":"{transport}"}}"#
    );
    let answer = gateway.post_json("/auth/login", &[("Sec-Fetch-Site", "same-origin")], &json);
    format!("{} {}", answer.status, answer.text().contains("access_token"))
}

/// Changes a password to this one and back; what the hash costs.
fn changed(gateway: &Gateway, new: &str) -> String {
    let good = "a long passphrase";
    let change = |(current, new): (&str, &str), tokens: &Tokens| {
        let json = serde_json::json!({ "current_password": current, "new_password": new });
        let bearer = format!("Bearer {}", tokens.access);
        gateway.post_json("/auth/password", &[("Authorization", &bearer)], &json.to_string())
    };
    let answer = change((good, new), &gateway.login("alice"));
    if answer.status != 200 {
        return answer.status.to_string();
    }
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    let sql = "SELECT pw_hash FROM users WHERE username = 'alice'";
    let hash: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
    change((new, good), &Tokens::of(&answer)).expect(200);
    hash.split('$').nth(3).unwrap().to_owned()
}

fn cost(gateway: &Gateway, _: &Upstream) -> String {
    changed(gateway, "quite another passphrase")
}

fn tries<const N: usize>(ask: impl Fn() -> u16) -> String {
    (0..N).map(|_| ask().to_string()).collect::<Vec<_>>().join(" ")
}

fn guesses(gateway: &Gateway, _: &Upstream) -> String {
    tries::<3>(|| gateway.try_password("nobody", "a guess").status)
}

fn html(gateway: &Gateway, path: &str) -> String {
    gateway.get(path, &[("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")]).text()
}

fn as_admin(gateway: &Gateway, line: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", gateway.login("admin").access);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    gateway.ask(line, &headers, body)
}

fn preflight(gateway: &Gateway, path: &str) -> String {
    let headers = [("Origin", "http://localhost:1"), ("Access-Control-Request-Method", "POST")];
    let answer = gateway.ask(&format!("OPTIONS {path}"), &headers, "");
    format!(
        "{:?} {:?}",
        answer.header("access-control-allow-origin"),
        answer.header("access-control-max-age")
    )
}

fn log_line(gateway: &Gateway, _: &Upstream) -> String {
    let before = gateway.access_log().len();
    told_by_now(gateway);
    let log = gateway.access_log();
    log.get(before..).and_then(|new| new.chars().next()).map(String::from).unwrap_or_default()
}

/// A request whose access line is written, if there is any: another came after it.
fn told_by_now(gateway: &Gateway) {
    let mut client = gateway.connect();
    let ask = gateway.request("GET /public/log", &[], "");
    client.ask(&ask).expect(200);
    client.ask(&ask).expect(200);
}

fn coalesced_lines(gateway: &Gateway, _: &Upstream) -> String {
    let before = gateway.audit().matches("\"coalesced\"").count();
    let login = gateway.login_by_cookie("alice");
    gateway.refresh_by_cookie(&login.cookie_header()).expect(200);
    (gateway.audit().matches("\"coalesced\"").count() > before).to_string()
}

fn failed_address(gateway: &Gateway, _: &Upstream) -> String {
    gateway.try_password("alice", "a guess").expect(401);
    let audit = gateway.audit();
    let line = audit.lines().rfind(|line| line.contains("auth.login.failure")).unwrap().to_owned();
    line.contains("\"address\":").to_string()
}

fn writes(gateway: &Gateway, file: &str) -> String {
    told_by_now(gateway);
    gateway.login("alice");
    let _flushed = (gateway.access_log(), gateway.audit());
    let other = std::fs::metadata(gateway.folder().join(file));
    (other.map_or(0, |file| file.len()) > 0).to_string()
}

/// What a route does with one who is signed in.
fn routed(gateway: &Gateway, upstream: &Upstream) -> String {
    let seen = upstream.seen().len();
    let access = gateway.login("alice").access;
    let answer = gateway.get_as("/r/x", &access);
    let told = upstream.seen().get(seen..).and_then(|new| {
        new.last().map(|seen| {
            let fields = ["x-mine", "remote-user", "x-set", "x-forwarded-prefix"]
                .map(|name| seen.header(name).map(str::to_owned));
            format!("{} {fields:?}", seen.line())
        })
    });
    let headers = ["cache-control", "x-answer"].map(|name| answer.header(name).map(str::to_owned));
    format!("{} {headers:?} {told:?} {}", answer.status, asked(gateway, "/r/x"))
}

const CASES: &[Case] = &[
    ("server.public_url", "# server", "public_url = \"https://gate.example\"", |gateway, _| {
        at(gateway, "gate.example")
    }),
    (
        "server.public_origins",
        "# server",
        "public_origins = [\"https://other.example\"]",
        |gateway, _| at(gateway, "other.example"),
    ),
    ("server.trusted_proxies", "# server", "trusted_proxies = [\"127.0.0.1\"]", forwarded),
    (
        "server.client_ip",
        "# server",
        "trusted_proxies = [\"127.0.0.1\"]\nclient_ip = \"x-real-ip\"",
        forwarded,
    ),
    ("server.max_body", "# server", "max_body = { signed_in = \"2 KiB\" }", |gateway, _| {
        posted(gateway, "/x", &gateway.login("alice").access)
    }),
    (
        "server.max_body.signed_in",
        "# server",
        "max_body = { signed_in = \"2 KiB\" }",
        |gateway, _| posted(gateway, "/x", &gateway.login("alice").access),
    ),
    ("server.max_body.public", "# server", "max_body = { public = \"2 KiB\" }", |gateway, _| {
        posted(gateway, "/public/x", "x")
    }),
    ("server.max_connections_per_ip", "# server", "max_connections_per_ip = 1", |gateway, _| {
        beside(gateway)
    }),
    ("server.limits", "# server", "limits = { target = \"1 KiB\" }", |gateway, _| {
        asked(gateway, &format!("/public/{}", "x".repeat(2000)))
    }),
    ("server.limits.target", "# server", "limits = { target = \"1 KiB\" }", |gateway, _| {
        asked(gateway, &format!("/public/{}", "x".repeat(2000)))
    }),
    ("server.limits.headers", "# server", "limits = { headers = \"2 KiB\" }", |gateway, _| {
        gateway.get("/public/x", &[("X-Long", &"x".repeat(3000))]).status.to_string()
    }),
    ("server.limits.fields", "# server", "limits = { fields = 20 }", |gateway, _| {
        with_fields(gateway)
    }),
    ("server.strict_paths", "# server", "strict_paths = true", |gateway, _| {
        asked(gateway, "/public/a//b")
    }),
    ("log.format", "# log", "format = \"text\"", log_line),
    ("log.level", "# log", "level = \"debug\"", coalesced_lines),
    ("log.access", "# log", "access = false", log_line),
    ("log.output", "access.log\"", "other.log\"", |gateway, _| writes(gateway, "other.log")),
    ("log.audit_output", "audit.log\"", "third.log\"", |gateway, _| writes(gateway, "third.log")),
    ("log.address", "# log", "address = \"prefix\"", failed_address),
    ("tokens.issuer", "# tokens", "issuer = \"https://issuer.example\"", |gateway, _| {
        claim(gateway, "iss")
    }),
    ("tokens.audience", "# tokens", "audience = \"apps\"", |gateway, _| claim(gateway, "aud")),
    ("tokens.access_ttl", "# tokens", "access_ttl = \"5m\"", |gateway, _| life(gateway)),
    ("tokens.access_jitter", "access_jitter = 0.0", "access_jitter = 0.5", |gateway, _| {
        life(gateway)
    }),
    ("tokens.leeway", "# tokens", "leeway = \"0s\"", |gateway, _| late(gateway)),
    ("tokens.sub", "# tokens", "sub = \"username\"", |gateway, _| claim(gateway, "sub")),
    ("sessions.remember_default", "# sessions", "remember_default = false", |gateway, _| {
        kept(gateway)
    }),
    ("sessions.remember_idle", "# sessions", "remember_idle = \"2d\"", |gateway, _| {
        refresh_life(gateway, true)
    }),
    ("sessions.remember_absolute", "# sessions", "remember_absolute = \"20d\"", |gateway, _| {
        end(gateway)
    }),
    ("sessions.idle", "# sessions", "idle = \"2h\"", |gateway, _| refresh_life(gateway, false)),
    ("sessions.absolute", "# sessions", "idle = \"3h\"\nabsolute = \"3h\"", |gateway, _| {
        refresh_life(gateway, false)
    }),
    ("sessions.retry_window", "# sessions", "retry_window = { cookie = \"10s\" }", |gateway, _| {
        coalesced(gateway)
    }),
    (
        "sessions.retry_window.cookie",
        "# sessions",
        "retry_window = { cookie = \"10s\" }",
        |gateway, _| coalesced(gateway),
    ),
    (
        "sessions.retry_window.keyed",
        "# sessions",
        "retry_window = { keyed = \"30s\" }",
        |gateway, _| keyed(gateway),
    ),
    ("sessions.max_per_user", "# sessions", "max_per_user = 2", |gateway, _| {
        live_after_three(gateway)
    }),
    ("sessions.reauth_max_age", "# sessions", "reauth_max_age = \"5m\"", |gateway, _| {
        logs_all_out(gateway)
    }),
    ("cookies.same_site", "# cookies", "same_site = \"strict\"", |gateway, _| kept(gateway)),
    ("cookies.insecure", "# cookies", "insecure = true", |gateway, _| kept(gateway)),
    ("cookies.access_token_in_body", "# cookies", "access_token_in_body = true", |gateway, _| {
        browser(gateway, "cookie")
    }),
    ("cookies.allow_browser_body", "# cookies", "allow_browser_body = true", |gateway, _| {
        browser(gateway, "body")
    }),
    ("passwords.argon2", "# passwords", "argon2 = { memory = \"7 MiB\", passes = 1 }", cost),
    ("passwords.argon2.memory", "# passwords", "argon2 = { memory = \"8 MiB\", passes = 1 }", cost),
    ("passwords.argon2.passes", "# passwords", "argon2 = { memory = \"7 MiB\", passes = 2 }", cost),
    (
        "passwords.argon2.lanes",
        "# passwords",
        "argon2 = { memory = \"7 MiB\", passes = 1, lanes = 2 }",
        cost,
    ),
    ("passwords.min_length", "# passwords", "min_length = 16", |gateway, _| {
        changed(gateway, "fourteen chars")
    }),
    ("passwords.blocklist_file", "# passwords", "blocklist_file = \"FOLDER/blocklist.txt\"", cost),
    (
        "rate_limits.login_per_ip",
        "login_per_ip = \"100000/minute\"",
        "login_per_ip = \"2/minute\"",
        guesses,
    ),
    (
        "rate_limits.login_per_network",
        "login_per_network = \"100000/minute\"",
        "login_per_network = \"2/minute\"",
        guesses,
    ),
    (
        "rate_limits.login_per_username",
        "{ burst = 100000, every = \"1s\" }",
        "{ burst = 2, every = \"1m\" }",
        guesses,
    ),
    (
        "rate_limits.login_per_user",
        "login_per_user = \"100000/hour\"",
        "login_per_user = \"2/hour\"",
        |gateway, _| tries::<3>(|| gateway.login_with("alice", "").status),
    ),
    (
        "rate_limits.refresh_per_session",
        "refresh_per_session = \"100000/minute\"",
        "refresh_per_session = \"2/minute\"",
        |gateway, _| {
            let mut refresh = gateway.login("alice").refresh;
            (0..3)
                .map(|_| {
                    let answer = gateway.refresh(&refresh);
                    if answer.status == 200 {
                        refresh = Tokens::of(&answer).refresh;
                    }
                    answer.status.to_string()
                })
                .collect::<Vec<_>>()
                .join(" ")
        },
    ),
    (
        "rate_limits.refresh_per_ip",
        "refresh_per_ip = \"100000/minute\"",
        "refresh_per_ip = \"2/minute\"",
        |gateway, _| tries::<3>(|| gateway.refresh("garbage").status),
    ),
    (
        "rate_limits.sessions_per_session",
        "sessions_per_session = \"100000/minute\"",
        "sessions_per_session = \"2/minute\"",
        |gateway, _| {
            let access = gateway.login("alice").access;
            tries::<3>(|| gateway.get_as("/auth/sessions", &access).status)
        },
    ),
    (
        "rate_limits.admin_per_user",
        "admin_per_user = \"100000/minute\"",
        "admin_per_user = \"2/minute\"",
        |gateway, _| tries::<3>(|| as_admin(gateway, "GET /auth/admin/users", "").status),
    ),
    (
        "rate_limits.auth_per_ip",
        "auth_per_ip = \"1000000/minute\"",
        "auth_per_ip = \"2/minute\"",
        |gateway, _| tries::<3>(|| gateway.get("/auth/me", &[]).status),
    ),
    ("auth.path", "# auth", "path = \"/gate\"", |gateway, _| {
        asked(gateway, "/gate/ping") + &asked(gateway, "/auth/ping")
    }),
    ("auth.roles", "\"editor\", \"user\"]", "\"editor\", \"user\", \"auditor\"]", |gateway, _| {
        let answer = as_admin(
            gateway,
            "POST /auth/admin/users/alice/roles",
            r#"{"roles":["user","auditor"]}"#,
        );
        let put = as_admin(
            gateway,
            "PUT /auth/admin/users/alice/roles",
            r#"{"roles":["user","auditor"]}"#,
        );
        format!("{} {}", answer.status, put.status)
    }),
    ("auth.admin_role", "# auth", "admin_role = \"\"", |gateway, _| {
        as_admin(gateway, "GET /auth/admin/users", "").status.to_string()
    }),
    ("auth.after_logout", "# auth", "after_logout = \"/public/bye\"", |gateway, _| {
        let cookies = gateway.login_by_cookie("alice").cookie_header();
        let origin = gateway.origin();
        let headers = [
            ("Cookie", cookies.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Origin", origin.as_str()),
            ("Accept", "text/html"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "navigate"),
        ];
        let answer = gateway.ask("POST /auth/logout", &headers, "a=b");
        format!("{} {:?}", answer.status, answer.header("location"))
    }),
    ("auth.page", "# auth", "page = { title = \"A title\" }", |gateway, _| {
        html(gateway, "/auth/login")
    }),
    ("auth.page.title", "# auth", "page = { title = \"A title\" }", |gateway, _| {
        html(gateway, "/auth/login").contains("A title").to_string()
    }),
    ("auth.page.logo", "# auth", "page = { logo = \"FOLDER/logo.svg\" }", |gateway, _| {
        asked(gateway, "/auth/logo")
    }),
    ("auth.page.accent", "# auth", "page = { accent = \"#123456\" }", |gateway, _| {
        html(gateway, "/auth/login")
    }),
    ("auth.page.language", "# auth", "page = { language = \"de\" }", |gateway, _| {
        html(gateway, "/auth/login")
    }),
    ("auth.cors", "# auth", "cors = \"spa\"", |gateway, _| preflight(gateway, "/auth/refresh")),
    // Some of what is compiled into the snapshot.
    ("routes.roles", "# route", "roles = [ \"admin\" ]", routed),
    ("routes.access", "# route", "access = 'public'", routed),
    ("routes.methods", "# route", "methods = [\"POST\"]", routed),
    ("routes.identity", "# route", "identity = \"mine\"", routed),
    ("routes.strip_prefix", "# route", "strip_prefix = \"/r\"", routed),
    ("routes.cache", "# route", "cache = \"no-store\"", routed),
    ("routes.headers.set", "# route", "headers = { set = { \"X-Set\" = \"a\" } }", routed),
    (
        "routes.headers.set_response",
        "# route",
        "headers = { set_response = { \"X-Answer\" = \"a\" } }",
        routed,
    ),
    ("routes.allow_ips", "# route", "allow_ips = [\"10.0.0.0/8\"]", routed),
    ("routes.respond", "upstream = \"app\"\n# route", "respond = { body = \"of itself\" }", routed),
    ("routes.path", "path = \"/r/*\"", "access = 'public'\npath = \"/s/*\"", |gateway, _| {
        asked(gateway, "/s/x")
    }),
    ("cors.max_age", "# route", "cors = \"spa\"", |gateway, _| preflight(gateway, "/r/x")),
];

fn file(upstream: &Upstream) -> String {
    let file = FILE.replace("LIMITS", LOOSE).replace("UPSTREAM", &upstream.url());
    file + &routes(&upstream.url())
}

#[test]
fn every_key_that_follows_a_reload_is_seen_to_follow_it_and_to_go_back() {
    let upstream = Upstream::hello();
    let file = file(&upstream);
    let mut gateway = Gateway::start(&file);
    let folder = gateway.folder().display().to_string();
    std::fs::write(gateway.folder().join("blocklist.txt"), "quite another passphrase\n").unwrap();
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
    std::fs::write(gateway.folder().join("logo.svg"), svg).unwrap();
    let mut faults = Vec::new();
    for (key, from, to, probe) in CASES {
        let to = to.replace("FOLDER", &folder);
        let before = probe(&gateway, &upstream);
        gateway.reconfigure(from, &to);
        match gateway.reload() {
            Err(refused) => faults.push(format!("{key}: refused: {refused}")),
            Ok(_) => {
                let after = probe(&gateway, &upstream);
                if before == after {
                    faults.push(format!("{key}: nothing changed: {before}"));
                }
            }
        }
        gateway.reconfigure(&to, from);
        gateway.reload().unwrap();
        let again = probe(&gateway, &upstream);
        // What is written anew each time differs each time.
        if before != again && !["log.output", "log.audit_output"].contains(key) {
            faults.push(format!("{key}: does not go back: {before}, {again}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The keys of a column: 0 follow a reload, 1 need a restart.
fn keys(column: usize) -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| {
        line.starts_with("| `")
            && !BY_SNAPSHOT.iter().any(|table| line.starts_with(&format!("| `{table}` |")))
    });
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let table = cells[0].trim().trim_matches(['`', '[', ']']).to_owned();
        let keys = cells[column + 1].split(',').map(|key| key.trim().trim_matches('`').to_owned());
        let whole: Vec<_> =
            keys.filter(|key| key != "–").map(|key| format!("{table}.{key}")).collect();
        whole
    })
    .collect()
}

#[test]
fn no_key_is_said_to_follow_a_reload_that_nothing_shows() {
    let shown = CASES.iter().map(|(key, ..)| *key).chain(ELSEWHERE.iter().map(|(key, _)| *key));
    let shown: BTreeSet<String> = shown.map(str::to_owned).collect();
    let missing: Vec<_> = keys(0).difference(&shown).cloned().collect();
    assert!(missing.is_empty(), "nothing shows {missing:?}");
    for (key, _) in ELSEWHERE {
        assert!(keys(0).contains(key), "{key} is not said to follow a reload");
    }
}

#[test]
fn every_key_that_needs_a_restart_is_refused_by_its_name_and_nothing_changes() {
    let upstream = Upstream::hello();
    let file = file(&upstream);
    let mut gateway = Gateway::start(&file);
    let cases = [
        ("server.listen", "listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\""),
        (
            "server.http_redirect",
            "# server",
            "public_url = \"https://a.example\"\nhttp_redirect = { listen = \"127.0.0.1:0\" }",
        ),
        ("server.data_dir", "/data\"", "/elsewhere\""),
        ("server.admin", "admin = \"off\"", "admin = \"127.0.0.1:0\""),
        ("server.workers", "workers = 2", "workers = 1"),
        ("store.url", "[tokens]", "[store]\nurl = \"sqlite:other.db\"\n[tokens]"),
        ("tokens.algorithm", "# tokens", "algorithm = \"ES256\""),
        ("tokens.key_dir", "# tokens", "key_dir = \"other\""),
        ("sessions.master_keys", "# sessions", "master_keys = [{ id = 2, file = \"other\" }]"),
    ];
    for key in keys(1) {
        assert!(cases.iter().any(|(name, ..)| *name == key), "{key} is not tried");
    }
    for (key, from, to) in cases {
        gateway.reconfigure(from, to);
        // Beside it, a change that would show.
        gateway.reconfigure("# cookies", "same_site = \"strict\"");
        let refused = gateway.reload().expect_err(key);
        assert!(refused.contains(&format!("`{key}` cannot change")), "{key}: {refused}");
        assert!(
            refused.ends_with("restart the gateway for it, or put the old value back"),
            "{refused}"
        );
        assert!(kept(&gateway).contains("SameSite=Lax"), "{key}: {}", kept(&gateway));
        gateway.reconfigure("same_site = \"strict\"", "# cookies");
        gateway.reconfigure(to, from);
    }
    gateway.reload().unwrap();
}
