//! The database file: made, guarded, opened, and its failures explained.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, OFlags, access};

use super::MEMORY;
use super::schema;
use crate::store::{OpenError, Unavailable};

/// Opens the file for the writer; makes it, readable by its owner alone, if there is none.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    refuse_network(path)?;
    make(path)?;
    let database = connect(path)?;
    // Nothing is changed before it is known to be a store, and one that this release can keep.
    schema::version(&database, path)?;
    let tuned = configure(&database).and_then(|()| make_durable(&database));
    let mode = tuned.map_err(|error| explain(path, &error))?;
    if mode != "wal" {
        let cause = format!("no write-ahead log is possible there (journal mode {mode})");
        return Err(OpenError::Other { path: path.to_owned(), cause });
    }
    Ok(database)
}

/// Which file lies under a path, so that another one is noticed there. Only looked at: opening and
/// closing it would drop the locks that SQLite holds on it in this process.
#[derive(Debug)]
pub(in crate::store) struct Whereabouts {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl Whereabouts {
    pub(super) fn of(path: &Path) -> Result<Self, OpenError> {
        let found = fs::metadata(path).map_err(|error| explain_io(path, &error))?;
        let device_and_inode = (found.dev(), found.ino());
        Ok(Self { path: path.to_owned(), device_and_inode })
    }

    /// Whether the file is where it was: what is written elsewhere is gone with the next start.
    pub(in crate::store) fn check(&self) -> Result<(), Unavailable> {
        let now = Self::of(&self.path).map(|now| now.device_and_inode);
        if now.is_ok_and(|now| now == self.device_and_inode) {
            return Ok(());
        }
        let path = self.path.display();
        Err(Unavailable(format!(
            "{path} was moved away, deleted or replaced while it was open: all that is written now is \
             lost with the next start, unless that very file is put back"
        )))
    }
}

/// Keeps everybody else from the database, whatever links lead there: what ends here would not be
/// known there. The lock lies beside it, for closing the database itself would drop the locks that
/// SQLite holds on it in this process.
pub(super) fn hold(path: &Path) -> Result<File, OpenError> {
    let itself = fs::canonicalize(path).map_err(|error| explain_io(path, &error))?;
    let mut name = itself.into_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let lock = options.open(&name).map_err(|error| explain_io(&name, &error))?;
    match lock_soon(&lock) {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Held { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(explain_io(&name, &error)),
    }
}

/// Tries for about a second: a command may hold it for a moment.
#[expect(clippy::disallowed_methods, reason = "there is nothing else to do yet")]
fn lock_soon(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            tried => return tried,
        }
    }
    lock.try_lock()
}

/// Opens an existing file, to look at it; None: there is none, and one may be made.
pub(super) fn look(path: &Path) -> Result<Option<Connection>, OpenError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            access(folder_of(path), Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|error| explain_io(path, &error.into()))?;
            Ok(None)
        }
        Err(error) => Err(explain_io(path, &error)),
        Ok(found) if !found.is_file() => Err(OpenError::NotADatabase { path: path.to_owned() }),
        Ok(_) => {
            refuse_network(path)?;
            connect(path).map(Some)
        }
    }
}

/// A further connection to an open store, which cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let database = connect(path)?;
    configure(&database)
        .and_then(|()| database.pragma_update(None, "query_only", true))
        .map_err(|error| explain(path, &error))?;
    Ok(database)
}

/// A store that ends with its connection.
pub(super) fn in_memory() -> Result<Connection, OpenError> {
    Connection::open_in_memory()
        .and_then(|database| configure(&database).map(|()| database))
        .map_err(|error| explain(Path::new(MEMORY), &error))
}

/// What an error of SQLite means for whoever starts the gateway.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::Denied { path, cause }
        }
        Some(ErrorCode::ReadOnly) => OpenError::ReadOnly { path, cause },
        Some(ErrorCode::DiskFull) => OpenError::Full { path, cause },
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, cause },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            OpenError::Locked { path, cause }
        }
        Some(ErrorCode::SystemIoFailure) => OpenError::Disk { path, cause },
        _ => OpenError::Other { path, cause },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many kinds of the standard library four have a remedy of their own"
)]
fn explain_io(path: &Path, error: &io::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::PermissionDenied => OpenError::Denied { path, cause },
        ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path, cause },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full { path, cause },
        ErrorKind::IsADirectory => OpenError::NotADatabase { path },
        _ => OpenError::Other { path, cause },
    }
}

/// Makes the file, or takes an existing one away from group and others. SQLite gives its -wal and
/// -shm files the mode of this one. An existing file is not opened here: closing it again would drop
/// the locks that SQLite holds on it in this process.
fn make(path: &Path) -> Result<(), OpenError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => tighten(path),
        Err(error) => Err(explain_io(path, &error)),
    }
}

fn tighten(path: &Path) -> Result<(), OpenError> {
    let found = fs::metadata(path).map_err(|error| explain_io(path, &error))?;
    if !found.is_file() {
        return Err(OpenError::NotADatabase { path: path.to_owned() });
    }
    if found.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|error| explain_io(path, &error))
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database =
        Connection::open_with_flags(path, flags).map_err(|error| explain(path, &error))?;
    let wait = database.busy_timeout(BUSY).and_then(|()| database.is_readonly("main"));
    // A file without write permission is opened all the same, for reading.
    if wait.map_err(|error| explain(path, &error))? {
        let cause = "no permission to write the file".to_owned();
        return Err(OpenError::ReadOnly { path: path.to_owned(), cause });
    }
    Ok(database)
}

fn configure(database: &Connection) -> rusqlite::Result<()> {
    database.set_prepared_statement_cache_capacity(STATEMENTS);
    database.pragma_update(None, "foreign_keys", true)?;
    database.pragma_update(None, "trusted_schema", false)?;
    database.pragma_update(None, "cell_size_check", true)
}

/// Gives the journal mode that was reached.
fn make_durable(database: &Connection) -> rusqlite::Result<String> {
    database.pragma_update(None, "synchronous", "FULL")?;
    database.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> Result<(), OpenError> {
    let found =
        rustix::fs::statfs(folder_of(path)).map_err(|error| explain_io(path, &error.into()))?;
    match network(found.f_type) {
        Some(kind) => Err(OpenError::Network { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// The network file system of a magic number of statfs(2).
#[cfg(target_os = "linux")]
fn network(magic: impl Into<i64>) -> Option<&'static str> {
    match magic.into() {
        0x6969 => Some("NFS"),
        0x517b | 0xfe53_4d42 => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        _ => None,
    }
}

/// How long a lock of another process (a backup, a shell) is waited for: less than a caller waits.
const BUSY: Duration = Duration::from_secs(2);

/// Prepared statements kept: more than there are.
const STATEMENTS: usize = 64;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic_number() {
        for (magic, kind) in [
            (0x6969_i64, Some("NFS")),
            (0xff53_4d42, Some("CIFS")),
            (0xfe53_4d42, Some("SMB")),
            (0x5346_414f, Some("AFS")),
            (0xef53, None),
            (0x0102_1994, None),
        ] {
            assert_eq!(network(magic), kind, "{magic:#x}");
        }
    }
}
