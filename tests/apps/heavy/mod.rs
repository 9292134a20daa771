//! Applications that are large to install or slow to start; `./test apps-heavy` and `./test slow`
//! install and run them.

mod gradio;
mod jupyterlab;
mod node_red;
mod octoprint;

use std::path::PathBuf;
use std::process::Command;

use crate::browser::Browser;
use crate::programs::{Program, installed, system};

/// A program of the Python packages in `tests/apps/heavy/APPLICATION.txt`.
#[track_caller]
fn heavy(application: &str, program: &str) -> Command {
    system(folder().join(application).join("bin").join(program))
}

/// Where `./test` keeps what is installed for these tests.
#[track_caller]
fn folder() -> PathBuf {
    let folder = std::env::var_os("PORTCULLIS_TEST_HEAVY");
    folder.expect("PORTCULLIS_TEST_HEAVY is set by `./test apps-heavy`").into()
}

fn file(name: &str) -> String {
    format!("{}/tests/apps/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Opens a WebSocket with a browser's cookies, sends texts, and gives the first message in which
/// `wanted` stands.
#[track_caller]
fn hear(browser: &Browser<'_>, url: &str, texts: &[&str], wanted: &str) -> String {
    let program = listen(browser, url, texts, wanted);
    program.until("what was wanted", |line| line.strip_prefix("heard ").map(str::to_owned))
}

/// The same as a program that goes on until it hears what is wanted, or the socket ends.
#[track_caller]
fn listen(browser: &Browser<'_>, url: &str, texts: &[&str], wanted: &str) -> Program {
    let host = url.split('/').nth(2).expect("a host");
    let mut command = installed("python");
    command.arg(file("websocket/hear.py"));
    command.args([url, &format!("http://{host}"), &browser.cookies(), wanted]).args(texts);
    Program::start("hear", &mut command)
}

/// The headers with which a browser's script would open a WebSocket.
fn opening(origin: &str) -> [(&str, &str); 5] {
    [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Origin", origin),
    ]
}
