//! Listening unix sockets: made with their permissions, owned, removed.
//!
//! Path: none of a guest's. The RPC socket, vhost-user sockets and those of VMs are made here.
//!
//! - [`Socket`]: a listener and its path.
//! - [`Permissions`]: its mode and its group.
//! - [`LockFile`]: a file that one process has locked.
//!
//! Invariants
//! - Nobody can connect before the socket has its mode and its group.
//! - No symbolic link is followed, and no file but our own is changed or removed.
//! - A socket that somebody listens at stays theirs, however many want its path at once.
//!
//! Not here: which of two processes may have the RPC socket (`rpc`, by a lock file).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod lock;
mod permissions;
mod socket;

pub use lock::{LockError, LockFile};
pub use permissions::{Group, GroupError, Mode, ModeError, Permissions};
pub use socket::{FOLDER_LOCK, PATH_BYTES_MAX, Socket, SocketError};
