//! Every command, beside a running gateway and without one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::support::{Account, Door, House, Said, Upstream, free_port, routes};

const WITHOUT: &str = "no gateway runs";
const BESIDE: &str = "a gateway runs";
/// Of cost 4, of whatever password.
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuuQoFJjZWzsQ5RZFHVhA0zWfhIYRPcXG";

/// Runs a story twice: on the store, and through the control socket of a gateway.
fn both_ways(story: impl Fn(&House, &str)) {
    let house = House::new("");
    // The users of the file are made by a gateway's start.
    house.start().stop();
    story(&house, WITHOUT);
    let house = House::new("");
    let gateway = house.start();
    story(&house, BESIDE);
    gateway.stop();
}

fn names(list: &Value) -> Vec<&str> {
    let users = list.as_array().expect("a list");
    users.iter().map(|user| user["username"].as_str().unwrap()).collect()
}

#[test]
fn users_are_added_listed_and_shown() {
    both_ways(|house, how| {
        let add = ["user", "add", "bob", "--role", "user", "--role", "editor"];
        let add = [&add[..], &["--name", "Bob B.", "--email", "bob@example.org"]].concat();
        let add = [&add[..], &["--password-stdin"]].concat();
        house.run_typing(&add, "his own long words\n").expect(0).tells(&["bob is added"]);
        let list = house.run(&["user", "list", "--json"]).expect(0).json();
        assert_eq!(names(&list), ["admin", "alice", "bob"], "{how}");
        let table = house.run(&["user", "list"]).expect(0);
        let head = table.out.lines().next().unwrap_or_default();
        assert!(head.starts_with("NAME   ROLES"), "{how}: {}", table.out);
        assert!(table.out.contains("Bob B."), "{how}: {}", table.out);
        let show = ["user", "show", "BOB", "--json"];
        let bob = &house.run(&show).expect(0).json()[0];
        assert_eq!(bob["roles"], serde_json::json!(["user", "editor"]));
        assert_eq!(bob["email"], "bob@example.org");
        assert_eq!(bob["disabled"], false);
        let all = format!("{}{bob}", table.out);
        assert!(!all.contains("argon2"), "{how}: a hash is shown: {all}");
        house
            .run(&["user", "show", "nobody"])
            .expect(1)
            .tells(&["there is no user named nobody", "portcullis user list"]);
    });
}

#[test]
fn a_user_who_cannot_be_is_not_added() {
    both_ways(|house, how| {
        let add = |name: &str, more: &[&str], password: &str| {
            let arguments = [&["user", "add", name, "--password-stdin"], more].concat();
            house.run_typing(&arguments, password)
        };
        let good = "a long passphrase\n";
        add("Alice", &[], good).expect(1).tells(&["error: a user named alice is there"]);
        add("ａｌｉｃｅ", &[], good).expect(1).tells(&["a user named alice is there"]);
        add("carol", &["--role", "wizard"], good)
            .expect(1)
            .tells(&["there is no role wizard", "admin, editor, user"]);
        add("carol", &["--role", "NOT a role"], good).expect(1);
        add("carol", &[], "short\n")
            .expect(1)
            .tells(&["this password is refused", "12 characters"]);
        add("carol", &[], "carol and her friends\n")
            .expect(1)
            .tells(&["must not contain the username"]);
        add("carol", &[], "").expect(1);
        add("not a name", &[], good).expect(1);
        let list = house.run(&["user", "list", "--json"]).expect(0).json();
        assert_eq!(names(&list), ["admin", "alice"], "{how}");
    });
}

#[test]
fn a_password_is_no_argument_and_may_be_made_up() {
    let house = House::new("");
    house.run(&["user", "add", "bob", "--password", "a long passphrase"]).expect(2);
    let said = house.run(&["user", "add", "bob", "--generate"]).expect(0);
    let password = said
        .out
        .lines()
        .find_map(|line| line.strip_prefix("password: "))
        .unwrap_or_else(|| panic!("{said:?}"));
    let gateway = house.start();
    house.try_password("bob", password).expect(200);
    house.try_password("bob", "another password").expect(401);
    gateway.stop();
}

/// Runs a command whose standard output goes there.
fn run_to(house: &House, to: impl Into<Stdio>, arguments: &[&str]) -> Said {
    let typed = house.path("typed");
    std::fs::write(&typed, "a long passphrase\n").unwrap();
    let mut command = house.command(arguments);
    let ended = command.stdin(File::open(typed).unwrap()).stdout(to).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    Said { code: ended.status.code(), out: String::new(), err }
}

#[test]
fn an_answer_that_standard_output_does_not_take_is_a_failure() {
    let house = House::new("");
    house.start().stop();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["user", "list"][..],
        &["user", "show", "alice", "--json"],
        &["user", "roles", "alice", "editor"],
        &["session", "list"],
        &["key", "list"],
        &["hash"],
        &["show"],
        &["routes"],
        &["check", "--json"],
        &["explain", "E011"],
        &["version"],
    ] {
        let said = run_to(&house, full(), arguments).expect(2);
        said.tells(&["cannot write to standard output: No space left on device"]);
    }
    // Whoever reads no further has what was wanted.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let said = run_to(&house, writer, &["user", "list"]).expect(0);
    assert_eq!(said.err, "");
}

#[test]
fn what_is_told_once_is_not_lost_silently() {
    let house = House::new("");
    house.start().stop();
    let commands = [
        (&["user", "add", "gen1", "--generate"][..], "portcullis user passwd gen1 --generate"),
        (&["user", "passwd", "alice", "--generate"], "portcullis user passwd alice --generate"),
        (&["user", "invite", "new", "--role", "user"], "portcullis user invite new"),
    ];
    for (arguments, remedy) in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        run_to(&house, full, arguments).expect(2).tells(&["No space left on device", remedy]);
        house.run(&remedy.split(' ').skip(1).collect::<Vec<_>>()).expect(0);
        for added in ["gen1", "new"] {
            house.run(&["user", "delete", added, "--free-name"]);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        run_to(&house, writer, arguments).expect(2).tells(&["Broken pipe", remedy]);
    }
}

#[test]
fn a_certificate_that_does_not_fit_is_made_once_there_is_room() {
    let house = House::new("");
    let make = ["cert", "self-signed", "localhost"];
    let direct = house.command(&make);
    // Blocks of 512 bytes: no room, and room for the key alone.
    for room in [0, 1] {
        let script = format!("trap '' XFSZ; ulimit -f {room}; exec \"$0\" \"$@\"");
        let mut limited = Command::new("sh");
        limited.args(["-c", &script]).arg(direct.get_program()).args(make);
        let ended = limited.current_dir(house.folder()).output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{err}");
        assert!(err.contains("cannot write ./localhost."), "{err}");
        for left in ["localhost.key", "localhost.crt"] {
            assert!(!house.path(left).exists(), "{left} is left by {room}");
        }
    }
    house.run(&make).expect(0);
}

#[test]
fn what_is_changed_without_a_gateway_holds_when_one_starts() {
    let house = House::new("");
    let gateway = house.start();
    let session = house.login("alice").session;
    gateway.stop();
    let sessions = house.run(&["session", "list", "--json"]).expect(0).json();
    assert_eq!(sessions[0]["id"], session.as_str());
    house.run(&["session", "revoke", &session]).expect(0);
    house.run(&["session", "revoke", &session]).expect(1).tells(&["there is no live session"]);
    house
        .run_typing(&["user", "passwd", "alice", "--password-stdin"], "quite another one\n")
        .expect(0)
        .tells(&["alice has a new password"]);
    house.run(&["user", "disable", "admin"]).expect(0);
    let gateway = house.start();
    house.try_password("alice", "a long passphrase").expect(401);
    house.try_password("alice", "quite another one").expect(200);
    house.try_password("admin", "a long passphrase").expect(401);
    gateway.stop();
    house.run(&["user", "enable", "admin"]).expect(0);
    house.run(&["user", "delete", "alice"]).expect(0);
    house
        .run_typing(&["user", "add", "alice"], "a long passphrase")
        .expect(1)
        .tells(&["names of deleted users stay reserved", "user delete --free-name"]);
    let gateway = house.start();
    house.try_password("admin", "a long passphrase").expect(200);
    house.try_password("alice", "quite another one").expect(401);
    gateway.stop();
}

#[test]
fn what_an_administrator_does_is_true_at_once_for_live_tokens() {
    let upstream = Upstream::hello();
    let house = House::new(&routes(&upstream.url()));
    let gateway = house.start();
    let code = |path: &str, access: &str, status| {
        let answer = house.get_as(path, access).expect(status);
        (status != 200).then(|| answer.member("code"))
    };

    let before = house.login("alice");
    code("/admin/x", &before.access, 403);
    house.run(&["user", "roles", "alice", "admin"]).expect(0);
    assert_eq!(code("/x", &before.access, 401).unwrap(), "token_expired");
    let after = house.refresh(&before.refresh).expect(200);
    let access = after.member("access_token");
    code("/admin/x", &access, 200);
    house.run(&["user", "roles", "alice"]).expect(0);
    code("/admin/x", &access, 401);

    let (one, other) = (house.login("alice"), house.login("alice"));
    house.run(&["session", "revoke", &one.session]).expect(0);
    assert_eq!(code("/x", &one.access, 401).unwrap(), "session_revoked");
    house.refresh(&one.refresh).expect(401);
    code("/x", &other.access, 200);
    house
        .run(&["session", "revoke", "--user", "alice"])
        .expect(0)
        .tells(&["2 sessions of alice have ended"]);
    code("/x", &other.access, 401);
    let list = ["session", "list", "--user", "alice", "--json"];
    assert_eq!(house.run(&list).expect(0).json(), serde_json::json!([]));

    let tokens = house.login("alice");
    house.run_typing(&["user", "passwd", "alice"], "another passphrase").expect(0);
    code("/x", &tokens.access, 401);
    house.refresh(&tokens.refresh).expect(401);
    let tokens = house.try_password("alice", "another passphrase").expect(200);
    let access = tokens.member("access_token");
    house.run(&["user", "disable", "alice"]).expect(0);
    code("/x", &access, 401);
    house.try_password("alice", "another passphrase").expect(401);
    house.run(&["user", "enable", "alice"]).expect(0);
    code("/x", &access, 401);

    let tokens = house.try_password("alice", "another passphrase").expect(200);
    let access = tokens.member("access_token");
    house.run(&["user", "delete", "alice", "--free-name"]).expect(0);
    code("/x", &access, 401);
    house.run_typing(&["user", "add", "alice", "--role", "user"], "a third passphrase").expect(0);
    code("/x", &access, 401);
    let access = house.try_password("alice", "a third passphrase").expect(200);
    let other = house.login("admin");
    house.run(&["session", "revoke", "--all"]).expect(0);
    code("/x", &access.member("access_token"), 401);
    code("/x", &other.access, 401);
    gateway.stop();
}

#[test]
fn sessions_are_listed_with_what_an_owner_knows_them_by() {
    let house = House::new("");
    let gateway = house.start();
    let json = r#"{"username":"alice","password":"a long passphrase","device_name":"my phone"}"#;
    let agent = [("User-Agent", "curl/8")];
    house.post_json("/auth/login", &agent, json).expect(200);
    let other = house.login("admin").session;
    let all = house.run(&["session", "list", "--json"]).expect(0).json();
    let [one, two] = &all.as_array().unwrap()[..] else {
        panic!("{all}");
    };
    let mut users = [one, two].map(|session| session["username"].clone());
    users.sort_by_key(Value::to_string);
    assert_eq!(users, ["admin", "alice"], "{all}");
    assert!([one, two].iter().any(|session| session["id"] == other.as_str()));
    assert!([one, two].iter().any(|session| session["user_agent"] == "curl/8"));
    let table = house.run(&["session", "list", "--user", "alice"]).expect(0);
    assert!(table.out.contains("my phone"), "{}", table.out);
    assert!(table.out.contains("127.0.0.0/24"), "{}", table.out);
    assert!(!table.out.contains("admin"), "{}", table.out);
    house
        .run(&["session", "list", "--user", "nobody"])
        .expect(1)
        .tells(&["there is no user named nobody"]);
    house.run(&["session", "revoke", "no-id"]).expect(1);
    house.run(&["session", "revoke"]).expect(2);
    house.run(&["session", "revoke", "x", "--all"]).expect(2);
    gateway.stop();
}

#[test]
fn check_says_fine_or_what_is_wrong_or_that_it_could_not_look() {
    let mut house = House::new(&routes("http://127.0.0.1:1"));
    let fine = house.run(&["check"]).expect(0);
    assert!(fine.out.contains("fine; 4 routes, 0 tests passed"), "{fine:?}");
    let fine = house.run(&["check", "--json"]).expect(0).json();
    assert_eq!(fine["failed_tests"], serde_json::json!([]), "{fine}");
    house.run(&["check", "-c", "nowhere.toml"]).expect(2).tells(&["nowhere.toml"]);
    assert_eq!(house.data(), [""; 0], "a check makes nothing");
    house.reconfigure("roles = [\"admin\"]", "role = [\"admin\"]");
    house.run(&["check"]).expect(1).tells(&[
        "error[E011]",
        "did you mean `roles`?",
        "gateway.toml:",
    ]);
    let report = house.run(&["check", "--json"]).expect(1).json();
    assert_eq!(report["problems"][0]["code"], "E011", "{report}");
    let empty = House::new("");
    std::fs::remove_file(empty.file()).unwrap();
    empty.run(&["check"]).expect(2).tells(&["no gateway.toml", "-c FILE"]);
}

#[test]
fn a_red_test_stops_check_and_run() {
    let tests = r#"
[[tests]]
request = "GET /admin/x"
as = { roles = ["user"] }
expect = 403
[[tests]]
request = "GET /admin/x"
as = { roles = ["admin"] }
expect = 401
"#;
    let mut house = House::new(&(routes("http://127.0.0.1:1") + tests));
    let told = ["gateway.toml:", "expected 401, got 200"];
    house.run(&["check"]).expect(1).tells(&told);
    let refused = house.refusal().expect(1).tells(&told);
    assert!(refused.err.contains("not started"), "{}", refused.err);
    assert!(!refused.err.contains("expected 403"), "the green one too");
    let said = house.run(&["check", "--json"]).expect(1);
    assert_eq!(said.err, "", "machines read the one stream");
    let failed = said.json()["failed_tests"].clone();
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
    assert!(failed[0].as_str().unwrap().contains("expected 401, got 200"), "{failed}");
    assert_eq!(house.data(), [""; 0], "nothing is made");
    house.reconfigure("expect = 401", "expect = 200");
    let fine = house.run(&["check"]).expect(0);
    assert!(fine.out.contains("2 tests passed"), "{}", fine.out);
    house.start().stop();
}

#[test]
fn explain_tells_what_would_become_of_a_request() {
    let house = House::new(&routes("http://127.0.0.1:1"));
    let explain = |arguments: &[&str]| house.run(&[&["explain"], arguments].concat());
    explain(&["GET", "/x"]).expect(1).tells(&["401 token_missing"]);
    explain(&["GET", "/x", "--anonymous"]).expect(1);
    explain(&["GET", "/x", "--user", "alice"]).expect(0).tells(&[
        "200 permitted",
        "sends     remote-user: alice",
        "gateway.toml:",
    ]);
    explain(&["GET", "/admin/x", "--role", "user"])
        .expect(1)
        .tells(&["403 forbidden", "candidate"]);
    explain(&["GET", "/admin/x", "--role", "user", "--role", "admin"]).expect(0);
    explain(&["GET", "/public/../admin/x", "--user", "alice"]).expect(1);
    explain(&["GET", "http://elsewhere.example/x", "--user", "alice"])
        .expect(1)
        .tells(&["421 misdirected_request"]);
    explain(&["GET", &format!("{}/x", house.origin()), "--user", "alice"]).expect(0);
    explain(&["GET", "/auth/me"]).expect(0);
    explain(&["GET", "ftp://localhost/x"]).expect(2);
    explain(&["GET", "/%zz"]).expect(1).tells(&["400 bad_request: "]);
    explain(&["get", "/x"]).expect(1).tells(&["400 bad_request: "]);
    explain(&["GET", "/x", "--role", "boss"]).expect(2).tells(&["there is no role `boss`"]);
    explain(&["G T", "/x"]).expect(2).tells(&["is no method"]);
    explain(&["GET", "/x", "--anonymous", "--user", "alice"]).expect(2);
    let json = explain(&["GET", "/admin/x", "--role", "user", "--json"]).expect(1).json();
    assert_eq!(json["status"], 403, "{json}");
    assert_eq!(json["code"], "forbidden", "{json}");

    let code = explain(&["E011"]).expect(0);
    assert!(code.out.contains("misspelt"), "{}", code.out);
    explain(&["E999"]).expect(2).tells(&["E999 is no error code"]);
    assert_eq!(house.data(), [""; 0], "explain makes nothing");
}

#[test]
fn routes_show_public_ones_large() {
    let house = House::new(&routes("http://127.0.0.1:1"));
    let table = house.run(&["routes"]).expect(0).out;
    assert!(table.starts_with("MATCH"), "{table}");
    let line = |part: &str| {
        let found = table.lines().find(|line| line.starts_with(part));
        found.unwrap_or_else(|| panic!("{part}: {table}"))
    };
    assert!(line("/public/").contains("PUBLIC"), "{table}");
    assert!(line("/admin/").contains("role admin"), "{table}");
    let json = house.run(&["routes", "--json"]).expect(0).json();
    assert_eq!(json.as_array().map(Vec::len), Some(4), "{json}");
}

#[test]
fn show_prints_the_whole_and_no_secret() {
    const SECRET: &str = "c2VjcmV0IG9mIDMyIGJ5dGVzIGFuZCBhIGZldyBtb3Jl";
    let extra = format!(
        "[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n{}",
        routes("http://127.0.0.1:1")
    );
    let house = House::new(&extra);
    let shown = house.run(&["show"]).expect(0).out;
    for part in ["access_ttl", "max_per_user", "login_per_ip", "/admin/", "alice"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let origin = house.origin();
    for derived in [
        "hsts = \"off\"",
        &format!("# server.public_url = \"{origin}\""),
        &format!("# tokens.issuer = \"{origin}\""),
    ] {
        assert!(shown.contains(derived), "{derived}: {shown}");
    }
    for secret in [SECRET, "a long passphrase"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_printed_hash_serves_a_bootstrap_user() {
    let house = House::new("");
    let hash = house.run_typing(&["hash"], "Dave's pass phrase\n").expect(0).out;
    assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
    house.run_typing(&["hash"], "").expect(1).tells(&["one line"]);
    let user = format!("[[bootstrap]]\nname = \"dave\"\nhash = \"{}\"\n", hash.trim());
    let house = House::new(&user);
    let gateway = house.start();
    house.try_password("dave", "Dave's pass phrase").expect(200);
    house.try_password("dave", "dave's pass phrase").expect(401);
    gateway.stop();
}

#[test]
fn healthcheck_asks_the_admin_listener() {
    let house = House::new("");
    house.run(&["healthcheck"]).expect(1).tells(&["no answer from"]);
    let gateway = house.start();
    house.run(&["healthcheck"]).expect(0);
    gateway.stop();
}

#[test]
fn healthcheck_judges_the_gateway_and_not_what_its_file_says_by_now() {
    let house = House::new("");
    let gateway = house.start();
    let file = house.text("gateway.toml");
    let admin = format!("\"{}\"", house.admin());
    for faulty in [
        format!("{file}\n[[routes]]\npath = 7\n"),
        format!("{file}\n[log]\nlevel = info\n]]"),
        format!("{file}\n[[bootstrap]]\nname = \"zoe\"\npassword_file = \"gone\"\n"),
        file.replace(&admin, "\"127.0.0.1:1\""),
        file.replace(&admin, "7"),
    ] {
        std::fs::write(house.file(), faulty).unwrap();
        house.run(&["healthcheck"]).expect(0);
    }
    gateway.stop();
    house.run(&["healthcheck"]).expect(1);
}

#[test]
fn healthcheck_needs_no_listener_that_it_could_speak_to() {
    for (from, to) in [
        (
            "listen = \"127.0.0.1:PORT\"",
            "public_url = \"http://localhost:8080\"\nlisten = \"unix:FOLDER/gateway.sock\"\ntrusted_proxies = \"unix\"",
        ),
        (
            "workers = 2",
            "workers = 2\nclient_ip = \"proxy-protocol\"\ntrusted_proxies = \"127.0.0.1\"",
        ),
        ("workers = 2", "workers = 2\nclient_ip = \"x-real-ip\"\ntrusted_proxies = \"127.0.0.1\""),
    ] {
        let mut house = House::new("");
        house.reconfigure(&format!("admin = \"{}\"", house.admin()), "admin = \"off\"");
        let filled = |text: &str| {
            let port = house.address().port().to_string();
            text.replace("PORT", &port).replace("FOLDER", &house.folder().display().to_string())
        };
        let (from, to) = (filled(from), filled(to));
        house.reconfigure(&from, &to);
        let off = house.run(&["healthcheck"]).expect(1);
        let off = off.tells(&["no gateway runs on the data folder", "`server.admin` is off"]);
        assert!(!off.err.contains("8080"), "{off:?}");
        let gateway = house.start();
        house.run(&["healthcheck"]).expect(0);
        gateway.stop();
    }
}

#[test]
fn healthcheck_asks_the_admin_listener_of_a_gateway_without_a_data_folder() {
    let house = House::new("[store]\nurl = \"sqlite::memory:\"");
    house.run(&["healthcheck"]).expect(1).tells(&["no answer from", &house.admin().to_string()]);
    let gateway = house.start();
    house.run(&["healthcheck"]).expect(0);
    gateway.stop();
}

#[test]
fn healthcheck_asks_a_listener_where_there_is_nothing_else() {
    let mut house = House::new("[store]\nurl = \"sqlite::memory:\"");
    house.reconfigure(&format!("admin = \"{}\"", house.admin()), "admin = \"off\"");
    let ping = format!("http://{}/auth/ping", house.address());
    house.run(&["healthcheck"]).expect(1).tells(&["no answer from", &ping]);
    let gateway = house.start();
    house.run(&["healthcheck"]).expect(0);
    gateway.stop();
}

/// Holds the data folder, and closes each conversation on its socket after saying this.
fn holder_of_the_folder(house: &House, says: &'static str) -> File {
    let folder = house.path("data");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let _former = fs::remove_file(folder.join("control.sock"));
    let listener = UnixListener::bind(folder.join("control.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
            stream.read_exact(&mut vec![0; length]).unwrap();
            if !says.is_empty() {
                let length = u32::try_from(says.len()).unwrap();
                stream.write_all(&[&length.to_be_bytes()[..], says.as_bytes()].concat()).unwrap();
            }
        }
    });
    lock
}

#[test]
fn healthcheck_asks_the_admin_listener_of_a_gateway_that_does_not_understand_it() {
    for (says, why) in [
        (
            r#"{"version":1,"body":{"refused":"the running gateway is of another release than this command line; restart it"}}"#,
            "of another release",
        ),
        (r#"{"version":2,"body":7}"#, "does not answer on"),
        ("", "does not answer on"),
    ] {
        let mut house = House::new("");
        let held = holder_of_the_folder(&house, says);
        let admin = house.admin();
        house.run(&["healthcheck"]).expect(1).tells(&["no answer from", &admin.to_string()]);
        let listener = TcpListener::bind(admin).unwrap();
        let lives = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _asked = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        house.run(&["healthcheck"]).expect(0);
        lives.join().unwrap();
        house.reconfigure(&format!("admin = \"{admin}\""), "admin = \"off\"");
        house.run(&["healthcheck"]).expect(1).tells(&[why]);
        drop(held);
    }
}

#[test]
fn healthcheck_believes_a_gateway_that_says_it_is_not_well() {
    let house = House::new("");
    let says = r#"{"version":1,"body":{"refused":"a worker does not turn"}}"#;
    let _held = holder_of_the_folder(&house, says);
    let said = house.run(&["healthcheck"]).expect(1).tells(&["a worker does not turn"]);
    assert!(!said.err.contains("no answer from"), "{said:?}");
}

#[test]
fn healthcheck_without_a_file_asks_the_gateway_of_the_default_folder_first() {
    let mut house = House::new("");
    let folder = format!("data_dir = \"{}\"", house.path("data").display());
    house.reconfigure(&folder, "data_dir = \"./portcullis-data\"");
    let gateway = house.start();
    fs::remove_file(house.file()).unwrap();
    house.run(&["healthcheck"]).expect(0);
    gateway.stop();
}

#[test]
fn healthcheck_without_a_file_asks_the_default_listener() {
    let house = House::new("");
    std::fs::remove_file(house.file()).unwrap();
    let said = house.run(&["healthcheck"]);
    // Whether somebody listens on the default port of this machine is not the test's to say.
    assert!(matches!(said.code, Some(0 | 1)), "{said:?}");
    if said.code == Some(1) {
        assert!(said.err.contains("http://127.0.0.1:8080/auth/ping"), "{said:?}");
    }
    house.run(&["healthcheck", "-c", "nowhere.toml"]).expect(2);
}

#[test]
fn root_administers_a_folder_as_its_owner() {
    let house = House::of(Account::Unprivileged, "");
    house.start().stop();
    let owner = house.path("data").metadata().unwrap().uid();
    let as_root = |arguments: &[&str]| house.finish(house.command_as(Account::Own, arguments), "");
    as_root(&["user", "add", "bob", "--generate"]).expect(0);
    for name in ["lock", "portcullis.db", "keys", "master"] {
        let found = house.path("data").join(name).metadata().unwrap().uid();
        assert_eq!(found, owner, "{name}");
    }
    let gateway = house.start();
    as_root(&["user", "disable", "alice"]).expect(0);
    house.try_password("alice", "a long passphrase").expect(401);
    gateway.stop();
}

#[test]
fn root_is_asked_once_for_what_the_owner_of_the_folder_could_not_read() {
    let house = House::of(Account::Unprivileged, "");
    house.start().stop();
    let as_root = |arguments: &[&str], typed: &str| {
        house.finish(house.command_as(Account::Own, arguments), typed)
    };
    let passwd = ["user", "passwd", "alice", "--password-stdin"];
    as_root(&passwd, "quite another one\n").expect(0);
    let added = as_root(&["user", "add", "bob", "--generate"], "").expect(0);
    let passwords: Vec<_> =
        added.out.lines().filter_map(|line| line.strip_prefix("password: ")).collect();
    assert_eq!(passwords.len(), 1, "{added:?}");
    let users = format!("username,hash\ncarol,{BCRYPT}\n");
    as_root(&["user", "import", "/dev/stdin"], &users).expect(0).tells(&["1 user is added"]);
    let file = house.path("users.csv");
    std::fs::write(&file, users.replace("carol", "dave")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let for_root_alone = std::fs::Permissions::from_mode(0o600);
    let before = house.file().metadata().unwrap().permissions();
    std::fs::set_permissions(house.file(), for_root_alone).unwrap();
    as_root(&["user", "import", "users.csv"], "").expect(0).tells(&["1 user is added"]);
    std::fs::set_permissions(house.file(), before).unwrap();
    let gateway = house.start();
    house.try_password("alice", "quite another one").expect(200);
    house.try_password("bob", passwords[0]).expect(200);
    gateway.stop();
}

#[test]
fn root_is_led_to_no_gateway_but_that_of_the_owner_of_the_folder() {
    let (victim, house) = (House::new(""), House::of(Account::Unprivileged, ""));
    let gateway = victim.start();
    house.start().stop();
    let owner = |house: &House| house.path("data").metadata().unwrap().uid();
    if owner(&victim) == owner(&house) {
        return; // Both are of whoever runs the tests, who is not root.
    }
    let lock = File::open(house.path("data/lock")).unwrap();
    lock.lock().unwrap();
    symlink(victim.path("data/control.sock"), house.path("data/control.sock")).unwrap();
    let add = ["user", "add", "eve", "--role", "admin", "--generate"];
    house.finish(house.command_as(Account::Own, &add), "").expect(2);
    let list = victim.run(&["user", "list", "--json"]).expect(0).json();
    assert_eq!(names(&list), ["admin", "alice"]);
    gateway.stop();
}

#[test]
fn root_follows_no_link_of_a_third_to_a_data_folder() {
    let house = House::of(Account::Unprivileged, "");
    house.start().stop();
    let (folder, moved) = (house.path("data"), house.path("moved"));
    std::fs::rename(&folder, &moved).unwrap();
    symlink(&moved, &folder).unwrap();
    let owner = moved.metadata().unwrap().uid();
    let list = || house.finish(house.command_as(Account::Own, &["user", "list"]), "");
    let link_to = |uid| std::os::unix::fs::lchown(&folder, Some(uid), None);
    if link_to(owner + 1).is_err() {
        return; // Whoever runs the tests is not root.
    }
    list().expect(2).tells(&["the data folder", "is a link", "chown -h"]);
    for sound in [owner, 0] {
        link_to(sound).unwrap();
        list().expect(0).tells(&["alice"]);
    }
    std::os::unix::fs::chown(&moved, Some(0), None).unwrap();
    link_to(owner).unwrap();
    list().expect(2).tells(&["is a link"]);
}

#[test]
fn a_password_is_printed_only_when_it_is_set_and_none_is_none() {
    both_ways(|house, how| {
        for refused in [&["alice"][..], &["bob", "--role", "wizard"]] {
            let arguments = [&["user", "add"], refused, &["--generate"]].concat();
            let said = house.run(&arguments).expect(1);
            assert_eq!(said.out, "", "{how}: {refused:?}");
        }
        let said = house.run(&["user", "passwd", "alice", "--generate"]).expect(0);
        assert!(said.out.contains("alice has a new password"), "{how}: {said:?}");
        assert!(said.out.contains("password: "), "{how}: {said:?}");
        let none = house.run_typing(&["user", "passwd", "alice", "--password-stdin"], "\n");
        none.expect(1).tells(&["no password was given"]);
    });
}

#[test]
fn a_running_gateway_is_asked_whatever_the_file_has_become() {
    for faulty in ["workers = two", "workers = \"two\"", "workers = 2\npublic_url = \"${GONE}\""] {
        let mut house = House::new("");
        let gateway = house.start();
        house.reconfigure("workers = 2", faulty);
        let value = || {
            let metrics = house.ask_admin("/metrics").expect(200).text();
            let of = |line: &str| line.split(' ').next_back().map(str::to_owned);
            let name = "portcullis_config_last_reload_successful";
            metrics.lines().find(|line| line.starts_with(name)).and_then(of)
        };
        assert_eq!(value().as_deref(), Some("1"), "{faulty}");
        house.run(&["reload"]).expect(1).tells(&[
            "the configuration in force stays",
            if faulty.contains("GONE") { "GONE" } else { "workers" },
        ]);
        assert_eq!(value().as_deref(), Some("0"), "{faulty}");
        let list = house.run(&["user", "list", "--json"]).expect(0).json();
        assert_eq!(names(&list), ["admin", "alice"], "{faulty}");
        let session = house.login("alice").session;
        house.run(&["session", "revoke", &session]).expect(0);
        house.run(&["key", "rotate"]).expect(0);
        house.run(&["user", "disable", "alice"]).expect(0);
        house.try_password("alice", "a long passphrase").expect(401);
        gateway.stop();
        house.run(&["user", "list"]).expect(1).tells(&["error[E"]);
    }
}

#[test]
fn a_fault_that_may_hide_the_data_folder_leads_to_no_other_gateway() {
    let server = "[server]\nlisten = \"127.0.0.1:PORT\"\nadmin = \"off\"\nworkers = 2\n";
    let mut house = House::new(server);
    // On the folder of a file that names none.
    let gateway = house.start();
    house.run(&["user", "list"]).expect(0);
    let sound = "workers = 2\n";
    for (at, fault) in [
        (sound, "workers = 2\ndata_dri = \"elsewhere\"\n"),
        ("[server]\n", "[server\ndata_dir = \"elsewhere\"\n"),
        ("[server]\n", "data_dir = \"elsewhere\"\n"),
        ("[server]\n", "[[server]]\ndata_dir = \"elsewhere\"\n"),
        ("[server]\n", "[serve]\ndata_dir = \"elsewhere\"\n"),
        ("[server]\n", "[upstreams]\ndata_dir = \"elsewhere\"\n[server]\n"),
        ("[server]\n", "[cors]\ndata_dir = \"elsewhere\"\n[server]\n"),
        ("[server]\n", "[identity]\ndata_dir = \"elsewhere\"\n[server]\n"),
        ("[server]\n", "[log]\nlevel = [{ data_dir = \"elsewhere\" }]\n[server]\n"),
    ] {
        house.reconfigure(at, fault);
        house.run(&["user", "disable", "alice"]).expect(1).tells(&["error[E"]);
        house.try_password("alice", "a long passphrase").expect(200);
        // Which only reads its own file again, and counts that it is refused.
        house.run(&["reload"]).expect(1).tells(&["the configuration in force stays"]);
        house.reconfigure(fault, at);
    }
    house.reconfigure("[log]", "[log]\nlevel = \"loud\"\naccess = 3");
    house.run(&["user", "disable", "alice"]).expect(0);
    house.try_password("alice", "a long passphrase").expect(401);
    gateway.stop();
}

#[test]
fn a_reload_without_a_gateway_names_the_folder_and_makes_none() {
    let mut house = House::new("");
    let folder = house.path("data").display().to_string();
    house.run(&["reload"]).expect(2).tells(&["no gateway runs on the data folder", &folder]);
    house.reconfigure("workers = 2", "workers = \"two\"");
    let told = ["error[E", "no gateway runs on the data folder", &folder];
    house.run(&["reload"]).expect(2).tells(&told);
    assert!(!house.path("data").exists());
}

#[test]
fn a_variable_that_is_not_text_and_a_file_that_is_its_own_link_are_told_as_that() {
    let mut house = House::new("");
    house.reconfigure("[log]", "[tokens]\nissuer = \"${WORD:-default}\"\n[log]");
    let mut command = house.command(&["check"]);
    command.env("WORD", OsStr::from_bytes(b"caf\xe9"));
    house.finish(command, "").expect(1).tells(&["`WORD` is not UTF-8"]);
    fs::remove_file(house.file()).unwrap();
    symlink("gateway.toml", house.file()).unwrap();
    house.run(&["check"]).expect(2).tells(&["cannot read `gateway.toml`"]);
}

#[test]
fn an_empty_data_dir_leads_no_command_to_the_default_folder() {
    let mut house = House::new("");
    let gateway = house.start();
    house.reconfigure(&format!("data_dir = \"{}", house.path("data").display()), "data_dir = \"");
    house.run(&["user", "disable", "alice"]).expect(1).tells(&["`data_dir` cannot be empty"]);
    gateway.stop();
}

#[test]
fn version_and_help_are_said() {
    let house = House::new("");
    let version = house.run(&["version"]).expect(0).out;
    assert_eq!(version.trim(), concat!("portcullis ", env!("CARGO_PKG_VERSION")));
    let help = house.run(&["--help"]).expect(0).out;
    for command in ["demo", "run", "check", "explain", "routes", "user", "session", "healthcheck"] {
        assert!(help.contains(command), "{command}: {help}");
    }
    house.run(&[]).expect(2);
    house.run(&["no-such-command"]).expect(2);
}

#[test]
fn a_store_in_memory_is_not_administered_from_outside() {
    let house = House::new("[store]\nurl = \"sqlite::memory:\"\n");
    house.run(&["user", "list"]).expect(2).tells(&["in memory"]);
}

#[test]
fn a_demo_without_a_port_says_how_to_give_it_another() {
    let house = House::new("");
    let taken = std::net::TcpListener::bind(house.address()).unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let said = house.run(&["demo", "--listen", &listen]).expect(1);
    said.tells(&["cannot listen on", &listen, "in use", "--listen", "not started"]);
}

#[test]
fn the_demo_serves_what_it_prints() {
    let house = House::new("");
    let listen = format!("127.0.0.1:{}", free_port());
    let demo = house.start_by(house.command(&["demo", "--listen", &listen]), "Ctrl-C");
    let said = demo.said();
    let door = Door::at(listen.parse().unwrap());
    assert!(said.contains(&door.origin()), "{said}");
    let password = |user: &str| {
        let line = said.lines().find(|line| line.contains(&format!("user {user}, password")));
        let line = line.unwrap_or_else(|| panic!("{user}: {said}"));
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    let asked = |path: &str, cookies: &str, status| {
        assert!(said.contains(&format!("{}{path} ", door.origin())), "{path}: {said}");
        door.get(path, &[("Cookie", cookies)]).expect(status).text()
    };
    door.get("/", &[]).expect(200);
    door.get("/private/hello", &[]).expect(401);
    let json = said
        .split('\'')
        .find(|part| part.starts_with('{'))
        .unwrap_or_else(|| panic!("no body for a login: {said}"));
    let cookies = door.post_json("/auth/login", &[], json).expect(200).cookie_header();
    assert!(asked("/private/hello", &cookies, 200).contains("Remote-User: alice"));
    asked("/admin/", &cookies, 403);
    door.get("/auth/me", &[("Cookie", &cookies)]).expect(200);
    let admin = door.try_password("admin", &password("admin")).expect(200);
    let page = door.get_as("/admin/", &admin.member("access_token")).expect(200).text();
    assert!(page.contains("Remote-User: admin"), "{page}");
    assert!(page.contains("Remote-Groups: admin"), "{page}");
    assert_ne!(password("alice"), password("admin"));
    demo.stop();
    assert_eq!(house.data(), [""; 0], "the demo keeps nothing");
}
