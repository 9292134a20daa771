//! Administration from the command line: one way in, whether a gateway runs or not.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use thiserror::Error;

use super::control::{self, Answer, Command};
use super::{DataDir, DataDirError, StartError, build, data_dir, issuer};
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
    /// Whoever holds the data folder listens to nobody.
    #[error(
        "another command, or a gateway that starts or stops, uses the data folder {0}; try again"
    )]
    Busy(String),
    /// An in-memory store is inside of its gateway.
    #[error("the store is in memory: there is nothing to administer from outside")]
    Memory,
    /// Whoever may write the parent of the data folder could lead root to any other's.
    #[error(
        "the data folder {0} is a link that is neither root's nor of the owner of what it leads to; \
         name that folder itself in server.data_dir, or give the link to root (chown -h)"
    )]
    Link(String),
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
/// One that is just starting or stopping holds the lock without listening, and so does another
/// command: they get a second.
pub fn ask(data_dir: &Path, command: &Command) -> Result<Option<Answer>, AdministrationError> {
    Patience::default().ask(data_dir, command)
}

/// Works on the store, while no gateway does: one that came meanwhile is asked. Root must have become
/// the owner of the data folder.
pub fn administer(config: Config, command: Command) -> Result<Answer, AdministrationError> {
    let data_dir = config.server.data_dir.clone();
    if config.store == StoreUrl::Memory {
        return Err(AdministrationError::Memory);
    }
    if matches!(command, Command::Reload) {
        return Err(AdministrationError::not_running(&data_dir));
    }
    let mut patience = Patience::default();
    let held = loop {
        match DataDir::open(&data_dir) {
            Ok(held) => break held,
            Err(DataDirError::Held { .. }) => patience.wait(&data_dir)?,
            Err(error) => return Err(StartError::from(error).into()),
        }
        if let Some(answer) = patience.ask(&data_dir, &command)? {
            return Ok(answer);
        }
    };
    let answer = on_the_store(config, command);
    drop(held);
    answer
}

/// How often it is still tried to reach whoever holds the folder: for about a second in all.
pub(super) struct Patience(u32);

impl Default for Patience {
    fn default() -> Self {
        Self(20)
    }
}

impl Patience {
    fn ask(
        &mut self,
        data_dir: &Path,
        command: &Command,
    ) -> Result<Option<Answer>, AdministrationError> {
        let socket = data_dir::control_socket(data_dir);
        while DataDir::is_held(data_dir).map_err(StartError::from)? {
            match control::ask(&socket, command) {
                Ok(answer) => return Ok(Some(answer)),
                Err(cause) if is_early(&cause) => self.wait(data_dir)?,
                Err(cause) => {
                    let socket = socket.display().to_string();
                    return Err(AdministrationError::Silent { socket, cause });
                }
            }
        }
        Ok(None)
    }

    #[expect(clippy::disallowed_methods, reason = "there is nothing else to do yet")]
    pub(super) fn wait(&mut self, data_dir: &Path) -> Result<(), AdministrationError> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or_else(|| AdministrationError::Busy(data_dir.display().to_string()))?;
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    }
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
    let runtime = runtime.map_err(StartError::from)?;
    let answer = runtime.block_on(auth.to_the_last(control::run(&auth, command)));
    telemetry.flush();
    Ok(answer)
}

fn is_early(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// As root: becomes the owner of the folder for good, so that no link in it leads to what is not the
/// owner's, and no file is left which the service cannot write. Threads that begin later are the
/// owner's too; there must be no other yet.
pub fn become_owner(data_dir: &Path) -> Result<(), AdministrationError> {
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    let Ok(folder) = data_dir.metadata() else {
        return Ok(());
    };
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // Without a final slash, which would follow the link. Asked second: what replaces the folder
    // meanwhile is of another owner.
    let itself = data_dir.components().as_path().symlink_metadata();
    let itself = itself.map_err(AdministrationError::Owner)?;
    let of_root = itself.is_symlink() && itself.uid() == 0;
    if itself.uid() != folder.uid() && !of_root {
        return Err(AdministrationError::Link(data_dir.display().to_string()));
    }
    if folder.uid() == 0 {
        return Ok(());
    }
    set_thread_groups(&[])
        .and_then(|()| set_thread_gid(Gid::from_raw(folder.gid())))
        .and_then(|()| set_thread_uid(Uid::from_raw(folder.uid())))
        .map_err(|cause| AdministrationError::Owner(cause.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::config::{self, Environment};

    #[test]
    fn a_gateway_that_took_the_folder_meanwhile_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[server]\ndata_dir = \"{}\"", folder.path().display());
        let none = Environment::fixed([]);
        let config = config::read(&text, Path::new("gateway.toml"), &none).unwrap().config;
        let held = DataDir::open(folder.path()).unwrap();
        let listener = held.listen().unwrap();
        listener.set_nonblocking(false).unwrap();
        let gateway = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
            stream.read_exact(&mut vec![0; length]).unwrap();
            let answer = br#"{"version":1,"body":{"done":"by the gateway"}}"#;
            stream.write_all(&[&[0, 0, 0, 46][..], answer].concat()).unwrap();
        });
        let answer = administer(config, Command::UserList);
        assert!(matches!(&answer, Ok(Answer::Done(by)) if by == "by the gateway"), "{answer:?}");
        gateway.join().unwrap();
    }
}
