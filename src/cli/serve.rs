//! `run`, `demo` and `healthcheck`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::inspect;
use super::output::{Output, find};
use crate::app::{self, Running, demo};
use crate::clock::Clock;
use crate::config::{Config, Environment, Server};
use crate::telemetry;

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
    let diagnostics = telemetry::diagnostics(loaded.config.log.level);
    let source = app::Source { environment: Environment::process(), diagnostics };
    let upstreams = upstreams(&loaded.config);
    match app::start_from(loaded.config, &Clock::system(), Some(source)) {
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
            serve(output, demo.running, |_| output.say(welcome))
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

/// Asks the gateway of this configuration whether it lives: exit code 0 if it answers 200. Without
/// a file that of the defaults is asked, so that a container needs no more than this command.
pub(super) fn healthcheck(output: &Output, file: Option<&Path>) -> ExitCode {
    let probe = if file.is_none() && find(None).is_err() {
        Probe::of_defaults()
    } else {
        match output.load(file) {
            Ok(loaded) if speaks_tls_alone(&loaded.config.server) => {
                return output.refuse(
                    "the listeners speak TLS, which this check does not; let `server.admin` be an address",
                );
            }
            Ok(loaded) => Probe::of(&loaded.config.server, &loaded.config.auth.path),
            Err(code) => return code,
        }
    };
    match probe.ask() {
        Ok(status) if status == "200" => ExitCode::SUCCESS,
        Ok(status) => output.refuse(format!("{probe} answers {status}")),
        Err(cause) => output.refuse(format!("no answer from {probe}: {cause}")),
    }
}

/// Whom a health check asks, and for what.
fn speaks_tls_alone(server: &Server) -> bool {
    server.admin.is_none() && !server.tls.is_empty()
}

struct Probe {
    address: SocketAddr,
    path: String,
}

impl Probe {
    fn of_defaults() -> Self {
        Self { address: DEFAULT_LISTENER, path: "/auth/ping".to_owned() }
    }

    /// The admin listener; where there is none, the first public one.
    fn of(server: &Server, auth_path: &str) -> Self {
        match server.admin {
            Some(admin) => Self { address: reachable(admin), path: "/healthz".to_owned() },
            None => Self {
                address: reachable(
                    server.tcp_listeners().first().copied().unwrap_or(DEFAULT_LISTENER),
                ),
                path: format!("{auth_path}/ping"),
            },
        }
    }

    /// The status of the answer.
    fn ask(&self) -> io::Result<String> {
        const PATIENCE: Duration = Duration::from_secs(3);
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

/// Where a gateway listens whose file does not say.
const DEFAULT_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
