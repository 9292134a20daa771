//! `run`, `demo` and `healthcheck`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::output::Output;
use super::{REFUSED, inspect};
use crate::app::{self, Running, demo};
use crate::clock::Clock;
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
    telemetry::diagnostics(loaded.config.log.level);
    let upstreams: Vec<String> =
        loaded.config.upstreams.iter().map(|upstream| upstream.name.to_string()).collect();
    match app::start(loaded.config, &Clock::system()) {
        Ok(running) => {
            for address in running.addresses() {
                output.complain(format!(
                    "portcullis listens on {address}, for {}",
                    upstreams.join(", ")
                ));
            }
            if running.has_no_users() {
                output.complain("no users yet: portcullis user add NAME --role admin");
            }
            end(output, running)
        }
        Err(error) => output.refuse(format!("{error}\nnot started.")),
    }
}

pub(super) fn demo(output: &Output, listen: SocketAddr) -> ExitCode {
    match demo::demo(listen) {
        Ok(demo) => {
            output.say(demo.welcome());
            end(output, demo.running)
        }
        Err(error) => output.refuse(error),
    }
}

fn end(output: &Output, running: Running) -> ExitCode {
    match running.until_signalled() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => output.refuse(format!("cannot watch for signals: {cause}")),
    }
}

/// Asks `/healthz` of the admin listener: exit code 0 if it answers 200.
pub(super) fn healthcheck(output: &Output, file: Option<&Path>) -> ExitCode {
    let loaded = match output.load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let Some(admin) = loaded.config.server.admin else {
        return output.could_not("server.admin is \"off\", so that there is nobody to ask");
    };
    match ask(reachable(admin)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(REFUSED),
        Err(cause) => output.refuse(format!("no answer from {admin}: {cause}")),
    }
}

fn ask(admin: SocketAddr) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
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
