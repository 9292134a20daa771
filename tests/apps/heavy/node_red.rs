//! Node-RED, whose editor lives on a WebSocket and asks who somebody is by a header of our naming.

use tempfile::TempDir;

use super::{file, folder, hear, opening};
use crate::browser::Browser;
use crate::gateway::Gateway;
use crate::programs::{Program, free_port, system};

struct Editor {
    _program: Program,
    gateway: Gateway,
    _folder: TempDir,
}

impl Editor {
    /// Its own log-in, at `/auth` too, is not reached; with `tokenHeader` nothing asks for it.
    #[track_caller]
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let mut command = system("node");
        command.arg(folder().join("node-red/node_modules/node-red/red.js"));
        command.args(["-s", &file("heavy/node-red/settings.js")]);
        command.env("PORT", port.to_string()).env("HOME", home.path());
        let program = Program::start("node-red", &mut command);
        program.until("that it runs", |line| line.contains("Server now running").then_some(()));
        program.until("its flows", |line| line.contains("Started flows").then_some(()));
        let gateway = Gateway::start(&format!(
            "[[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:{port}\"\n"
        ));
        Self { _program: program, gateway, _folder: home }
    }
}

const FLOW: &str = r#"[{"id":"a1","type":"tab","label":"Tea"}]"#;

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn node_red_lets_alice_write_and_bob_read() {
    let editor = Editor::start();
    let gateway = &editor.gateway;
    let (mut alice, mut bob) =
        (Browser::signed_in(gateway, "alice"), Browser::signed_in(gateway, "bob"));
    for (browser, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        let told = browser.ask("GET /settings", &[("Remote_User", "alice")], "").expect(200).json();
        assert_eq!(told["user"]["username"], name, "{told}");
    }
    let headers = [("Content-Type", "application/json")];
    bob.ask("POST /flows", &headers, FLOW).expect(401);
    alice.ask("POST /flows", &headers, FLOW).expect(204);
    let flows = bob.ask("GET /flows", &[], "").expect(200).text();
    assert!(flows.contains("\"Tea\""), "{flows}");
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn the_editor_of_node_red_lives_on_its_socket() {
    let editor = Editor::start();
    let gateway = &editor.gateway;
    let alice = Browser::signed_in(gateway, "alice");
    let url = gateway.url("ws", "/comms");
    let texts = [r#"{"subscribe":"notification/#"}"#];
    let told = hear(&alice, &url, &texts, "notification/runtime-");
    assert!(told.contains("\"topic\""), "{told}");

    let mut bob = Browser::signed_in(gateway, "bob");
    bob.ask("GET /comms", &opening("https://evil.example"), "").expect(403);
    gateway.ask("GET /comms", &opening(&gateway.url("http", "")), "").expect(401);
}
