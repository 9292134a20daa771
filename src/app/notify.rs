//! What a service manager is told (`sd_notify`): ready, reloading, stopping, alive.
//!
//! A datagram to the socket that `NOTIFY_SOCKET` names. Without one nothing is told, and a manager
//! that does not listen is no trouble of ours.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::clock;
use crate::config::Environment;

/// The way to the service manager. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Notifier {
    socket: Option<String>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// That of the process's environment.
    pub(super) fn of(environment: &Environment) -> Self {
        let number = |name| environment.variable(name)?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0);
        Self {
            socket: environment.variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// How often to say that all is well: half of what the manager waits for. None: never.
    pub(super) fn beat(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some()).map(|most| most / 2)
    }

    /// Requests are served, by the configuration of the moment.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is read again.
    pub(super) fn reloading(&self) {
        let micros = clock::since_boot().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// No more requests are taken.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Every worker turns.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        let Some(name) = &self.socket else { return };
        let told = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            match name.strip_prefix('@') {
                Some(name) => to_abstract(&socket, name, state),
                None => socket.send_to(state.as_bytes(), name),
            }
        });
        if let Err(cause) = told {
            tracing::debug!("cannot tell the service manager {state:?}: {cause}");
        }
    }
}

/// A manager that does not read must not stop us.
const PATIENCE: Duration = Duration::from_millis(100);

#[cfg(target_os = "linux")]
fn to_abstract(socket: &UnixDatagram, name: &str, state: &str) -> std::io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(state.as_bytes(), &address)
}

#[cfg(not(target_os = "linux"))]
fn to_abstract(_: &UnixDatagram, _: &str, _: &str) -> std::io::Result<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}
