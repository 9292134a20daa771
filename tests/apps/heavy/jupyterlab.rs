//! JupyterLab: a kernel over a WebSocket, cookies that hold Host and path, an Origin check.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{hear, heavy, opening};
use crate::browser::Browser;
use crate::gateway::Gateway;
use crate::programs::{Program, free_port};

struct Lab {
    _program: Program,
    url: String,
    folder: TempDir,
}

impl Lab {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        fs::create_dir(folder.path().join("notes")).expect("a folder");
        let mut command = heavy("jupyterlab", "jupyter-lab");
        command.args(["--ip=127.0.0.1", "--no-browser", "--allow-root"]);
        command.args(["--IdentityProvider.token=", "--ServerApp.password="]);
        command.args(["--ServerApp.base_url=/lab1/", "--ServerApp.allow_remote_access=True"]);
        command.arg(format!("--port={port}"));
        command.arg(format!("--ServerApp.root_dir={}/notes", folder.path().display()));
        command.env("HOME", folder.path());
        let program = Program::start("jupyter-lab", &mut command);
        program.until("that it runs", |line| line.contains("is running at:").then_some(()));
        program.listens(port);
        Self { _program: program, url: format!("http://127.0.0.1:{port}"), folder }
    }

    #[track_caller]
    fn guarded(&self) -> Gateway {
        Gateway::start(&format!("[[routes]]\npath = \"/lab1/*\"\nupstream = \"{}\"\n", self.url))
    }
}

/// Asks as its page's scripts do.
#[track_caller]
fn call(browser: &mut Browser<'_>, line: &str, json: &Value, status: u16) -> Value {
    let token = browser.cookie("_xsrf");
    let headers = [("Content-Type", "application/json"), ("X-XSRFToken", &token)];
    browser.ask(line, &headers, &json.to_string()).expect(status).json()
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn a_kernel_says_that_six_times_seven_is_forty_two() {
    let lab = Lab::start();
    let gateway = lab.guarded();
    let mut alice = Browser::signed_in(&gateway, "alice");
    let moved = alice.ask("GET /lab1/", &[], "").expect(302);
    assert_eq!(moved.header("location"), Some("/lab1/lab?"));
    alice.ask("GET /lab1/lab", &[], "").expect(200);
    let kernel = call(&mut alice, "POST /lab1/api/kernels", &json!({"name": "python3"}), 201);
    let id = kernel["id"].as_str().expect("an id").to_owned();
    let url = gateway.url("ws", &format!("/lab1/api/kernels/{id}/channels"));
    let heard = hear(&alice, &url, &[&question("6*7")], "execute_result");
    let answer: Value = serde_json::from_str(&heard).expect("JSON");
    assert_eq!(answer["content"]["data"]["text/plain"], "42", "{heard}");

    // A cookie decides: the gateway refuses another origin. A token decides: Jupyter does.
    let path = format!("GET /lab1/api/kernels/{id}/channels");
    let evil = opening("https://evil.example");
    let refused = alice.ask(&path, &evil, "").expect(403);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let bearer = gateway.bearer("alice");
    let by_token = [&evil[..], &[("Authorization", &bearer)]].concat();
    let refused = gateway.ask(&path, &by_token, "").expect(403);
    assert!(refused.header("server").unwrap_or_default().contains("Tornado"), "{refused:?}");
    gateway.ask(&path, &opening(&gateway.url("http", "")), "").expect(401);
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn jupyter_sees_the_host_of_the_browser_and_keeps_its_cookies() {
    let lab = Lab::start();
    let gateway = lab.guarded();
    let mut alice = Browser::signed_in(&gateway, "alice");
    let page = alice.ask("GET /lab1/lab", &[], "").expect(200);
    let host = gateway.url("http", "").replace("http://", "").replace(':', "-");
    let own = format!("username-{host}=");
    let line = page.all("set-cookie").find(|line| line.starts_with(&own)).expect("its cookie");
    assert!(line.contains("Path=/lab1/"), "{line}");

    let me = alice.ask("GET /lab1/api/me", &[], "").expect(200).json();
    let again = alice.ask("GET /lab1/api/me", &[], "").expect(200).json();
    assert_eq!(me["identity"], again["identity"], "its cookie came back to it");
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn a_large_note_is_kept_and_costs_the_gateway_no_memory() {
    let lab = Lab::start();
    let gateway = lab.guarded();
    let mut alice = Browser::signed_in(&gateway, "alice");
    alice.ask("GET /lab1/lab", &[], "").expect(200);
    let text = "tea ".repeat(5 << 20);
    let note = json!({"type": "file", "format": "text", "content": text});
    let growth = gateway.program.growth_during(|| {
        call(&mut alice, "PUT /lab1/api/contents/tea.txt", &note, 201);
    });
    assert!(growth < 6 << 20, "grew by {growth} bytes");
    let kept = fs::read_to_string(lab.folder.path().join("notes/tea.txt")).expect("it is there");
    assert!(kept == text, "{} bytes", kept.len());

    let line = "GET /lab1/api/kernelspecs";
    let tag = alice.ask(line, &[], "").expect(200).header("etag").expect("a tag").to_owned();
    alice.ask(line, &[("If-None-Match", &tag)], "").expect(304);
}

/// A request of Jupyter's messaging protocol.
fn question(code: &str) -> String {
    json!({
        "channel": "shell",
        "header": {
            "msg_id": "1", "msg_type": "execute_request", "username": "alice",
            "session": "s", "version": "5.3", "date": "2026-01-01T00:00:00Z",
        },
        "parent_header": {},
        "metadata": {},
        "content": {
            "code": code, "silent": false, "store_history": false,
            "user_expressions": {}, "allow_stdin": false,
        },
    })
    .to_string()
}
