//! Keys in one file, to be kept elsewhere: a tar archive (POSIX ustar), so that any system has the
//! tool that brings them back.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::KeyError;
use super::files;

/// Writes key files into a new archive of mode 0600, which never replaces a file; gives how many.
/// Files within `home` get names relative to it, others their whole path.
pub fn archive(to: &Path, home: &Path, sources: &[PathBuf]) -> Result<usize, KeyError> {
    // Room for all at once: what a vector leaves behind when it grows is not wiped.
    let room = sources.len().saturating_add(1).saturating_mul(ROOM);
    let mut archive = Zeroizing::new(Vec::with_capacity(room));
    for source in sources {
        let content = files::read(source)?;
        let name = source.strip_prefix(home).unwrap_or(source).display().to_string();
        let name = name.trim_start_matches('/');
        let head = head(name, content.len());
        archive.extend(head.ok_or_else(|| KeyError::LongName { path: source.clone() })?);
        archive.extend_from_slice(&content);
        pad(&mut archive);
    }
    archive.extend([0; 2 * BLOCK]);
    files::create_anywhere(to, &archive)?;
    Ok(sources.len())
}

/// Every signing key of a folder, whatever its algorithm.
pub fn signing_key_files(dir: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let failed = |cause| KeyError::Read { path: dir.to_owned(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "pk8") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The head of a regular file of mode 0600; None: the name is too long for it.
fn head(name: &str, length: usize) -> Option<[u8; BLOCK]> {
    let mut head = [0; BLOCK];
    let length = format!("{length:011o}");
    let fields: [(usize, &[u8]); 8] = [
        (0, name.as_bytes()),
        (100, b"0000600"),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, length.as_bytes()),
        (136, b"00000000000"),
        // The sum is taken with blanks in its own place.
        (148, b"        0"),
        (257, b"ustar\x0000"),
    ];
    if name.len() > LONGEST_NAME {
        return None;
    }
    for (at, field) in fields {
        put(&mut head, at, field)?;
    }
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut head, 148, format!("{sum:06o}\0").as_bytes())?;
    Some(head)
}

fn put(head: &mut [u8; BLOCK], at: usize, field: &[u8]) -> Option<()> {
    let place = head.get_mut(at..)?.get_mut(..field.len())?;
    place.copy_from_slice(field);
    Some(())
}

fn pad(archive: &mut Vec<u8>) {
    let whole = archive.len().next_multiple_of(BLOCK);
    archive.resize(whole, 0);
}

const BLOCK: usize = 512;
const LONGEST_NAME: usize = 100;
/// For one key file: a head, and more than the largest there is.
const ROOM: usize = 20 * BLOCK;
