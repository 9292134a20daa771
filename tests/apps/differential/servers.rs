//! The servers that read what the gateway forwards, and say as what.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Answer, Client};
use crate::programs::{Program, free_port, installed, system};

/// A server that runs beside the test.
pub struct Server {
    pub name: &'static str,
    address: SocketAddr,
    /// How many requests are on their way at once.
    depth: usize,
    _program: Program,
    _folder: TempDir,
}

/// As what a server read one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Not at all: it refused.
    Refused,
    Read(Said),
}

/// What a server says of a request.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub case: String,
    pub readings: Vec<String>,
    pub rule: String,
    pub identity: String,
}

impl Server {
    /// Every server, seven of six makes.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            configured("nginx", include_str!("nginx.conf"), |command, file| {
                command.arg("-p").arg(file.parent().expect("a folder")).arg("-c").arg(file);
            }),
            configured("apache2", include_str!("apache.conf"), |command, file| {
                command.arg("-f").arg(file).arg("-DFOREGROUND");
            }),
            configured("lighttpd", include_str!("lighttpd.conf"), |command, file| {
                command.arg("-D").arg("-f").arg(file);
            }),
            configured("haproxy", include_str!("haproxy.conf"), |command, file| {
                command.arg("-db").arg("-f").arg(file);
            }),
        ];
        all.extend([node("node", "strict"), node("node, lenient", "lenient"), gunicorn()]);
        all
    }

    /// Sends requests over kept connections and gives what each was read as, in their order.
    pub fn read_all(&self, requests: &[(u32, &[u8])]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut kept: Option<Client> = None;
        while replies.len() < requests.len() {
            let left = &requests[replies.len()..];
            let batch = &left[..left.len().min(self.depth)];
            let fresh = kept.is_none();
            let mut client = kept.take().unwrap_or_else(|| Client::connect(self.address));
            client.send(batch.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>().concat());
            let before = replies.len();
            let mut open = true;
            for (_, bytes) in batch {
                let Some(answer) = client.answer_to(bytes.starts_with(b"HEAD ")) else {
                    open = false;
                    break;
                };
                open = !closes(&answer);
                replies.push(Reply::of(&answer));
                if !open {
                    break;
                }
            }
            if replies.len() == before && fresh {
                replies.push(Reply::Refused);
            }
            kept = open.then_some(client);
        }
        replies
    }
}

impl Reply {
    fn of(answer: &Answer) -> Self {
        let encoded = answer.header("x-encoded").is_some();
        let text = answer.text();
        let of_body = text.lines().filter_map(|line| line.split_once(": "));
        let of_head = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut said = Said::default();
        for (name, value) in of_head.chain(of_body) {
            match name.to_ascii_lowercase().as_str() {
                "x-case" => value.clone_into(&mut said.case),
                "x-reading" if encoded => said.readings.push(decoded(value)),
                "x-reading" => said.readings.push(value.to_owned()),
                "x-rule" => value.clone_into(&mut said.rule),
                "x-identity" => said.identity.push_str(value),
                // Which lighttpd alone sends.
                "location" => value.trim_start_matches('/').clone_into(&mut said.case),
                _ => {}
            }
        }
        match said.case.is_empty() && answer.status >= 400 {
            true => Self::Refused,
            false => Self::Read(said),
        }
    }
}

fn closes(answer: &Answer) -> bool {
    answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

fn configured(
    name: &'static str,
    text: &str,
    arguments: impl Fn(&mut Command, &std::path::Path),
) -> Server {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let port = free_port();
    let path = folder.path().display().to_string();
    let file = folder.path().join("server.conf");
    let text = text.replace("PORT", &port.to_string()).replace("FOLDER", &path);
    fs::write(&file, text).expect("the file can be written");
    let mut command = system(name);
    arguments(&mut command, &file);
    let program = Program::start(name, &mut command);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(address, name);
    Server { name, address, depth: 32, _program: program, _folder: folder }
}

fn node(name: &'static str, parser: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("serve.mjs");
    fs::write(&file, include_str!("serve.mjs")).expect("the file can be written");
    let mut command = system("node");
    let program = Program::start(name, command.arg(&file).arg(parser));
    let port = program
        .until("its port", |line| line.strip_prefix("listens on ")?.trim().parse::<u16>().ok());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Server { name, address, depth: 32, _program: program, _folder: folder }
}

/// One at a time: its threads do not look at what was read ahead.
fn gunicorn() -> Server {
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::write(folder.path().join("serve.py"), include_str!("serve.py")).expect("it can be written");
    let port = free_port();
    let mut command = installed("python");
    command
        .args(["-m", "gunicorn", "--worker-class=gthread", "--threads=4", "--keep-alive=120"])
        .args(["--log-level=error", "--header-map=dangerous"])
        .arg(format!("--bind=127.0.0.1:{port}"))
        .arg("serve:application")
        .current_dir(folder.path());
    let program = Program::start("gunicorn", &mut command);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(address, "gunicorn");
    Server { name: "gunicorn", address, depth: 1, _program: program, _folder: folder }
}

/// They do not all say when they are ready.
#[track_caller]
fn wait_for(address: SocketAddr, name: &str) {
    let begin = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        assert!(error.kind() == ErrorKind::ConnectionRefused, "{name}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(60), "{name} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if bytes[at] == b'%' => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
