//! `run`, `demo` and `healthcheck`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::inspect;
use super::output::{Output, find};
use crate::app::administration::{self, AdministrationError};
use crate::app::control::{Answer, Command, OTHER_RELEASE};
use crate::app::{self, Running, demo};
use crate::clock::Clock;
use crate::config::{self, Config, Environment, WaysIn};
use crate::telemetry::{self, Diagnostics};

pub(super) fn run(output: &Output, file: Option<&Path>) -> ExitCode {
    let loaded = match output.load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    output.warn(&loaded);
    if let Err(red) = inspect::test(&loaded.config) {
        output.complain(red);
        return output.refuse("a [[tests]] of the configuration fails; not started");
    }
    match telemetry::diagnostics(loaded.config.log.level) {
        Ok(diagnostics) => {
            let code = run_telling(&output.among(&diagnostics), loaded.config, &diagnostics);
            diagnostics.flush();
            code
        }
        Err(cause) => output.refuse(format!("cannot start a thread: {cause}\nnot started.")),
    }
}

fn run_telling(output: &Output, config: Config, diagnostics: &Diagnostics) -> ExitCode {
    let source =
        app::Source { environment: Environment::process(), diagnostics: diagnostics.clone() };
    let upstreams = upstreams(&config);
    match app::start_from(config, &Clock::system(), Some(source)) {
        Ok(running) => serve(output, running, |running| {
            for address in running.addresses() {
                output.complain(format!("portcullis listens on {address}, {upstreams}"));
            }
            for path in running.unix_sockets() {
                output.complain(format!(
                    "portcullis listens on unix:{}, {upstreams}",
                    path.display()
                ));
            }
            if running.has_no_users() {
                output.complain("no users yet: portcullis user add NAME --role admin");
            }
        }),
        Err(error) => output.refuse(format!("{error}\nnot started.")),
    }
}

/// Before what the gateway stands.
fn upstreams(config: &Config) -> String {
    let names: Vec<String> =
        config.upstreams.iter().map(|upstream| upstream.name.to_string()).collect();
    if names.is_empty() {
        "before no application: the configuration has no [[routes]]".to_owned()
    } else {
        format!("before {}", names.join(", "))
    }
}

pub(super) fn demo(output: &Output, listen: SocketAddr) -> ExitCode {
    match demo::demo(listen) {
        Ok(demo) => {
            let welcome = demo.welcome();
            // Whoever cannot read it is told why, and stops it.
            serve(output, demo.running, |_| {
                let _told = output.say(welcome);
            })
        }
        Err(error) => output.refuse(format!("{error}\nnot started.")),
    }
}

/// Signals are heeded before anybody is told that it runs: who was told may send one at once.
fn serve(output: &Output, running: Running, tell: impl FnOnce(&Running)) -> ExitCode {
    if let Err(cause) = running.heed_signals() {
        return output.refuse(format!("cannot watch for signals: {cause}"));
    }
    tell(&running);
    running.announce();
    running.until_signalled();
    ExitCode::SUCCESS
}

/// Asks the gateway of this configuration whether it lives: exit code 0 if it says so. The file may
/// be another by now, or faulty: of it only the data folder counts, where the gateway listens for
/// commands, and the listeners for one that is not heard there. Without a file that of the defaults
/// is asked, so that a container needs no more than this command.
pub(super) fn healthcheck(output: &Output, file: Option<&Path>) -> ExitCode {
    let found = match find(file) {
        Ok(found) => Some(found),
        Err(_none) if file.is_none() => None,
        Err(text) => return output.could_not(text),
    };
    let ways = match config::ways_in(found.as_deref(), &Environment::process()) {
        Ok(ways) => ways,
        Err(report) => return output.tell(&report),
    };
    let unheard = match asked(&ways.data_dir) {
        Ok(Some(Answer::Refused(why))) if why == OTHER_RELEASE => why,
        Ok(Some(Answer::Refused(why))) => return output.refuse(why),
        Ok(Some(_lives)) => return ExitCode::SUCCESS,
        Ok(None) => {
            let nobody = AdministrationError::not_running(&ways.data_dir);
            format!(
                "{nobody}; one with its store in memory cannot be asked, since `server.admin` is off"
            )
        }
        Err(error) => error.to_string(),
    };
    // It keeps its store in memory, or its folder from this user, or is of another release; or there
    // is none.
    match Probe::of(ways) {
        Some(probe) => probe.judge(output),
        None => output.refuse(unheard),
    }
}

/// What the gateway says over its control socket; none: it is not heard there.
fn asked(data_dir: &Path) -> Result<Option<Answer>, AdministrationError> {
    administration::become_owner(data_dir)?;
    let (tell, told) = channel();
    let folder = data_dir.to_owned();
    thread::spawn(move || tell.send(administration::ask(&folder, &Command::Healthcheck)));
    told.recv_timeout(PATIENCE).unwrap_or_else(|_silent| {
        Ok(Some(Answer::Refused(format!("no answer within {} seconds", PATIENCE.as_secs()))))
    })
}

/// Whom a health check asks by HTTP, and for what.
struct Probe {
    address: SocketAddr,
    path: String,
}

impl Probe {
    fn of(ways: WaysIn) -> Option<Self> {
        let admin = ways.admin.map(|admin| (admin, "/healthz".to_owned()));
        admin.or(ways.ping).map(|(address, path)| Self { address: reachable(address), path })
    }

    fn judge(&self, output: &Output) -> ExitCode {
        match self.ask() {
            Ok(status) if status == "200" => ExitCode::SUCCESS,
            Ok(status) => output.refuse(format!("{self} answers {status}")),
            Err(cause) => output.refuse(format!("no answer from {self}: {cause}")),
        }
    }

    /// The status of the answer.
    fn ask(&self) -> io::Result<String> {
        let Self { address, path } = self;
        let mut stream = TcpStream::connect_timeout(address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.map(str::to_owned).ok_or_else(|| io::Error::other("not HTTP"))
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

/// An address to which a listener on all addresses answers.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// As long as a container's health check waits.
const PATIENCE: Duration = Duration::from_secs(3);
