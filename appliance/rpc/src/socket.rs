//! The path of the RPC socket: claimed for this process, and given back.
//!
//! Invariant: two processes never listen at one path. A lock file beside it decides.

use luge_socket::{LockError, LockFile, Permissions, Socket, SocketError};
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why there is no RPC socket.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process has the path.
    #[error(
        "the RPC socket {path} is in use by another process, which has locked {lock}: stop that one, or \
         choose another path (-r)"
    )]
    Alive {
        /// The path.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// Something else is where the lock file must be.
    #[error("{lock}, the lock file of the RPC socket, {problem}: remove it, or choose another path (-r)")]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// Reason.
        problem: String,
    },
    /// No lock file can be made.
    #[error(
        "cannot lock {lock}, the lock file of the RPC socket: {source}; is its folder there and writable? \
         Choose another path (-r)"
    )]
    System {
        /// The lock file.
        lock: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("{0} (-r)")]
    Socket(#[from] SocketError),
    /// The socket cannot be served.
    #[error("the RPC socket cannot be served: {0}")]
    Serve(io::Error),
}

/// A path that this process listens at. Dropping it removes the socket, then its lock.
pub(crate) struct Claim {
    _socket: Socket,
    _lock: LockFile,
}

impl Claim {
    /// Claims the path and listens there. A socket that nobody listens at is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn listen(
        path: &Path,
        permissions: &Permissions,
    ) -> Result<(Self, UnixListener), ListenError> {
        let lock_path = lock_path(path);
        let lock = LockFile::take(&lock_path).map_err(|error| match error {
            LockError::Held => ListenError::Alive { path: path.into(), lock: lock_path },
            LockError::Unfit(problem) => ListenError::Lock { lock: lock_path, problem },
            LockError::System(errno) => ListenError::System { lock: lock_path, source: errno.into() },
        })?;
        let socket = Socket::bind(path, permissions)?;
        let listener = socket.listener().try_clone().map_err(ListenError::Serve)?;
        Ok((Self { _socket: socket, _lock: lock }, listener))
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

    fn listen(path: &Path) -> Result<(Claim, UnixListener), ListenError> {
        Claim::listen(path, &Permissions::OWNER)
    }

    #[test]
    fn a_path_is_private_while_it_is_claimed_and_free_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        let (claim, _listener) = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(claim);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_somebody_listens_at_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
        let (_claim, _listener) = listen(&ours).unwrap();
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
    fn a_path_that_could_not_be_had_keeps_no_lock() {
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
    fn a_lock_file_that_is_none_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        std::os::unix::fs::symlink("/nowhere", lock_path(&path)).unwrap();
        let error = listen(&path).err().unwrap().to_string();
        assert!(error.contains(lock_path(&path).to_str().unwrap()), "{error}");
        assert!(error.contains("is a symbolic link: remove it, or choose another path (-r)"), "{error}");
    }

    #[test]
    fn a_path_that_cannot_be_is_an_error_that_names_it() {
        for path in ["/nowhere/at/all.sock".into(), format!("/tmp/{}", "x".repeat(200))] {
            let error = listen(Path::new(&path)).err().unwrap();
            assert!(error.to_string().contains(&path), "{error}");
        }
    }
}
