//! OctoPrint, which refuses chunked uploads, talks over a WebSocket, and whose own session goes on
//! answering as whoever began it.

use std::fs;

use tempfile::TempDir;

use super::{hear, heavy, listen};
use crate::browser::Browser;
use crate::client::Answer;
use crate::gateway::Gateway;
use crate::programs::{Program, free_port};

struct Printer {
    _program: Program,
    url: String,
    _folder: TempDir,
}

impl Printer {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("config.yaml"), CONFIG).expect("the file can be written");
        let port = free_port();
        let mut command = heavy("octoprint", "octoprint");
        command.args(["serve", "--iknowwhatimdoing", "--host", "127.0.0.1", "--port"]);
        command.arg(port.to_string()).arg("-b").arg(folder.path()).env("HOME", folder.path());
        let program = Program::start("octoprint", &mut command);
        program.until("that it listens", |line| {
            line.contains(" - Listening on http://127.0.0.1").then_some(())
        });
        program.listens(port);
        Self { _program: program, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// A gateway that guards it, but for `/open/*`.
    #[track_caller]
    fn guarded(&self, more: &str) -> Gateway {
        let url = &self.url;
        Gateway::start(&format!(
            "[[routes]]\npath = \"/*\"\nupstream = \"{url}\"\n{more}\n\
             [[routes]]\npath = \"/open/*\"\naccess = \"public\"\nstrip_prefix = \"/open\"\n\
             upstream = \"{url}\"\n"
        ))
    }
}

/// Who OctoPrint says is asking; None: nobody that it knows.
#[track_caller]
fn who(browser: &mut Browser<'_>, path: &str, headers: &[(&str, &str)]) -> Option<String> {
    let answer = browser.ask(&format!("GET {path}/api/currentuser"), headers, "").expect(200);
    answer.json()["name"].as_str().map(str::to_owned)
}

/// What its page does when it is opened: loads, and asks to be signed in.
#[track_caller]
fn open_page(gateway: &Gateway, browser: &mut Browser<'_>) -> Answer {
    browser.ask("GET /", &[], "").expect(200);
    let token = browser.cookie("csrf_token");
    let origin = gateway.url("http", "");
    let headers =
        [("Content-Type", "application/json"), ("X-CSRF-Token", &token), ("Origin", &origin)];
    browser.ask("POST /api/login", &headers, r#"{"passive":true}"#).expect(200)
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn octoprint_gets_uploads_of_a_known_length_as_such() {
    let printer = Printer::start();
    let gateway = printer.guarded("");
    let mut alice = Browser::signed_in(&gateway, "alice");
    open_page(&gateway, &mut alice);
    let token = alice.cookie("csrf_token");
    let kind = ("Content-Type", "multipart/form-data; boundary=tea");
    let form = "--tea\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.gcode\"\r\n\
                Content-Type: text/plain\r\n\r\nG1 X1\n\r\n--tea--\r\n";
    let headers = [kind, ("X-CSRF-Token", token.as_str())];
    let created = alice.ask("POST /api/files/local", &headers, form).expect(201);
    let place = gateway.url("http", "/api/files/local/x.gcode");
    assert_eq!(created.header("location"), Some(place.as_str()));

    let chunked = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
    let headers = [kind, headers[1], ("Transfer-Encoding", "chunked")];
    alice.ask("POST /api/files/local", &headers, &chunked).expect(411);
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn no_spelling_of_its_header_makes_octoprint_take_a_client_for_somebody_else() {
    let printer = Printer::start();
    let gateway = printer.guarded("");
    let mut alice = Browser::signed_in(&gateway, "alice");
    for name in ["Remote-User", "Remote_User", "REMOTE_USER", "remote.user"] {
        let forged = [(name, "admin")];
        assert_eq!(who(&mut alice, "", &forged).as_deref(), Some("alice"), "{name}, signed in");
        let mut stranger = Browser::new(&gateway);
        assert_eq!(who(&mut stranger, "/open", &forged), None, "{name}, public");
    }
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn octoprint_tells_its_page_what_happens() {
    let printer = Printer::start();
    let gateway = printer.guarded("");
    let mut alice = Browser::signed_in(&gateway, "alice");
    let session = open_page(&gateway, &mut alice).member("session");
    let auth = format!(r#"{{"auth":"alice:{session}"}}"#);
    let url = gateway.url("ws", "/sockjs/websocket");
    let told = hear(&alice, &url, &[&auth], "\"history\"");
    assert!(told.contains("\"state\""), "{told}");
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn a_sign_out_ends_the_socket_of_octoprints_page() {
    let printer = Printer::start();
    let gateway = printer.guarded("");
    let mut alice = Browser::signed_in(&gateway, "alice");
    let (mut bob, url) =
        (Browser::signed_in(&gateway, "bob"), gateway.url("ws", "/sockjs/websocket"));
    let page = listen(&alice, &url, &[], "what never comes");
    let others = listen(&bob, &url, &[], "what never comes");
    for open in [&page, &others] {
        open.until("a message", |line| line.starts_with("passed over").then_some(()));
    }
    alice.sign_out();
    page.until("its end", |line| (line == "ended").then_some(()));
    assert!(!others.told().contains("ended"), "{}", others.told());
    bob.sign_out();
    others.until("its end", |line| (line == "ended").then_some(()));
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn octoprint_never_answers_as_alice_once_bob_has_signed_in() {
    let printer = Printer::start();
    let gateway = printer.guarded("app_cookies = [\"session*\", \"remember_token*\"]");
    let mut browser = Browser::signed_in(&gateway, "alice");
    let signed_in = open_page(&gateway, &mut browser);
    assert_eq!(signed_in.member("name"), "alice");
    assert_eq!(who(&mut browser, "", &[]).as_deref(), Some("alice"));
    browser.sign_out();
    assert!(browser.cookies().contains("session_P"), "its session is still in the jar");
    assert_eq!(who(&mut browser, "/open", &[]), None);

    browser.sign_in("bob");
    assert_eq!(who(&mut browser, "", &[]).as_deref(), Some("bob"));
    assert_eq!(open_page(&gateway, &mut browser).member("name"), "bob");
    assert_eq!(who(&mut browser, "", &[]).as_deref(), Some("bob"));
}

const CONFIG: &str = "
accessControl:
  trustRemoteUser: true
  remoteUserHeader: Remote-User
  addRemoteUsers: true
server:
  firstRun: false
  onlineCheck: {enabled: false}
plugins:
  _disabled: [announcements, discovery, errortracking, pluginmanager, softwareupdate, tracking]
";
