//! The gateway as a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::client::{Answer, Client, request};
use crate::hush;
use crate::programs::Program;

/// `portcullis run` on a folder of its own.
pub struct Gateway {
    pub program: Program,
    address: SocketAddr,
    host: String,
    folder: TempDir,
}

/// The password of every user in tests here.
pub const PASSWORD: &str = "password123";

/// [`PASSWORD`], as in `examples/article`.
pub const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$kqUb3fMsaT2zfAHqmeEY+g$eNQoGnB/D6zIKnytDhjEtw/dZD7spXXZV+F8QPVspBc";

impl Gateway {
    /// Starts a gateway with the users alice, bob and admin; `routes` is TOML.
    #[track_caller]
    pub fn start(routes: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let text = settings(&folder.path().join("data")) + routes;
        let (program, address) = run(folder.path(), &text, &mut portcullis());
        let host = format!("localhost:{}", address.port());
        Self { program, address, host, folder }
    }

    /// The same under another name, as behind a proxy that speaks TLS.
    #[track_caller]
    pub fn start_as(origin: &str, routes: &str) -> Self {
        let mut gateway = Self::start(&format!("public_url = \"{origin}\"\n{routes}"));
        origin.split_once("://").expect("an origin").1.clone_into(&mut gateway.host);
        gateway
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// The address of a path.
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.host)
    }

    /// The bytes of a request with this gateway's Host.
    pub fn request(&self, line: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut all = vec![("Host", self.host.as_str())];
        all.extend(headers);
        request(line, &all, body)
    }

    /// Asks over a connection of its own.
    #[track_caller]
    pub fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.connect().ask(self.request(line, headers, body))
    }

    #[track_caller]
    pub fn post(&self, path: &str, json: &str) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.ask(&format!("POST {path}"), &headers, json)
    }

    /// Tries to log in.
    #[track_caller]
    pub fn login(&self, user: &str) -> Answer {
        let json = format!(r#"{{"username":"{user}","password":"{PASSWORD}"}}"#);
        self.post("/auth/login", &json)
    }

    /// `Bearer ...` of a new session.
    #[track_caller]
    pub fn bearer(&self, user: &str) -> String {
        let answer = self.login(user).expect(200);
        format!("Bearer {}", answer.member("access_token"))
    }
}

impl Drop for Gateway {
    /// What it told is judged as in the tests that need no foreign program.
    fn drop(&mut self) {
        if !thread::panicking() {
            let keys = self.folder.path().join("data/keys");
            hush::judge(&[self.address], &[self.program.told()], &keys);
        }
    }
}

/// The program under test.
pub fn portcullis() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
}

/// Writes the file, starts `command run` on it, and waits until it listens.
#[track_caller]
pub fn run(folder: &Path, text: &str, command: &mut Command) -> (Program, SocketAddr) {
    try_run(folder, text, command)
        .unwrap_or_else(|program| panic!("the gateway does not start: {}", program.told()))
}

/// The same; an error is the program that ended instead.
pub fn try_run(
    folder: &Path,
    text: &str,
    command: &mut Command,
) -> Result<(Program, SocketAddr), Program> {
    let file = folder.join("gateway.toml");
    fs::write(&file, text).expect("the file can be written");
    let program = Program::start("portcullis", command.arg("run").arg("-c").arg(&file));
    let address = program
        .tells(|line| line.strip_prefix("portcullis listens on ")?.split(',').next()?.parse().ok());
    match address {
        Some(address) => Ok((program, address)),
        None => Err(program),
    }
}

/// The file's beginning; what follows may begin with further keys of `[server]`.
pub fn settings(data_dir: &Path) -> String {
    let mut text = String::new();
    for (user, role) in [("alice", "user"), ("bob", "user"), ("admin", "admin")] {
        text +=
            &format!("[[bootstrap]]\nname = \"{user}\"\nroles = [\"{role}\"]\nhash = \"{HASH}\"\n");
    }
    text + &format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\ndata_dir = \"{}\"\n",
        data_dir.display()
    )
}
