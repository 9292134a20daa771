//! WebSockets of two real libraries through the tunnel: fragments, pings, close codes, 64 MB.

use crate::gateway::Gateway;
use crate::programs::{Program, installed};

#[track_caller]
fn echo() -> (Program, Gateway) {
    let mut command = installed("python");
    let program = Program::start("echo", command.arg(script("serve.py")));
    let port = program.until("its port", |line| line.strip_prefix("port ").map(str::to_owned));
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:{port}\"\n"
    ));
    (program, gateway)
}

fn script(name: &str) -> String {
    format!("{}/tests/apps/websocket/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn talk(way: &str) {
    let (_echo, gateway) = echo();
    let mut command = installed("python");
    command.arg(script("talk.py"));
    command.args([way, &gateway.url("ws", "/ws"), &gateway.bearer("alice")]);
    let mut talk = Program::start(way, &mut command);
    talk.until("that all is good", |line| (line == "good").then_some(()));
    assert!(talk.ended().success());
}

#[test]
fn the_websockets_library_talks_through_the_tunnel() {
    talk("websockets");
}

#[test]
fn the_wsproto_library_talks_through_the_tunnel() {
    talk("wsproto");
}

#[test]
fn a_large_message_costs_the_gateway_no_memory() {
    let (_echo, gateway) = echo();
    let bearer = gateway.bearer("alice");
    let url = gateway.url("ws", "/ws");
    let growth = gateway.program.growth_during(|| {
        let mut command = installed("python");
        command.arg(script("talk.py")).args(["websockets", &url, &bearer]);
        let talk = Program::start("websockets", &mut command);
        talk.until("that all is good", |line| (line == "good").then_some(()));
    });
    assert!(growth < 4 << 20, "{growth} bytes more");
}
