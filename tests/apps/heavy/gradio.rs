//! Gradio, whose answers are events of a stream.

use serde_json::Value;
use tempfile::TempDir;

use super::{file, heavy};
use crate::client::Client;
use crate::gateway::Gateway;
use crate::programs::{Program, free_port};

struct Page {
    _program: Program,
    gateway: Gateway,
    bearer: String,
    _folder: TempDir,
}

impl Page {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let mut command = heavy("gradio", "python");
        command.arg(file("heavy/steps.py")).arg(port.to_string());
        command.env("HOME", folder.path()).env("GRADIO_TEMP_DIR", folder.path());
        command.env("GRADIO_ANALYTICS_ENABLED", "False").env("PYTHONUNBUFFERED", "1");
        let program = Program::start("gradio", &mut command);
        program.until("that it runs", |line| line.contains("Running on local URL").then_some(()));
        let gateway = Gateway::start(&format!(
            "[[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:{port}\"\n"
        ));
        let bearer = gateway.bearer("alice");
        Self { _program: program, gateway, bearer, _folder: folder }
    }

    /// Begins a call and gives the path of its events.
    #[track_caller]
    fn call(&self, name: &str, json: &str) -> String {
        let path = format!("/gradio_api/call/{name}");
        let headers =
            [("Authorization", self.bearer.as_str()), ("Content-Type", "application/json")];
        let answer = self.gateway.ask(&format!("POST {path}"), &headers, json).expect(200);
        format!("{path}/{}", answer.member("event_id"))
    }

    #[track_caller]
    fn events(&self, path: &str) -> Client {
        let mut client = self.gateway.connect();
        let headers = [("Authorization", self.bearer.as_str()), ("Accept", "text/event-stream")];
        client.send(self.gateway.request(&format!("GET {path}"), &headers, ""));
        let (status, headers) = client.head().expect("an answer");
        assert_eq!(status, 200, "{headers:?}");
        client
    }
}

/// The data of the next event of a kind; no two events come in one chunk here.
#[track_caller]
fn next(client: &mut Client, kind: &str) -> Value {
    let (wanted, mut found, mut seen) = (format!("event: {kind}"), false, Vec::new());
    while let Some(chunk) = client.line() {
        for line in chunk.lines() {
            found |= line == wanted;
            if let (true, Some(data)) = (found, line.strip_prefix("data: ")) {
                return serde_json::from_str(data).unwrap_or_else(|bad| panic!("{bad}: {data}"));
            }
        }
        seen.push(chunk);
    }
    panic!("no {kind} in {seen:?}")
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn each_step_of_gradio_arrives_before_the_next_is_taken() {
    let page = Page::start();
    let mut events = page.events(&page.call("steps", r#"{"data":["tea"]}"#));
    // The application waits in each step until it is let go on: what was held back would be
    // waited for without end.
    for number in 0..3 {
        let told = next(&mut events, "generating");
        assert_eq!(told[0], format!("tea {number} for alice"));
        page.events(&page.call("step", r#"{"data":[]}"#));
    }
    assert_eq!(next(&mut events, "complete")[0], "tea 2 for alice");
}

#[test]
#[ignore = "heavy: `./test apps-heavy` installs what it needs"]
fn a_file_for_gradio_comes_back_as_it_was() {
    let page = Page::start();
    let content = "leaf\n".repeat(200_000);
    let form = format!(
        "--tea\r\nContent-Disposition: form-data; name=\"files\"; filename=\"tea.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n{content}\r\n--tea--\r\n"
    );
    let bearer = ("Authorization", page.bearer.as_str());
    let headers = [bearer, ("Content-Type", "multipart/form-data; boundary=tea")];
    let kept = page.gateway.ask("POST /gradio_api/upload", &headers, &form).expect(200).json();
    let place = kept[0].as_str().expect("a path");
    let got = page.gateway.ask(&format!("GET /gradio_api/file={place}"), &[bearer], "").expect(200);
    assert!(got.text() == content, "{} bytes", got.body.len());
}
