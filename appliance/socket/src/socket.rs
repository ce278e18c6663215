//! A listening socket and its path: made, owned, removed.

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

/// The longest path of a socket, in bytes: what `sun_path` holds before its zero.
pub const PATH_BYTES_MAX: usize = 107;

/// Name of the file in a socket's folder that is locked while a socket is made there: another process
/// could otherwise take one that does not listen yet for one that was left behind.
pub const FOLDER_LOCK: &str = ".luge.lock";

/// Most time that others may have the lock; they need less than a millisecond each.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("{path} is in use by a running process: stop it, or choose another path", path = .0.display())]
    Alive(PathBuf),
    /// Something else is there.
    #[error("{path} exists and is not a socket: remove it, or choose another path", path = .0.display())]
    NotASocket(PathBuf),
    /// A socket that nobody listens at is there and stays.
    #[error(
        "{path} was left behind by another process and cannot be removed: {source}; remove it as its \
         owner, or choose another path", path = .path.display()
    )]
    Stale {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The lock of the folder cannot be had.
    #[error(
        "{lock}, which is locked while a socket is made, {problem}: remove it, or choose another path",
        lock = .lock.display()
    )]
    Lock {
        /// The lock file.
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
        /// The path.
        path: PathBuf,
        /// The group.
        group: Group,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused.
    #[error(
        "cannot listen at {path}: {source}; is the directory there and writable, and the path at most 107 \
         bytes long? Choose another path", path = .path.display()
    )]
    System {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A listening socket. Its path goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that only our own file is removed.
    file: (u64, u64),
}

impl Socket {
    /// Listens at `path`. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// [`SocketError`]; nothing of ours is left at the path then.
    pub fn bind(path: &Path, permissions: &Permissions) -> Result<Self, SocketError> {
        let system = |errno: Errno| SocketError::System { path: path.into(), source: errno.into() };
        let _one_at_a_time = lock_folder(path)?;
        make_way(path)?;
        let address = SocketAddrUnix::new(path).map_err(system)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.map_err(system)?;
        bind(&socket, &address).map_err(system)?;
        let (node, file) = open_node(path).map_err(|errno| {
            // Nobody else makes sockets here now. If this fails, the next that listens here replaces it.
            let _ = fs::remove_file(path);
            system(errno)
        })?;
        let socket = Self { listener: socket.into(), path: path.into(), file };
        // On an error, dropping it removes the file. Nobody can connect before it listens.
        socket.permit(&node, permissions)?;
        listen(&socket.listener, BACKLOG).map_err(system)?;
        Ok(socket)
    }

    /// Sets group and mode of the very file that was opened, whatever its path leads to by now.
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

    /// The listener.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if lstat(&self.path).is_ok_and(|stat| identity(&stat) == self.file) {
            // What is left behind if this fails is replaced by the next that listens here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a socket's file itself; returns its identity, too.
fn open_node(path: &Path) -> Result<(OwnedFd, (u64, u64)), Errno> {
    let node = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let file = identity(&fstat(&node)?);
    Ok((node, file))
}

/// Keeps others from making sockets in the folder of `path`. Waits for those that do.
fn lock_folder(path: &Path) -> Result<LockFile, SocketError> {
    let lock = path.with_file_name(FOLDER_LOCK);
    let start = Instant::now();
    loop {
        let problem = match LockFile::take(&lock) {
            Ok(locked) => return Ok(locked),
            Err(LockError::System(errno)) => {
                return Err(SocketError::System { path: path.into(), source: errno.into() });
            }
            Err(LockError::Held) if start.elapsed() < LOCK_LIMIT => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(LockError::Held) => "is held by a process that does not let go of it".into(),
            Err(LockError::Unfit(problem)) => problem,
        };
        return Err(SocketError::Lock { lock, problem });
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Removes a socket that nobody listens at.
fn make_way(path: &Path) -> Result<(), SocketError> {
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

/// Whether somebody listens at a socket. Does not wait for a listener whose backlog is full.
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
    fn of_many_that_want_a_path_at_once_one_gets_it_and_keeps_it() {
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
    fn a_path_that_somebody_else_took_over_stays() {
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
