//! Django's admin, which judges requests by Host, Origin and scheme, and keeps a session of its own.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::browser::Browser;
use crate::client::Answer;
use crate::gateway::Gateway;
use crate::programs::{Program, installed};

struct House {
    _program: Program,
    url: String,
    _folder: TempDir,
}

impl House {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut migrate = installed("python");
        at_home(migrate.args(["-m", "django", "migrate", "--verbosity", "0"]), folder.path());
        let done = migrate.output().expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

        let mut command = installed("gunicorn");
        command.args(["-b", "127.0.0.1:0", "-k", "gthread", "--threads", "4", "wsgi:application"]);
        let program = Program::start("django", at_home(&mut command, folder.path()));
        let url = program.until("where it listens", |line| {
            let (_, rest) = line.split_once("Listening at: ")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        Self { _program: program, url, _folder: folder }
    }

    /// A gateway that speaks for `https://house.example.com`; `/open/*` is for everybody.
    #[track_caller]
    fn guarded(&self) -> Gateway {
        let route = |rest: &str| format!("[[routes]]\n{rest}\nupstream = \"{}\"\n", self.url);
        let all = route("path = \"/*\"") + &route("path = \"/open/*\"\naccess = \"public\"");
        Gateway::start_as(ORIGIN, &all)
    }
}

fn at_home<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command
        .env("HOUSE", folder)
        .env("HOME", folder)
        .env("DJANGO_SETTINGS_MODULE", "settings")
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps/django"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// What the admin's form for a new group sends.
#[track_caller]
fn add_group(browser: &mut Browser<'_>, name: &str, origin: &str) -> Answer {
    let form = browser.ask("GET /admin/auth/group/add/", &[], "").expect(200).text();
    let (_, rest) = form.split_once("name=\"csrfmiddlewaretoken\" value=\"").expect("a token");
    let token = rest.split('"').next().expect("its end");
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Origin", origin),
        ("Referer", "https://house.example.com/admin/auth/group/add/"),
    ];
    let body = format!("csrfmiddlewaretoken={token}&name={name}&_save=Save");
    browser.ask("POST /admin/auth/group/add/", &headers, &body)
}

#[test]
fn django_knows_whom_the_gateway_names_and_what_they_may() {
    let house = House::start();
    let gateway = house.guarded();
    let mut admin = Browser::signed_in(&gateway, "admin");
    let page = admin.ask("GET /admin/", &[], "").expect(200);
    assert!(page.text().contains("Site administration"), "{}", page.text());

    let mut alice = Browser::signed_in(&gateway, "alice");
    let away = alice.ask("GET /admin/", &[], "").expect(302);
    assert_eq!(away.header("location"), Some("/admin/login/?next=/admin/"));
    assert_eq!(alice.ask("GET /whoami", &[], "").expect(200).text(), "alice");
}

#[test]
fn a_form_of_django_passes_from_its_own_origin_alone() {
    let house = House::start();
    let gateway = house.guarded();
    let mut admin = Browser::signed_in(&gateway, "admin");
    let saved = add_group(&mut admin, "tea", ORIGIN).expect(302);
    assert_eq!(saved.header("location"), Some("/admin/auth/group/"));
    let list = admin.ask("GET /admin/auth/group/", &[], "").expect(200).text();
    assert!(list.contains(">tea<"), "{list}");

    // A cookie decides: the gateway itself refuses. A token decides: it is left to Django.
    let refused = add_group(&mut admin, "foreign", "https://evil.example").expect(403);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let bearer = gateway.bearer("admin");
    let cookies = admin.jar().filter(|(name, _)| !name.contains("pc_"));
    let cookies: Vec<_> = cookies.map(|(name, value)| format!("{name}={value}")).collect();
    let ask = |origin| {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Cookie", &cookies.join("; ")),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-CSRFToken", &admin.cookie("csrftoken")),
            ("Origin", origin),
        ];
        gateway.ask("POST /admin/auth/group/add/", &headers, "name=coffee&_save=Save")
    };
    let refused = ask("https://evil.example").expect(403).text();
    assert!(refused.contains("CSRF verification failed"), "{refused}");
    assert_eq!(ask(ORIGIN).expect(302).header("location"), Some("/admin/auth/group/"));
    let list = admin.ask("GET /admin/auth/group/", &[], "").expect(200).text();
    assert!(!list.contains("foreign"), "{list}");
}

#[test]
fn no_spelling_of_its_header_makes_django_take_a_client_for_somebody_else() {
    let house = House::start();
    let gateway = house.guarded();
    let mut alice = Browser::signed_in(&gateway, "alice");
    let mut stranger = Browser::new(&gateway);
    for name in ["Remote-User", "Remote_User", "REMOTE_USER", "remote.user", "Http-Remote-User"] {
        let who = alice.ask("GET /whoami", &[(name, "admin")], "").expect(200).text();
        assert_eq!(who, "alice", "{name}, signed in");
        let who = stranger.ask("GET /open/whoami", &[(name, "admin")], "").expect(200).text();
        assert_eq!(who, "nobody", "{name}, public");
        alice.ask("GET /admin/", &[(name, "admin"), ("Remote_Groups", "admin")], "").expect(302);
    }
}

#[test]
fn a_session_of_django_that_was_left_behind_is_not_the_next_users() {
    let house = House::start();
    let gateway = house.guarded();
    let mut browser = Browser::signed_in(&gateway, "admin");
    browser.ask("GET /admin/", &[], "").expect(200);
    let left = browser.cookie("sessionid");
    browser.sign_out();
    assert_eq!(browser.cookie("sessionid"), left, "it is still in the jar");
    browser.ask("GET /whoami", &[], "").expect(401);
    assert_eq!(browser.ask("GET /open/whoami", &[], "").expect(200).text(), "nobody");

    browser.sign_in("bob");
    assert_eq!(browser.ask("GET /whoami", &[], "").expect(200).text(), "bob");
    browser.ask("GET /admin/", &[], "").expect(302);
}

const ORIGIN: &str = "https://house.example.com";
