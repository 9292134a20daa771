//! Listening on Unix sockets: files through which a proxy of this machine comes.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::listen::{BACKLOG, ListenError};

/// One Unix socket, listened on by every worker. Its file goes when this is dropped.
#[derive(Debug)]
pub struct UnixDoor {
    /// One per worker, all of the one socket.
    pub sockets: Vec<UnixListener>,
    file: SocketFile,
}

/// The file of a socket of ours, removed when dropped unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl UnixDoor {
    /// Its sockets for the workers, and its file for whoever outlives them.
    pub fn into_parts(self) -> (Vec<UnixListener>, SocketFile) {
        (self.sockets, self.file)
    }
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a path, for its owner and group. A file that a dead gateway has left is replaced; one
/// at which somebody listens, or that is no socket, is not touched.
pub fn listen_unix(path: &Path, workers: usize) -> Result<UnixDoor, ListenError> {
    let failed = |cause| ListenError::Unix { path: path.to_owned(), cause };
    if is_in_use(path).map_err(failed)? {
        return Err(ListenError::UnixInUse(path.to_owned()));
    }
    bound(path, workers).map_err(failed)
}

/// Whether somebody answers there. A socket that nobody listens at any more is removed.
fn is_in_use(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(cause),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other("there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path)?;
            Ok(false)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        // A full backlog is a sign of life too.
        Ok(_) | Err(_) => Ok(true),
    }
}

fn bound(path: &Path, workers: usize) -> io::Result<UnixDoor> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
    // Before it listens: until then nobody can connect, whatever the mask has made of the mode.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    let first = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let sockets = (0..workers.max(1)).map(|_| first.try_clone()).collect::<io::Result<_>>()?;
    Ok(UnixDoor { sockets, file })
}

/// Whoever may write may connect.
const MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_for_owner_and_group_and_goes_with_its_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        let door = listen_unix(&path, 3).unwrap();
        assert_eq!(door.sockets.len(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let error = listen_unix(&path, 1).unwrap_err();
        assert!(matches!(error, ListenError::UnixInUse(_)), "{error:?}");
        assert!(UnixStream::connect(&path).is_ok(), "the first is still there");
        drop(door);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let door = listen_unix(&path, 1).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(door);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let error = listen_unix(&path, 1).unwrap_err();
        assert!(matches!(error, ListenError::Unix { .. }), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
