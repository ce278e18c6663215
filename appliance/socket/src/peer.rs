//! Process at the other end of a connection, as the kernel knows it from the time of `connect`.
//!
//! Not here: trust. Who may connect is decided by the socket's mode and group.

#![expect(unsafe_code, reason = "rustix has no peer without a process id, as one in another container is")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// User and process at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// User ID.
    pub user: u32,
    /// Process ID; 0 for a process outside of this process's PID namespace.
    pub process: i32,
}

impl Peer {
    /// Peer of a connection.
    ///
    /// # Errors
    /// Errors of `getsockopt`.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut bytes = LEN;
        // SAFETY: the kernel writes at most `bytes` bytes, which is the size of the struct; all of its fields
        // are integers.
        let outcome = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut credentials).cast(),
                &raw mut bytes,
            )
        };
        match outcome {
            0 => Ok(Self { user: credentials.uid, process: credentials.pid }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Size of the credentials.
#[expect(clippy::cast_possible_truncation, reason = "it is 12")]
const LEN: libc::socklen_t = size_of::<libc::ucred>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(u32::try_from(peer.process).unwrap(), std::process::id());
        assert_eq!(peer.user, rustix::process::geteuid().as_raw());
    }
}
