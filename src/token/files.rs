//! Key files: read only when nobody else could have read them, made whole or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::KeyError;
use crate::secret::random;

/// Reads a key file of at most [`LARGEST`] bytes, unless group or others have a right on it.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let failed = |cause| KeyError::Read { path: path.to_owned(), cause };
    // Asked before the file is opened, for opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    require_private(path, &file.metadata().map_err(failed)?)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(LARGEST)));
    file.take(LARGEST.into()).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Makes a key file of mode 0600 that is never seen half written and never replaces another.
pub(super) fn create(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let failed = |cause: io::Error| {
        let path = path.to_owned();
        if cause.kind() == io::ErrorKind::AlreadyExists {
            KeyError::Exists { path }
        } else {
            KeyError::Create { path, cause }
        }
    };
    let temporary = path.with_file_name(temporary_name(path));
    let made = write_synced(&temporary, content)
        // A link, not a rename: a rename would replace a key that is there.
        .and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    made.and(removed).map_err(failed)?;
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Writes a file of mode 0600 where there is none, wherever that may be: other than [`create`] it
/// asks nothing special of the file system.
pub(super) fn create_anywhere(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    write_synced(path, content).map_err(|cause| {
        let path = path.to_owned();
        if cause.kind() == io::ErrorKind::AlreadyExists {
            return KeyError::Exists { path };
        }
        // Half a file is none. Should it not be there at all, that is as well.
        drop(fs::remove_file(&path));
        KeyError::Create { path, cause }
    })
}

/// Removes a key file, so that it stays removed.
pub(super) fn remove(path: &Path) -> Result<(), KeyError> {
    fs::remove_file(path)
        .and_then(|()| File::open(folder_of(path))?.sync_all())
        .map_err(|cause| KeyError::Remove { path: path.to_owned(), cause })
}

/// Makes a folder of mode 0700, or refuses one on which group or others have a right.
pub(super) fn ensure_folder(path: &Path) -> Result<(), KeyError> {
    let failed = |cause| KeyError::Create { path: path.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    require_private(path, &fs::metadata(path).map_err(failed)?)
}

fn require_private(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
    Err(KeyError::Exposed { path: path.to_owned(), mode, wanted })
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Random, so that two makers never share one; hidden, so that no reader takes it for a key.
fn temporary_name(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", u64::from_be_bytes(random())));
    name
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Bytes of a key file at most: an RSA key of 8192 bits needs 4,700.
const LARGEST: u16 = 8192;
