//! A gateway in this process, on a folder and a clock of its own.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::app::{self, Running};
use portcullis::clock::{Clock, Timestamp};
use portcullis::config::{self, Environment, Style};
use portcullis::password::Cost;
use tempfile::TempDir;

use super::{Client, Door, hush, request};

/// A running gateway; stopped and swept away when dropped.
pub struct Gateway {
    running: Option<Running>,
    door: Door,
    folder: TempDir,
    toml: String,
    pub clock: Clock,
    /// Every one that it listened on, for its judge.
    addresses: Vec<SocketAddr>,
    /// None is waited for but where a test asks for it, at the next restart.
    pub failure_floor: Duration,
}

/// What every test's file begins with.
const BASE: &str = r#"
[server]
listen = "127.0.0.1:0"
data_dir = "FOLDER/data"
admin = "off"
workers = 2

[log]
output = "file:FOLDER/access.log"
audit_output = "file:FOLDER/audit.log"

[auth]
roles = ["admin", "editor", "user"]

[[bootstrap]]
name = "alice"
roles = ["user"]
password = "a long passphrase"

[[bootstrap]]
name = "admin"
roles = ["admin"]
password = "a long passphrase"
"#;

impl Gateway {
    /// Starts a gateway. `extra` is TOML: routes, and sections that `BASE` does not have; a section
    /// that it has replaces that of `BASE`.
    #[track_caller]
    pub fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self::start_in(folder, extra)
    }

    /// One route to an upstream for signed-in callers, `/admin/*` for administrators, `/public/*`
    /// for everybody, `/optional/*` for everybody with the identity if there is one.
    #[track_caller]
    pub fn before(upstream: &str) -> Self {
        Self::start(&routes(upstream))
    }

    #[track_caller]
    pub fn start_in(folder: TempDir, extra: &str) -> Self {
        let toml = merge(BASE, extra).replace("FOLDER", &folder.path().display().to_string());
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let door = Door::at(([127, 0, 0, 1], 0).into());
        let failure_floor = Duration::ZERO;
        let addresses = Vec::new();
        let mut gateway =
            Self { running: None, door, folder, toml, clock, addresses, failure_floor };
        gateway.restart();
        gateway
    }

    /// Stops the gateway, if it runs, and starts it again on the same folder.
    #[track_caller]
    pub fn restart(&mut self) {
        self.running = None;
        let file = self.folder.path().join("gateway.toml");
        fs::write(&file, &self.toml).expect("the file can be written");
        let loaded = config::read(&self.toml, &file, &Environment::fixed([]))
            .unwrap_or_else(|report| panic!("{}", report.render(Style::Plain)));
        let mut config = loaded.config;
        config.passwords.failure_floor = self.failure_floor;
        if !self.toml.contains("argon2") {
            // Cheaper than any file may ask for: what a hash costs has tests of its own.
            config.passwords.cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        }
        let running = app::start(config, &self.clock).expect("the gateway starts");
        self.door = Door::at(running.addresses()[0]);
        self.addresses.extend(running.addresses());
        self.running = Some(running);
    }

    /// Changes a text of the file, for the next restart.
    #[track_caller]
    pub fn reconfigure(&mut self, from: &str, to: &str) {
        assert!(self.toml.contains(from), "{from} is not in the file");
        self.toml = self.toml.replace(from, to);
    }

    /// Has the running gateway take over its file as it is now; Err: why it did not.
    pub fn reload(&self) -> Result<String, String> {
        let file = self.folder.path().join("gateway.toml");
        fs::write(&file, &self.toml).expect("the file can be written");
        let mut loaded = config::read(&self.toml, &file, &Environment::fixed([]))
            .map_err(|report| report.render(Style::Plain))?;
        loaded.config.passwords.failure_floor = self.failure_floor;
        if !self.toml.contains("argon2") {
            loaded.config.passwords.cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        }
        let outcome = self.running().reload(loaded);
        outcome.map(|reloaded| reloaded.text).map_err(|refused| refused.to_string())
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the gateway runs")
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Drains the gateway as a service manager does, to the end.
    pub fn drain(&mut self) {
        self.running.take().expect("the gateway runs").stop();
    }

    pub fn redirect_address(&self) -> SocketAddr {
        self.running().redirect().expect("there is a redirect")
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.running().admin().expect("the admin listener is on")
    }

    pub fn auth(&self) -> &portcullis::auth::Auth {
        self.running().auth()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("data/portcullis.db")
    }

    /// The audit stream so far, once every queued line is written.
    pub fn audit(&self) -> String {
        self.running().flush_logs();
        fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default()
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        self.running().flush_logs();
        fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let admin = self.running.as_ref().and_then(Running::admin);
        let metrics = admin.map(|admin| {
            let ask = request("GET /metrics", &[("Connection", "close")], "");
            Client::connect(admin).ask(ask).text()
        });
        self.running = None;
        let log = |name: &str| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let logs = ["access.log", "audit.log"]
            .map(|name| String::from_utf8_lossy(&log(name)).into_owned());
        let all: Vec<String> = logs.into_iter().chain(metrics).collect();
        hush::judge(&self.addresses, &all, &self.folder.path().join("data/keys"));
    }
}

impl Deref for Gateway {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

/// See [`Gateway::before`].
pub fn routes(upstream: &str) -> String {
    format!(
        r#"
[[routes]]
path = "/*"
upstream = "{upstream}"
[[routes]]
path = "/admin/*"
roles = ["admin"]
upstream = "{upstream}"
[[routes]]
path = "/public/*"
access = "public"
upstream = "{upstream}"
[[routes]]
path = "/optional/*"
access = "optional"
upstream = "{upstream}"
"#
    )
}

/// Sections of `extra` replace those of `base` that have the same name.
pub(super) fn merge(base: &str, extra: &str) -> String {
    let replaced: Vec<&str> =
        extra.lines().map(str::trim).filter(|line| is_section(line)).collect();
    let mut kept = String::new();
    let mut dropping = false;
    for line in base.lines() {
        if line.starts_with('[') {
            dropping = is_section(line) && replaced.contains(&line.trim());
        }
        if !dropping {
            kept += line;
            kept += "\n";
        }
    }
    kept + extra
}

fn is_section(line: &str) -> bool {
    line.starts_with('[') && !line.starts_with("[[")
}
