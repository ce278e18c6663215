//! Unix sockets: creation, permissions, removal, peers.
//!
//! Path: not on the data path. The RPC socket, the vhost-user sockets and the sockets of VMs are made here.
//!
//! - [`Socket`]: a listener and its path.
//! - [`Permissions`]: mode and group of a socket.
//! - [`LockFile`]: a file that one process has locked.
//! - [`Peer`]: user and process at the other end of a connection.
//!
//! Invariants
//! - No client can connect before the socket has its mode and group.
//! - No symbolic link is followed, and no file of others is changed or removed.
//! - A socket that a process listens at is never replaced, even if several processes bind its path at
//!   the same time.
//!
//! Not here: the lock file of the RPC socket (`rpc`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod lock;
mod peer;
mod permissions;
mod socket;

pub use lock::{LockError, LockFile};
pub use peer::Peer;
pub use permissions::{Group, GroupError, Mode, ModeError, Permissions};
pub use socket::{FOLDER_LOCK, PATH_BYTES_MAX, Socket, SocketError};
