//! Path of the RPC socket, locked for this process.
//!
//! Invariant: two processes never listen at one path. The lock file beside it prevents that.

use luge_socket::{LockError, LockFile, Permissions, Socket, SocketError};
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of making the RPC socket.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process has locked the path.
    #[error(
        "the RPC socket {path} is in use by another process, which has locked {lock}: stop that one, or \
         choose another path (-r)"
    )]
    Alive {
        /// Path of the socket.
        path: PathBuf,
        /// Path of the lock file.
        lock: PathBuf,
    },
    /// The file at the lock file's path cannot be used.
    #[error("{lock}, the lock file of the RPC socket, {problem}: remove it, or choose another path (-r)")]
    Lock {
        /// Path of the lock file.
        lock: PathBuf,
        /// Reason.
        problem: String,
    },
    /// The lock file cannot be made.
    #[error(
        "cannot lock {lock}, the lock file of the RPC socket: {source}; is its folder there and writable? \
         Choose another path (-r)"
    )]
    System {
        /// Path of the lock file.
        lock: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("{0} (-r)")]
    Socket(#[from] SocketError),
    /// No thread or descriptor is left for the socket.
    #[error("the RPC socket cannot be served: {0}; raise the limits of threads and open files")]
    Serve(io::Error),
}

/// Listening socket and its lock file. Dropping it removes the socket, then the lock file.
pub(crate) struct LockedSocket {
    socket: Socket,
    _lock: LockFile,
}

impl LockedSocket {
    /// Locks the path and listens there. A stale socket is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn listen(path: &Path, permissions: &Permissions) -> Result<Self, ListenError> {
        let lock_path = lock_path(path);
        let lock = LockFile::take(&lock_path).map_err(|error| match error {
            LockError::Held => ListenError::Alive { path: path.into(), lock: lock_path },
            LockError::Unfit(problem) => ListenError::Lock { lock: lock_path, problem },
            LockError::System(errno) => ListenError::System { lock: lock_path, source: errno.into() },
        })?;
        Ok(Self { socket: Socket::bind(path, permissions)?, _lock: lock })
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        self.socket.listener()
    }
}

/// Path of the lock file of an RPC socket.
#[must_use]
pub fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    fn listen(path: &Path) -> Result<LockedSocket, ListenError> {
        LockedSocket::listen(path, &Permissions::OWNER)
    }

    #[test]
    fn a_socket_is_its_owners_alone_and_nothing_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        let socket = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_somebody_listens_at_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
        let _socket = listen(&ours).unwrap();
        let _other = UnixListener::bind(&theirs).unwrap();
        let error = listen(&ours).err().unwrap();
        assert!(matches!(error, ListenError::Alive { .. }), "{error}");
        let error = listen(&theirs).err().unwrap();
        assert!(matches!(error, ListenError::Socket(SocketError::Alive(_))), "{error}");
        for path in [ours, theirs] {
            assert!(UnixStream::connect(&path).is_ok());
        }
    }

    #[test]
    fn a_path_that_is_refused_keeps_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "precious").unwrap();
        let error = listen(&path).err().unwrap();
        assert!(
            error.to_string().ends_with("not a socket: remove it, or choose another path (-r)"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert!(!lock_path(&path).exists());
    }

    #[test]
    fn a_lock_file_that_cannot_be_used_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        std::os::unix::fs::symlink("/nowhere", lock_path(&path)).unwrap();
        let error = listen(&path).err().unwrap().to_string();
        assert!(error.contains(lock_path(&path).to_str().unwrap()), "{error}");
        assert!(error.contains("is a symbolic link: remove it, or choose another path (-r)"), "{error}");
    }

    #[test]
    fn a_path_that_cannot_be_used_is_an_error_that_names_it() {
        for path in ["/nowhere/at/all.sock".into(), format!("/tmp/{}", "x".repeat(200))] {
            let error = listen(Path::new(&path)).err().unwrap();
            assert!(error.to_string().contains(&path), "{error}");
        }
    }
}
