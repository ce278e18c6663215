//! The socket that front ends connect to: made, owned, removed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// For the owner and the group: a VM runner need not be root.
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("{path} is in use by a running process: stop it, or choose another path", path = .0.display())]
    Alive(PathBuf),
    /// Something else is there.
    #[error("{path} exists and is not a socket: remove it, or choose another path", path = .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot listen at {path}: {source}; is the directory there and writable, and the path at most 107 bytes long?", path = .path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A listening socket. Its path goes when it is dropped.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that only our own file is removed.
    file: (u64, u64),
}

impl Socket {
    /// Listens at `path`. A socket that nobody listens at any more is replaced.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |source| SocketError::System { path: path.to_owned(), source };
        make_way(path)?;
        let listener = UnixListener::bind(path).map_err(system)?;
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(system)?;
        let metadata = fs::symlink_metadata(path).map_err(system)?;
        Ok(Self { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let here = fs::symlink_metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino()));
        if here.is_ok_and(|file| file == self.file) {
            // What is left behind if this fails is replaced by the next that listens here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens at.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let system = |source| SocketError::System { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(system)
        }
        Err(error) => Err(system(error)),
        Ok(_) => Err(SocketError::Alive(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_socket_and_any_other_file_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let socket = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).err().unwrap();
        assert!(matches!(&error, SocketError::Alive(at) if *at == path), "{error}");
        drop(socket);
        fs::write(&path, "").unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::NotASocket(at)) if at == path));
        assert!(path.exists(), "what is not ours stays");
        let nowhere = folder.path().join("none/disk");
        assert!(matches!(Socket::bind(&nowhere), Err(SocketError::System { .. })));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_ours_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_somebody_else_took_over_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let socket = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
