//! Files that the configuration names: whole, of a bounded size, and never waited for.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Bytes of a text that people write: the configuration and what it includes.
pub(super) const LARGEST_TEXT: u64 = 16 << 20;
/// Bytes of a secret.
pub(super) const LARGEST_SECRET: u64 = 64 << 10;
/// Bytes of certificates and keys: all authorities of a machine need a quarter of a MiB.
pub(super) const LARGEST_PEM: u64 = 16 << 20;
/// Bytes of a list of passwords.
pub(super) const LARGEST_LIST: u64 = 256 << 20;

/// Reads a regular file of at most so many bytes. A pipe would keep a reload waiting for its
/// writer, and a device has no end.
pub(super) fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if data.len() > most {
        return Err(too_large(most));
    }
    limited(file, most, data.len())
}

/// The same for UTF-8.
pub(super) fn text(path: &Path, most: u64) -> io::Result<String> {
    utf8(bytes(path, most)?)
}

/// The main file, which the operator may hand over through a pipe.
pub(super) fn main_text(path: &Path) -> io::Result<String> {
    utf8(limited(File::open(path)?, LARGEST_TEXT, 0)?)
}

/// With room from the start: a secret that moves leaves copies behind.
fn limited(file: File, most: u64, expected: u64) -> io::Result<Vec<u8>> {
    let room = usize::try_from(expected).unwrap_or(0).saturating_add(1);
    let mut bytes = Vec::with_capacity(room);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        Ok(bytes)
    } else {
        Err(too_large(most))
    }
}

fn utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_invalid| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

fn too_large(most: u64) -> io::Error {
    let size = super::forms::size_text(most);
    io::Error::new(ErrorKind::FileTooLarge, format!("larger than {size}"))
}
