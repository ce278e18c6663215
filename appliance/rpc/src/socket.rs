//! The socket's path: claimed for this process, and given back.
//!
//! Invariants
//! - Two processes never listen at one path: a lock file beside it decides.
//! - Nobody but the user who started Luge can connect: the socket has mode 0600 before it listens.

use rustix::fs::{FlockOperation, Mode, OFlags, chmod, flock, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// Why there is no RPC socket.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody listens there.
    #[error("the RPC socket {path} is in use by another process: stop that one, or choose another path (-r)")]
    Alive {
        /// The path.
        path: PathBuf,
    },
    /// Something is there that is not a socket.
    #[error("{path} exists and is not a socket: remove it, or choose another path (-r)")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The kernel said no.
    #[error(
        "cannot listen on the RPC socket {path}: {source}; is its folder there and writable, and the path \
         at most 107 bytes long? Choose another path (-r)"
    )]
    System {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A path that this process listens at. Dropping it removes the socket and its lock.
pub(crate) struct Claim {
    path: PathBuf,
    lock_path: PathBuf,
    /// Holds the lock while it is open.
    _lock: OwnedFd,
}

impl Claim {
    /// Claims the path and listens there. A socket that nobody listens at is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn listen(path: &Path) -> Result<(Self, UnixListener), ListenError> {
        let system = |source: io::Error| ListenError::System { path: path.into(), source };
        let lock_path = lock_path(path);
        let lock = match lock(&lock_path) {
            Err(Errno::WOULDBLOCK) => return Err(ListenError::Alive { path: path.into() }),
            lock => lock.map_err(|errno| system(errno.into()))?,
        };
        let claim = Self { path: path.into(), lock_path, _lock: lock };
        match remove_stale(path).and_then(|()| bind_private(path).map_err(system)) {
            Ok(listener) => Ok((claim, listener)),
            Err(error) => {
                claim.give_back_lock();
                Err(error)
            }
        }
    }

    /// Forgets the path without removing what is there: it was never ours.
    fn give_back_lock(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = std::fs::remove_file(&self.lock_path);
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

fn lock(path: &Path) -> Result<OwnedFd, Errno> {
    let file = open(path, OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Removes a socket that nobody listens at.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let system = |source| ListenError::System { path: path.into(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(system)
        }
        Err(error) => Err(system(error)),
        Ok(_) => Err(ListenError::Alive { path: path.into() }),
    }
}

/// Nobody can connect before `listen`, so the mode is set in time.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let prepared = chmod(path, Mode::RUSR | Mode::WUSR).and_then(|()| listen(&socket, BACKLOG));
    if let Err(errno) = prepared {
        let _ = std::fs::remove_file(path);
        return Err(errno.into());
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_path_is_private_while_it_is_claimed_and_free_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        let (claim, _listener) = Claim::listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(claim);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_somebody_listens_at_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
        let (_claim, _listener) = Claim::listen(&ours).unwrap();
        let _other = UnixListener::bind(&theirs).unwrap();
        for path in [ours, theirs] {
            let error = Claim::listen(&path).err().unwrap();
            assert!(matches!(error, ListenError::Alive { .. }), "{error}");
            assert!(UnixStream::connect(&path).is_ok());
        }
    }

    #[test]
    fn a_socket_left_behind_is_replaced_but_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("old.sock"), folder.path().join("file"));
        drop(UnixListener::bind(&socket).unwrap());
        assert!(Claim::listen(&socket).is_ok());
        std::fs::write(&file, "precious").unwrap();
        assert!(matches!(Claim::listen(&file).err().unwrap(), ListenError::NotASocket { .. }));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_path_that_cannot_be_is_an_error_that_names_it() {
        for path in ["/nowhere/at/all.sock".into(), format!("/tmp/{}", "x".repeat(200))] {
            let error = Claim::listen(Path::new(&path)).err().unwrap();
            assert!(error.to_string().contains(&path), "{error}");
        }
    }
}
