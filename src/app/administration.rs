//! Administration from the command line: one way in, whether a gateway runs or not.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use thiserror::Error;

use super::control::{self, Answer, Command};
use super::{DataDir, StartError, build, data_dir, issuer};
use crate::clock::Clock;
use crate::config::{Config, LogOutput, StoreUrl};
use crate::telemetry::Telemetry;

/// Why a command could not be carried out.
#[derive(Debug, Error)]
pub enum AdministrationError {
    /// There is nobody to ask.
    #[error("no gateway runs on the data folder {0}: `portcullis run` starts one")]
    NotRunning(String),
    /// The store, the keys or the data folder.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A gateway runs and does not answer.
    #[error("a gateway runs on this data folder and does not answer on {socket}: {cause}")]
    Silent {
        /// The control socket.
        socket: String,
        /// Why not.
        cause: io::Error,
    },
    /// An in-memory store is inside of its gateway.
    #[error("the store is in memory: there is nothing to administer from outside")]
    Memory,
    /// Cannot become the owner of the data folder.
    #[error("cannot become the owner of the data folder: {0}")]
    Owner(#[source] io::Error),
}

impl AdministrationError {
    /// No gateway runs on this data folder.
    pub fn not_running(data_dir: &Path) -> Self {
        Self::NotRunning(data_dir.display().to_string())
    }
}

/// Asks the gateway that runs on this data folder; none: no gateway does. Nothing is made there.
///
/// One that is just starting or stopping holds the lock without listening: it gets a second.
pub fn ask(data_dir: &Path, command: &Command) -> Result<Option<Answer>, AdministrationError> {
    const TRIES: u32 = 20;
    let socket = data_dir::control_socket(data_dir);
    let mut tries = 0;
    while DataDir::is_held(data_dir).map_err(StartError::from)? {
        tries += 1;
        match control::ask(&socket, command) {
            Ok(answer) => return Ok(Some(answer)),
            Err(cause) if tries >= TRIES || !is_early(&cause) => {
                let socket = socket.display().to_string();
                return Err(AdministrationError::Silent { socket, cause });
            }
            Err(_) => pause(Duration::from_millis(50)),
        }
    }
    Ok(None)
}

/// Works on the store, while no gateway does. Root becomes the owner of the data folder for good.
pub fn administer(config: Config, command: Command) -> Result<Answer, AdministrationError> {
    let data_dir = config.server.data_dir.clone();
    if config.store == StoreUrl::Memory {
        return Err(AdministrationError::Memory);
    }
    if matches!(command, Command::Reload) {
        return Err(AdministrationError::not_running(&data_dir));
    }
    become_owner(&data_dir)?;
    let held = DataDir::open(&data_dir).map_err(StartError::from)?;
    let answer = on_the_store(config, command);
    drop(held);
    answer
}

fn on_the_store(mut config: Config, command: Command) -> Result<Answer, AdministrationError> {
    // Standard output is for the answer; what is audited is told beside it.
    if config.log.audit_output == LogOutput::Stdout {
        config.log.audit_output = LogOutput::Stderr;
    }
    config.log.access = false;
    let telemetry = Telemetry::open(&config.log, &Clock::system()).map_err(StartError::Log)?;
    let issuer = issuer(&config, &config.server.tcp_listeners());
    let auth = build(&config, &Clock::system(), (&telemetry, issuer))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(StartError::from)?.block_on(control::run(&auth, command));
    telemetry.flush();
    Ok(answer)
}

fn is_early(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

#[expect(clippy::disallowed_methods, reason = "the command line has nothing else to do meanwhile")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// As root: becomes the owner of the folder, so that no file is left which the service cannot
/// write. Threads that begin later are the owner's too; there must be no other yet.
fn become_owner(data_dir: &Path) -> Result<(), AdministrationError> {
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    let Ok(folder) = data_dir.metadata() else {
        return Ok(());
    };
    if folder.uid() == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    set_thread_groups(&[])
        .and_then(|()| set_thread_gid(Gid::from_raw(folder.gid())))
        .and_then(|()| set_thread_uid(Uid::from_raw(folder.uid())))
        .map_err(|cause| AdministrationError::Owner(cause.into()))
}
