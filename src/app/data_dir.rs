//! The data folder: made private, and held by one gateway at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

use super::control;

/// A data folder, locked for as long as this lives. Its control socket ends with it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// It cannot be made or written.
    #[error("cannot use the data folder {path}: {cause}; {}", remedy(.cause))]
    Unusable {
        /// The folder.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// Another process holds it.
    #[error(
        "another portcullis uses the data folder {path}; stop it, or set another server.data_dir"
    )]
    Held {
        /// The folder.
        path: String,
    },
    /// Its control socket would have too long a path.
    #[error(
        "the path of the control socket {path} is longer than the 107 bytes a socket may have; choose a shorter server.data_dir"
    )]
    PathTooLong {
        /// The socket.
        path: String,
    },
}

impl DataDir {
    /// Makes the folder if it is missing (mode 0700), and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        check_length(path)?;
        let unusable = unusable(path);
        make(path).map_err(&unusable)?;
        let lock = lock().create(true).truncate(false).mode(0o600).open(path.join(LOCK));
        let lock = lock.map_err(&unusable)?;
        match lock.try_lock() {
            Ok(()) => {
                // Told once, however often it was held.
                warn_of_others(path);
                Ok(Self { path: path.to_owned(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => {
                Err(DataDirError::Held { path: path.display().to_string() })
            }
            Err(TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }

    /// Whether another process holds it. Nothing is made.
    pub(super) fn is_held(path: &Path) -> Result<bool, DataDirError> {
        check_length(path)?;
        let lock = match lock().open(path.join(LOCK)) {
            Ok(lock) => lock,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(unusable(path)(cause)),
        };
        // Shared, so that those who ask at once do not take each other for a gateway.
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(cause)) => Err(unusable(path)(cause)),
        }
    }

    /// Listens for the command line.
    pub(super) fn listen(&self) -> Result<UnixListener, DataDirError> {
        control::listen(&control_socket(&self.path)).map_err(unusable(&self.path))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Whoever holds the lock may remove it, also what a killed gateway left.
        let _ = fs::remove_file(control_socket(&self.path));
    }
}

/// The control socket of a data folder.
pub(super) fn control_socket(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

fn check_length(data_dir: &Path) -> Result<(), DataDirError> {
    let socket = control_socket(data_dir);
    if socket.as_os_str().len() > LONGEST_SOCKET {
        return Err(DataDirError::PathTooLong { path: socket.display().to_string() });
    }
    Ok(())
}

/// Opens the lock itself, and not what a link in its place leads to. Over NFS each kind of lock
/// asks for its kind of access (flock(2)).
fn lock() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> DataDirError {
    move |cause| DataDirError::Unusable { path: path.display().to_string(), cause }
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().mode(0o700).create(path)?;
    // Keys and hashes lie here: an operator's `git add .` must not pick them up.
    let kept_out = path.join(".gitignore");
    fs::write(&kept_out, "*\n").inspect_err(|_| {
        // Or the next start would take the folder for a finished one. What fails here stays unused.
        let _ = fs::remove_file(&kept_out).and_then(|()| fs::remove_dir(path));
    })
}

/// What lies here is for its owner alone, but a folder that was there before is its operator's: a
/// volume may be shared with a group on purpose. So it is told, and left as it is.
fn warn_of_others(path: &Path) {
    let mode = fs::metadata(path).map_or(0o700, |data| data.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(
            "others than its owner may use the data folder {} (mode {:04o}); chmod 0700 it",
            path.display(),
            mode & 0o7777
        );
    }
}

fn remedy(cause: &io::Error) -> &'static str {
    if matches!(
        cause.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    ) {
        "free some space there, or set another server.data_dir that has room"
    } else {
        "run this as the owner of the folder, a command of administration also as root; where no gateway uses it, \
         give it to the user that runs portcullis (chown) with mode 0700 (chmod), or set another server.data_dir"
    }
}

const LOCK: &str = "lock";

const SOCKET: &str = "control.sock";

/// `sun_path` less its final NUL.
const LONGEST_SOCKET: usize = 107;
