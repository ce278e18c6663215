//! A listening socket and its path.

use crate::lock::{LockError, LockFile};
use crate::permissions::{Group, Permissions};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, chmod, chownat, fstat, lstat, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Maximum length of a socket's path in bytes: `sun_path` without its final zero.
pub const PATH_BYTES_MAX: usize = 107;

/// Name of the file in a socket's folder that is locked while a socket is made there. Without the lock,
/// another process could replace a socket that does not listen yet as a stale one.
pub const FOLDER_LOCK: &str = ".luge.lock";

/// Time limit for the folder's lock. Each holder needs less than a millisecond.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Error of making a socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another process listens at the path.
    #[error("{path} is in use by a running process: stop it, or choose another path", path = .0.display())]
    Alive(PathBuf),
    /// The file at the path is not a socket.
    #[error("{path} exists and is not a socket: remove it, or choose another path", path = .0.display())]
    NotASocket(PathBuf),
    /// A stale socket is at the path and cannot be removed.
    #[error(
        "{path} was left behind by another process and cannot be removed: {source}; remove it as its \
         owner, or choose another path", path = .path.display()
    )]
    Stale {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The folder cannot be locked.
    #[error(
        "{lock}, which is locked while a socket is made, {problem}: remove it, or choose another path",
        lock = .lock.display()
    )]
    Lock {
        /// Path of the lock file.
        lock: PathBuf,
        /// Reason.
        problem: String,
    },
    /// The socket cannot be given to its group.
    #[error(
        "{path} cannot be given to group {group}: {source}; run Luge as root or as a member of that group, \
         or choose another group", path = .path.display()
    )]
    Group {
        /// Path of the socket.
        path: PathBuf,
        /// Wanted group.
        group: Group,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error(
        "cannot listen at {path}: {source}; is the directory there and writable, and the path at most 107 \
         bytes long? Choose another path", path = .path.display()
    )]
    System {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
}

/// A listening socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    file: FileIdentity,
}

/// Identity of a file, by which a file that has replaced our own is told from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Socket {
    /// Listens at `path`. A stale socket, at which no process listens, is replaced.
    ///
    /// # Errors
    /// [`SocketError`]; the new socket has been removed then.
    pub fn bind(path: &Path, permissions: &Permissions) -> Result<Self, SocketError> {
        let system = |errno: Errno| SocketError::System { path: path.into(), source: errno.into() };
        let _one_at_a_time = lock_folder(path)?;
        remove_stale(path)?;
        let address = SocketAddrUnix::new(path).map_err(system)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.map_err(system)?;
        bind(&socket, &address).map_err(system)?;
        let (node, file) = open_node(path).map_err(|errno| {
            // The folder is locked, so the file is ours. If it stays, the next bind replaces it.
            let _ = fs::remove_file(path);
            system(errno)
        })?;
        let socket = Self { listener: socket.into(), path: path.into(), file };
        // On an error, dropping the socket removes the file. No client can connect before it listens.
        socket.permit(&node, permissions)?;
        listen(&socket.listener, BACKLOG).map_err(system)?;
        Ok(socket)
    }

    /// Sets group and mode of the opened file, even if its path leads to another file by now.
    fn permit(&self, node: &OwnedFd, permissions: &Permissions) -> Result<(), SocketError> {
        let path = || self.path.clone();
        let kind = fstat(node).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if kind != Ok(FileType::Socket) {
            return Err(SocketError::NotASocket(path()));
        }
        if let Some(group) = permissions.group {
            let gid = Gid::from_raw(group.number());
            chownat(node, "", None, Some(gid), AtFlags::EMPTY_PATH).map_err(|errno| SocketError::Group {
                path: path(),
                group,
                source: errno.into(),
            })?;
        }
        // A descriptor with O_PATH has no fchmod.
        chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), Mode::from_raw_mode(permissions.mode.bits()))
            .map_err(|errno| SocketError::System { path: path(), source: errno.into() })
    }

    /// Listener, which accepts connections.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Path that it listens at.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if lstat(&self.path).is_ok_and(|stat| FileIdentity::of(&stat) == self.file) {
            // If the file stays, the next bind replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a socket's file, not the socket; returns its identity as well.
fn open_node(path: &Path) -> Result<(OwnedFd, FileIdentity), Errno> {
    let node = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let file = FileIdentity::of(&fstat(&node)?);
    Ok((node, file))
}

/// Locks the folder of `path` against making sockets; waits up to [`LOCK_TIMEOUT`].
fn lock_folder(path: &Path) -> Result<LockFile, SocketError> {
    let lock = path.with_file_name(FOLDER_LOCK);
    let start = Instant::now();
    loop {
        let problem = match LockFile::take(&lock) {
            Ok(locked) => return Ok(locked),
            Err(LockError::System(errno)) => {
                return Err(SocketError::System { path: path.into(), source: errno.into() });
            }
            Err(LockError::Held) if start.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(LockError::Held) => "is held by a process that does not let go of it".into(),
            Err(LockError::Unfit(problem)) => problem,
        };
        return Err(SocketError::Lock { lock, problem });
    }
}

/// Removes the socket at `path` if no process listens at it.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let system = |source| SocketError::System { path: path.to_owned(), source };
    match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(system(errno.into())),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match is_alive(path) {
        Ok(true) => Err(SocketError::Alive(path.to_owned())),
        Ok(false) => {
            fs::remove_file(path).map_err(|source| SocketError::Stale { path: path.to_owned(), source })
        }
        Err(error) => Err(system(error)),
    }
}

/// Whether a process listens at a socket. Does not wait for a listener whose backlog is full.
fn is_alive(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::sync::Barrier;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        (folder, path)
    }

    fn bind(path: &Path) -> Result<Socket, SocketError> {
        Socket::bind(path, &Permissions::GROUP)
    }

    #[test]
    fn a_live_socket_and_any_other_file_are_refused_by_name() {
        let (folder, path) = folder();
        let socket = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(&error, SocketError::Alive(at) if *at == path), "{error}");
        drop(socket);
        fs::write(&path, "").unwrap();
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(at)) if at == path));
        assert!(path.exists(), "what is not ours stays");
        let nowhere = folder.path().join("none/disk");
        assert!(matches!(bind(&nowhere), Err(SocketError::System { .. })));
    }

    #[test]
    fn a_symbolic_link_is_neither_followed_nor_removed() {
        let (folder, path) = folder();
        let target = folder.path().join("target");
        symlink(&target, &path).unwrap();
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(at)) if at == path));
        assert!(!target.exists());
        drop(UnixListener::bind(&target).unwrap());
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(at)) if at == path));
        assert!(target.exists() && path.is_symlink());
    }

    #[test]
    fn a_listener_that_never_accepts_is_not_waited_for() {
        let (_folder, path) = folder();
        let address = SocketAddrUnix::new(&path).unwrap();
        let deaf = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None).unwrap();
        super::bind(&deaf, &address).unwrap();
        listen(&deaf, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert!(matches!(bind(&path), Err(SocketError::Alive(_))));
    }

    #[test]
    fn a_socket_of_another_type_is_in_use() {
        let (_folder, path) = folder();
        let _other = UnixDatagram::bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(SocketError::Alive(_))));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_ours_is_removed() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        let socket = bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn one_of_many_that_bind_a_path_at_once_gets_it_and_keeps_it() {
        let (_folder, path) = folder();
        for round in 0..300 {
            drop(UnixListener::bind(&path).unwrap());
            let at_once = Barrier::new(4);
            let bind = || {
                at_once.wait();
                bind(&path)
            };
            let sockets: Vec<_> = thread::scope(|scope| {
                let binders: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                binders.into_iter().map(|binder| binder.join().unwrap()).collect()
            });
            assert_eq!(sockets.iter().filter(|socket| socket.is_ok()).count(), 1, "round {round}");
            let winner = sockets.into_iter().find_map(Result::ok).unwrap();
            let _client = UnixStream::connect(&path).unwrap();
            assert!(winner.listener().accept().is_ok(), "round {round}");
        }
    }

    #[test]
    fn the_socket_of_another_that_replaced_ours_stays() {
        let (_folder, path) = folder();
        let socket = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_has_the_mode_it_was_asked_for() {
        for mode in ["0600", "0660", "0666", "0000"] {
            let (_folder, path) = folder();
            let permissions = Permissions::GROUP.or(Some(mode.parse().unwrap()), None);
            let _socket = Socket::bind(&path, &permissions).unwrap();
            let shown = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(format!("{:04o}", shown & 0o7777), mode);
        }
    }

    #[test]
    fn a_socket_has_the_group_it_was_asked_for() {
        let (_folder, path) = folder();
        let permissions = Permissions::GROUP.or(None, Some("54321".parse().unwrap()));
        let _socket = Socket::bind(&path, &permissions).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().gid(), 54321);
    }
}
