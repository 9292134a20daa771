//! What the article asks of its service, asked of `examples/article`.
//!
//! Met here: every function below is one requirement. The passing of time (an expired access token,
//! the idle and the absolute end of a session) needs a clock that can be moved:
//! `tests/gateway/sessions.rs`, rows 24, 38 and 41. What a script cannot meet, or this version does
//! not hold yet:
//!
//! - passwords hashed with bcrypt: new ones are hashed with argon2id, and imported bcrypt hashes
//!   become that at the next login: `tests/gateway/passwords.rs`, row 57;
//! - HTTPS: comes later; until then a proxy that speaks it stands in front;
//! - an application of another origin: this example has none; `tests/gateway/cors.rs` holds the
//!   answers and `tests/browser/spa.test.mjs` a page that signs in from there;
//! - the browser's half (an access token kept in memory, a refresh when the page starts): the
//!   answers it needs are held here, the script is `examples/spa-cookies` with `?bearer`, run in a
//!   browser by `tests/browser/spa.test.mjs`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::client::{Answer, Client, request};
use crate::gateway::{HASH, portcullis, run};
use crate::programs::{Program, system};

/// `examples/article`, started by its one command. Its ports are fixed, so that tests share it.
struct Article {
    program: Program,
    folder: TempDir,
}

impl Article {
    /// The one that runs, or a new one if no other test needs it at the moment.
    fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Article>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(article) = running.upgrade() {
            return article;
        }
        let article = Arc::new(Self::start());
        *running = Arc::downgrade(&article);
        article
    }

    fn start() -> Self {
        let _ = system("curl");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut command = Command::new(example("start"));
        command.env("TMPDIR", folder.path());
        let program = Program::start("examples/article/start", &mut command);
        program
            .until("that both are there", |line| line.contains("Ctrl-C stops both").then_some(()));
        Self { program, folder }
    }

    fn database(&self) -> Connection {
        let mut folders = fs::read_dir(self.folder.path()).expect("it can be read");
        let data = folders.next().expect("a data folder").expect("it can be read");
        Connection::open(data.path().join("portcullis.db")).expect("the database opens")
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("Host", HOST)];
        all.extend(headers);
        Client::connect(HOST.parse().unwrap()).ask(request(line, &all, body))
    }

    fn post(&self, path: &str, json: &str) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.ask(&format!("POST {path}"), &headers, json)
    }

    fn login(&self, user: &str, password: &str) -> Answer {
        let json = format!(r#"{{"username":"{user}","password":"{password}"}}"#);
        self.post("/auth/login", &json)
    }

    #[track_caller]
    fn alice(&self) -> Pair {
        Pair::of(&self.login("alice", "password123").expect(200))
    }

    fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", &format!(r#"{{"refresh_token":"{token}"}}"#))
    }

    fn get(&self, path: &str, access: &str) -> Answer {
        let bearer = format!("Bearer {access}");
        self.ask(&format!("GET {path}"), &[("Authorization", &bearer)], "")
    }

    /// Waits for an audit line of an event that holds `part`.
    fn audited(&self, event: &str, part: &str) -> Value {
        self.program.until(event, |line| {
            let json: Value = serde_json::from_str(line).ok()?;
            (json["event"] == event && line.contains(part)).then_some(json)
        })
    }
}

struct Pair {
    access: String,
    refresh: String,
    session: String,
}

impl Pair {
    #[track_caller]
    fn of(answer: &Answer) -> Self {
        Self {
            access: answer.member("access_token"),
            refresh: answer.member("refresh_token"),
            session: answer.member("session_id"),
        }
    }

    fn claims(&self) -> Value {
        let claims = self.access.split('.').nth(1).expect("a JWT");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        serde_json::from_slice(&claims).expect("JSON")
    }
}

// -- the literal lines

#[test]
fn every_line_of_the_examples_readme_gives_the_answer_shown() {
    let _article = Article::shared();
    let readme = fs::read_to_string(example("README.md")).expect("it can be read");
    let steps = steps(&readme);
    assert!(steps.len() >= 14, "{steps:#?}");
    let mut tokens = Tokens::default();
    for (line, shown) in steps {
        let line = tokens.put_into(&line);
        let ran = system("bash").arg("-c").arg(&line).output().expect("bash runs");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let told = || format!("{line}\n{text}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{}", told());
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", told()));
        assert!(holds(&answer, &shown), "{}\nthe README shows {shown}", told());
        tokens.take_from(&answer);
    }
}

#[test]
fn the_lines_of_the_article_stand_in_the_examples_readme_as_written_there() {
    let readme = fs::read_to_string(example("README.md")).expect("it can be read");
    for line in ARTICLE {
        let found = readme.lines().any(|other| other == *line);
        assert!(found, "examples/article/README.md lacks: {line}");
    }
}

/// The article's own requests.
const ARTICLE: &[&str] = &[
    r#"curl -s -X POST http://127.0.0.1:8000/auth/login -H "Content-Type: application/json" -d '{"username":"alice","password":"password123"}'"#,
    r#"curl -s http://127.0.0.1:8000/me -H "Authorization: Bearer <ACCESS_TOKEN>""#,
    r#"curl -s -X POST http://127.0.0.1:8000/auth/refresh -H "Content-Type: application/json" -d '{"refresh_token":"<REFRESH_TOKEN>"}'"#,
    r#"curl -s -X POST http://127.0.0.1:8000/auth/logout -H "Content-Type: application/json" -d '{"refresh_token":"<REFRESH_TOKEN>"}'"#,
    r#"curl -s http://127.0.0.1:8000/admin/metrics -H "Authorization: Bearer <ACCESS_TOKEN>""#,
];

/// Each `curl` line with the answer that the block after it shows.
#[track_caller]
fn steps(readme: &str) -> Vec<(String, Value)> {
    let blocks: Vec<(&str, &str)> =
        readme.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
    let asked = |at: &usize| blocks[*at].0 == "sh" && blocks[*at].1.starts_with("curl");
    (0..blocks.len())
        .filter(asked)
        .map(|at| {
            let line = blocks[at].1.trim_end();
            assert!(!line.contains('\n'), "one line a block: {line}");
            let shown = blocks.get(at + 1).filter(|(kind, _)| *kind == "json");
            let (_, shown) = shown.unwrap_or_else(|| panic!("no answer is shown for {line}"));
            (line.to_owned(), serde_json::from_str(shown).expect("JSON"))
        })
        .collect()
}

/// Whether an answer holds all that is shown; `…` stands for anything.
fn holds(answer: &Value, shown: &Value) -> bool {
    match (answer, shown) {
        (Value::Object(answer), Value::Object(shown)) => shown
            .iter()
            .all(|(name, value)| answer.get(name).is_some_and(|found| holds(found, value))),
        (answer, shown) => shown == "…" || answer == shown,
    }
}

/// The tokens of the last answers.
#[derive(Default)]
struct Tokens {
    access: String,
    refresh: String,
    old_refresh: String,
}

impl Tokens {
    #[track_caller]
    fn put_into(&self, line: &str) -> String {
        let line = line
            .replace("<ACCESS_TOKEN>", &self.access)
            .replace("<REFRESH_TOKEN>", &self.refresh)
            .replace("<OLD_REFRESH_TOKEN>", &self.old_refresh);
        assert!(!line.contains("_TOKEN>"), "{line}");
        line
    }

    fn take_from(&mut self, answer: &Value) {
        if let Some(access) = answer["access_token"].as_str() {
            access.clone_into(&mut self.access);
        }
        if let Some(refresh) = answer["refresh_token"].as_str() {
            self.old_refresh = std::mem::replace(&mut self.refresh, refresh.to_owned());
        }
    }
}

// -- the requirements

#[test]
fn a_login_gives_both_tokens_and_bad_credentials_are_401() {
    let article = Article::shared();
    let answer = article.login("alice", "password123").expect(200);
    assert_eq!(answer.member("token_type"), "bearer");
    let pair = Pair::of(&answer);
    assert_ne!(pair.access, pair.refresh);
    assert_eq!(article.login("alice", "password124").status, 401);
    assert_eq!(article.login("mallory", "password123").status, 401);
}

#[test]
fn a_refresh_gives_a_new_pair_and_the_old_token_is_dead() {
    let article = Article::shared();
    let first = article.alice();
    let second = Pair::of(&article.refresh(&first.refresh).expect(200));
    assert_ne!(first.refresh, second.refresh);
    assert_ne!(first.access, second.access);
    article.refresh(&first.refresh).expect(401);
}

#[test]
fn a_token_used_twice_signals_theft_and_revokes_its_family() {
    let article = Article::shared();
    let (first, other) = (article.alice(), article.alice());
    let second = Pair::of(&article.refresh(&first.refresh).expect(200));
    article.get("/me", &second.access).expect(200);
    article.refresh(&first.refresh).expect(401);
    article.refresh(&second.refresh).expect(401);
    article.get("/me", &second.access).expect(401);
    article.get("/me", &other.access).expect(200);
    article.refresh(&other.refresh).expect(200);
}

#[test]
fn a_logout_says_ok_and_revokes_the_token() {
    let article = Article::shared();
    let pair = article.alice();
    let json = format!(r#"{{"refresh_token":"{}"}}"#, pair.refresh);
    let answer = article.post("/auth/logout", &json).expect(200);
    assert_eq!(answer.json(), serde_json::json!({ "ok": true }));
    article.refresh(&pair.refresh).expect(401);
    article.get("/me", &pair.access).expect(401);
}

#[test]
fn a_route_asks_for_a_login_and_another_for_a_role() {
    let article = Article::shared();
    let alice = article.alice();
    let admin = Pair::of(&article.login("admin", "admin-password-123").expect(200));
    for path in ["/me", "/admin/metrics"] {
        assert_eq!(article.ask(&format!("GET {path}"), &[], "").status, 401, "{path}");
        assert_eq!(article.get(path, "not.a.token").status, 401, "{path}");
    }
    let me = serde_json::json!({ "username": "alice", "role": "user" });
    assert_eq!(article.get("/me", &alice.access).expect(200).json(), me);
    article.get("/admin/metrics", &alice.access).expect(403);
    article.get("/admin/metrics", &admin.access).expect(200);
}

#[test]
fn an_access_token_is_a_small_short_lived_jwt_of_the_articles_claims() {
    let article = Article::shared();
    let pair = article.alice();
    let claims = pair.claims();
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["role"], "user");
    assert_eq!(claims["type"], "access");
    let seconds = |name: &str| claims[name].as_i64().unwrap_or_else(|| panic!("{claims}"));
    let life = seconds("exp") - seconds("iat");
    assert!((12 * 60..=15 * 60).contains(&life), "{life} s");
    assert!(pair.access.len() < 1024, "{} bytes", pair.access.len());
    let text = claims.to_string();
    for sensitive in ["password", "argon2", "pcr_", &pair.refresh] {
        assert!(!text.contains(sensitive), "{sensitive} in {text}");
    }
}

#[test]
fn a_refresh_token_is_opaque_random_and_lives_fourteen_days() {
    let article = Article::shared();
    let mut secrets = HashSet::new();
    for _ in 0..4 {
        let answer = article.login("alice", "password123").expect(200);
        let life = answer.json()["refresh_expires_in"].as_i64().expect("seconds");
        let passed = 14 * 24 * 3600 - life;
        assert!((0..60).contains(&passed), "{life} s");
        let token = Pair::of(&answer).refresh;
        assert!(!token.contains('.'), "{token} looks like a JWT");
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("pcr_").expect("its prefix"));
        secrets.insert(bytes.expect("base64url")[SECRET].to_vec());
    }
    assert_eq!(secrets.len(), 4, "256 random bits never come twice");
}

#[test]
fn the_database_holds_the_sha_256_of_a_refresh_token_and_the_articles_columns() {
    let article = Article::shared();
    let pair = article.alice();
    let bytes = URL_SAFE_NO_PAD.decode(&pair.refresh["pcr_".len()..]).expect("base64url");
    let hash = format!("{:x}", HexOf(&Sha256::digest(&bytes[SECRET])));
    let database = article.database();
    let found: (bool, bool) = database
        .query_row(
            "SELECT revoked, id IS NOT NULL AND user_id IS NOT NULL AND expires_at > created_at
                AND rotated_at IS NOT NULL AND revoked_at IS NULL AND ip_prefix = '127.0.0.0/24'
                AND user_agent IS NULL AND device_name IS NULL
             FROM refresh_tokens WHERE lower(token_hash) = ?1",
            [&hash],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("the token's row");
    assert_eq!(found, (false, true));
    article.refresh(&pair.refresh).expect(200);
    article.refresh(&pair.refresh).expect(401);
    let revoked: i64 = database
        .query_row(
            "SELECT count(*) FROM refresh_tokens WHERE revoked AND revoked_at IS NOT NULL
                AND hex(id) = upper(?1)",
            [pair.session.replace('-', "")],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(revoked, 1, "a session is one row, which the reuse revoked");
}

/// The place of the secret in a token's bytes.
const SECRET: std::ops::Range<usize> = 26..58;

struct HexOf<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[test]
fn users_lie_in_the_database_with_slow_hashes_of_their_passwords() {
    let article = Article::shared();
    let database = article.database();
    let mut users = database
        .prepare("SELECT username, pw_hash FROM users ORDER BY username")
        .expect("it can be asked");
    let users: Vec<(String, String)> = users
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .map(Result::unwrap)
        .collect();
    assert_eq!(users.len(), 2, "{users:?}");
    assert_eq!(users[1], ("alice".to_owned(), HASH.to_owned()));
    let slow = |hash: &str| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
    assert!(users.iter().all(|(_, hash)| slow(hash)), "{users:?}");
}

#[test]
fn a_secret_comes_from_the_environment_and_signs_the_tokens() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = fs::read_to_string(example("gateway.toml")).expect("it can be read");
    let text = text
        .replace("127.0.0.1:8000", "127.0.0.1:0")
        .replace("[tokens]", "[tokens]\nalgorithm = \"HS256\"\nsecret = \"${JWT_SECRET}\"");
    let secret = "4f1bQzq9s7LwYk2NvX8eRtGm5uHc3aPd";
    let mut command = portcullis();
    command.env("JWT_SECRET", secret).env("STATE_DIRECTORY", folder.path().join("data"));
    let (_program, address) = run(folder.path(), &text, &mut command);
    let host = format!("127.0.0.1:{}", address.port());
    let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
    let json = r#"{"username":"alice","password":"password123"}"#;
    let answer = Client::connect(address).ask(request("POST /auth/login", &headers, json));
    let token = answer.expect(200).member("access_token");
    let (signed, signature) = token.rsplit_once('.').expect("a JWT");
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let expected =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
    assert_eq!(expected.expect("it signs"), signature);

    let file = folder.path().join("gateway.toml");
    let mut without = portcullis();
    let without = without.arg("check").arg("-c").arg(file).env_remove("JWT_SECRET");
    let told = without.output().expect("it runs");
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("JWT_SECRET"), "{told}");
}

#[test]
fn guesses_are_limited_by_address_and_by_name() {
    let article = Article::shared();
    // Loopback addresses of their own, so that the limits of other tests are left alone.
    let guess = |from: &str, name: &str| {
        let json = format!(r#"{{"username":"{name}","password":"wrong"}}"#);
        article.by_curl(from, "/auth/login", &json)
    };
    let by_address = until_limited(|number| guess("127.0.1.1", &format!("nobody{number}")));
    assert!((20..40).contains(&by_address), "{by_address} guesses from one address");
    let by_name = until_limited(|_| guess("127.0.2.1", "victim"));
    assert!((10..20).contains(&by_name), "{by_name} guesses of one name");
    assert_eq!(guess("127.0.3.1", "victim"), 429, "the name counts wherever it is tried from");
    assert_eq!(guess("127.0.3.1", "somebody"), 401, "others are left alone");
}

#[test]
fn refreshes_are_limited_too() {
    let article = Article::shared();
    let mut token = article.alice().refresh;
    let refreshes = until_limited(|_| {
        let answer = article.refresh(&token);
        match answer.status {
            200 => token = answer.member("refresh_token"),
            _ => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
        }
        answer.status
    });
    assert!((30..60).contains(&refreshes), "{refreshes} refreshes of one session");
}

/// How many tries went before the first 429: the burst, and what came back while a busy machine
/// took its time.
#[track_caller]
fn until_limited(mut attempt: impl FnMut(usize) -> u16) -> usize {
    let limited = (0..100).find(|number| attempt(*number) == 429);
    limited.expect("a limit")
}

impl Article {
    /// Posts from an address of this machine; gives the status.
    fn by_curl(&self, from: &str, path: &str, json: &str) -> u16 {
        let mut curl = system("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["--interface", from, "-d", json])
            .args(["-H", "Content-Type: application/json"])
            .arg(format!("http://{HOST}{path}"));
        let ran = curl.output().expect("curl runs");
        String::from_utf8_lossy(&ran.stdout).parse().expect("a status")
    }
}

#[test]
fn a_browser_keeps_its_refresh_token_in_a_cookie_that_no_script_reads() {
    let article = Article::shared();
    let page = [
        ("Content-Type", "application/json"),
        ("Origin", "http://127.0.0.1:8000"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let json = r#"{"username":"alice","password":"password123"}"#;
    let login = article.ask("POST /auth/login", &page, json).expect(200);
    assert_eq!(login.json()["refresh_token"], Value::Null, "{}", login.text());
    let set: Vec<&str> = login.all("set-cookie").collect();
    assert_eq!(set.len(), 3, "both tokens and the device: {set:?}");
    for cookie in set {
        for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(attribute), "{attribute} in {cookie}");
        }
    }
    // When the page starts, or after a 401.
    let cookies = login.cookie_header();
    let later = [page[1], page[2], ("Cookie", cookies.as_str())];
    let refreshed = article.ask("POST /auth/refresh", &later, "").expect(200);
    let renewed = refreshed.cookie_header();
    article.ask("GET /me", &[("Cookie", &renewed)], "").expect(200);
}

#[test]
fn a_user_has_a_session_for_each_device_and_may_list_and_revoke_them() {
    let article = Article::shared();
    let json = r#"{"username":"alice","password":"password123","device_name":"laptop"}"#;
    let laptop = Pair::of(&article.post("/auth/login", json).expect(200));
    let phone = article.alice();
    let list = article.get("/auth/sessions", &phone.access).expect(200).json();
    let listed = |id: &str| {
        let sessions = list["sessions"].as_array().expect("a list");
        sessions.iter().find(|session| session["id"] == id).cloned()
    };
    let found = listed(&laptop.session).expect("the laptop's session");
    assert_eq!(found["device_name"], "laptop", "{found}");
    assert_eq!(found["current"], false, "{found}");
    assert_eq!(listed(&phone.session).expect("the phone's")["current"], true);
    let bearer = format!("Bearer {}", phone.access);
    let line = format!("DELETE /auth/sessions/{}", laptop.session);
    article.ask(&line, &[("Authorization", &bearer)], "").expect(204);
    article.get("/me", &laptop.access).expect(401);
    article.refresh(&laptop.refresh).expect(401);
    article.get("/me", &phone.access).expect(200);
}

#[test]
fn logins_refreshes_and_revocations_are_logged_as_structured_lines() {
    let article = Article::shared();
    let pair = article.alice();
    article.login("alice", "wrong for the log").expect(401);
    let next = Pair::of(&article.refresh(&pair.refresh).expect(200));
    article.refresh(&pair.refresh).expect(401);
    let session = &pair.session;
    let told = [
        article.audited("auth.login.success", session),
        article.audited("auth.login.failure", "alice"),
        article.audited("auth.refresh", session),
        article.audited("auth.session.revoked", session),
    ];
    assert_eq!(told[0]["username"], "alice", "{}", told[0]);
    assert_eq!(told[3]["reason"], "reuse", "{}", told[3]);
    let all = article.program.told();
    for secret in [&pair.refresh, &pair.access, &next.refresh, "wrong for the log"] {
        assert!(!all.contains(secret), "{secret} stands in a log");
    }
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/article").join(file)
}

const HOST: &str = "127.0.0.1:8000";
