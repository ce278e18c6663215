//! Virtio devices on vhost-user sockets.
//!
//! Path: guest ring -> virtqueue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! - [`VirtioDevice`]: the contract between a device and its connection.
//! - [`Endpoint`]: a device on a socket, for one front end at a time.
//! - [`HandedOver`]: a connection as plain data and files, to be served on by another endpoint.
//! - [`BlkDevice`]: a disk; its [`BlkSession`] serves one queue on one core.
//! - [`ScsiHba`]: a SCSI host bus adapter, whose LUNs come and go.
//!
//! Invariants
//! - A front end is heard by a thread of its own; a core never waits for it.
//! - Guest memory is unmapped only after all that was taken from its rings has been answered.
//! - A front end that breaks the protocol loses its connection, and nobody else notices.
//!
//! Not here: packed rings and live migration, whose messages are refused and whose features are not offered; what SCSI
//! commands mean (`scsi`); what is written for crash recovery (`virtqueue`); the transport
//! of a connection to another process.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod blk;
mod coalescing;
mod config_notices;
mod connection;
mod counters;
mod device;
mod endpoint;
mod log;
mod pieces;
mod queue;
mod scsi;
mod served;
mod service;
mod state;
mod status;

pub use blk::{BlkConfig, BlkDevice, BlkDisk, BlkError, BlkSession, OpenVolume};
pub use coalescing::{Coalescing, CoalescingConfig, INTERRUPT_DELAY_MAX};
pub use config_notices::{ConfigKnowledge, ConfigNotices, Notice};
pub use counters::QueueCounters;
pub use device::{NewSession, QUEUES_MAX, QueueKind, QueueSession, SessionAddress, VirtioDevice};
pub use endpoint::{Endpoint, EndpointConfig};
pub use luge_block::Access;
pub use luge_endpoint::{BackoffLimits, BackoffStatus, Departure, EndpointError, PeerCounts};
pub use luge_memory::stall::Stalls;
pub use luge_socket::SocketError;
pub use queue::{DeviceQueue, Notifiers, QueueError, QueueSetup, RING_FEATURES};
pub use scsi::{
    Cancelled, CancelledAs, CommandReply, ControlReply, ControlSession, DATA_OUT_MAX, Drain, EVENTS_MAX,
    Ended, EventSession, HbaConfig, HbaError, LunAddress, LunEntry, LunError, LunPhase, LunPlace, LunStatus,
    LunTable, Notification, NotificationAction, PendingEvents, Relay, Relayed, RelayedCommand, RelayedId,
    RelayedRequest, RequestSession, Scope, ScsiHba, SessionNumber, TaskFunction, TaskManagement,
};
pub use state::{
    AreasState, ConnectionState, EventfdsState, HandedOver, InflightState, Negotiated, QueueState,
    RegionState, RunningState,
};
pub use status::{EndpointStatus, FrontEndStatus, QueueStatus};
