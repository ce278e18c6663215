//! The vhost-user connection and its block sessions.
//!
//! Path: guest ring -> virtqueue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! - [`BlkEndpoint`]: a disk on a socket, for one front end at a time.
//! - [`BlkSession`]: one queue of it, on one core.
//!
//! Invariants
//! - A front end is heard by a thread of its own; a core never waits for it.
//! - Guest memory is unmapped only after all that was taken from its rings has been answered.
//! - A front end that breaks the protocol loses its connection, and nobody else notices.
//!
//! Not here: SCSI, which will be a sibling of `blk`; packed rings and live migration, whose messages
//! are refused and whose features are not offered; what is written for crash recovery (`virtqueue`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod accept;
mod blk;
mod connection;
mod counters;
mod endpoint;
mod log;
mod status;

pub use blk::{Access, BlkDisk, BlkSession, Ring, Wires};
pub use counters::QueueCounters;
pub use endpoint::{BlkEndpoint, EndpointConfig, EndpointError, QUEUES_MAX};
pub use luge_socket::SocketError;
pub use status::{Departure, EndpointStatus, FrontEndCounts, FrontEndStatus, QueueStatus};
