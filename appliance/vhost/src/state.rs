//! The state of a connection as plain data and files, by which another process serves it on while its front
//! end notices nothing.
//!
//! ```text
//!   Endpoint::hand_over --rings drained, thread ended--> HandedOver --Endpoint::resume--> rings started, served on
//! ```
//!
//! In the state: what the front end has said, what was negotiated, and where each ring stands. In the files:
//! the socket, with the messages that were not read yet, guest memory, the in-flight region, and eventfds.
//!
//! Not here
//! - Requests in flight: all are answered before, and those that wait stay in their rings.
//! - Statistics, counters of front ends and of faults, and the choice of cores: they start anew.
//! - The channel for requests to the front end: its front end sees it closed, and is told of no new size until it
//!   connects again.
//! - Connections that wait: they are closed, and their front ends connect again.
//! - The device, and what it keeps for its guest (events that wait for a buffer): the next process opens the
//!   same volume itself, with the same features and queues.

use luge_virtqueue::RingState;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use thiserror::Error;

/// A connection between two endpoints: no core and no thread serves it.
pub struct HandedOver {
    /// Socket of the front end, at the boundary of a message.
    pub socket: UnixStream,
    /// State of the connection.
    pub state: ConnectionState,
    /// Other files of the connection, as far as the state says that they exist: one of each region; the
    /// in-flight region's; kick, call and error eventfd of each queue.
    pub files: Vec<OwnedFd>,
}

/// State of a connection without requests in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionState {
    /// Messages about features.
    pub negotiated: Negotiated,
    /// Features of the device in use, as a virtio feature word. A reset clears them.
    pub features: u64,
    /// Regions of guest memory.
    pub regions: Vec<RegionState>,
    /// The in-flight region, if the front end has set one.
    pub inflight: Option<InflightState>,
    /// Queues of the device, in their order.
    pub queues: Vec<QueueState>,
}

/// Messages about features that a front end has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negotiated {
    /// Whether the front end has asked for the features of the device.
    pub has_asked: bool,
    /// Features of the last `SET_FEATURES`, as a virtio feature word.
    pub features: u64,
    /// Features of the last `SET_PROTOCOL_FEATURES`, as a bit mask of vhost-user.
    pub protocol_features: u64,
}

/// A region of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionState {
    /// Guest physical address of the first byte.
    pub guest: u64,
    /// Address of the first byte in the front end's process.
    pub driver: u64,
    /// Length in bytes.
    pub len: u64,
    /// Offset in the file, in bytes.
    pub file_offset: u64,
}

/// An in-flight region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InflightState {
    /// Length in bytes.
    pub size: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Number of queues that have a part in it.
    pub queues: u16,
    /// Ring entries of each part.
    pub entries: u16,
}

/// A queue, as its front end has set it up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Number of ring entries, if set.
    pub size: Option<u16>,
    /// Areas of the ring, if set.
    pub areas: Option<AreasState>,
    /// Available index at which the ring starts next time.
    pub base: u16,
    /// Whether a kick was set, or that there is none, since the ring was last stopped by its front end.
    pub is_started: bool,
    /// Whether the front end has enabled the queue.
    pub is_enabled: bool,
    /// Eventfds among the files.
    pub eventfds: EventfdsState,
    /// State of the ring if it ran, so that it runs on.
    pub ring: Option<RunningState>,
}

/// Areas of a ring, as addresses in the front end's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreasState {
    /// Address of the descriptor table.
    pub descriptors: u64,
    /// Address of the available ring.
    pub available: u64,
    /// Address of the used ring.
    pub used: u64,
}

/// Eventfds that a queue has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventfdsState {
    /// Whether there is a kick.
    pub kick: bool,
    /// Whether there is a call.
    pub call: bool,
    /// Whether there is an error eventfd.
    pub error: bool,
}

/// A ring that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningState {
    /// State of the ring.
    pub ring: RingState,
    /// Whether the driver has broken the ring, so that no more is taken from it.
    pub is_broken: bool,
}

/// Reason why a connection cannot be handed over or resumed.
#[derive(Debug, Error)]
pub(crate) enum StateError {
    /// A queue has stopped and has not given all chains back.
    #[error("a connection cannot be handed over: queue {0} has kept a request")]
    Unsettled(u16),
    /// The device has fewer queues than the one before.
    #[error("a connection of {state} queues cannot be resumed: the device has {device}")]
    Queues {
        /// Queues in the state.
        state: usize,
        /// Queues of the device.
        device: u16,
    },
    /// The device lacks features that the driver uses.
    #[error("a connection with features {0:#x} cannot be resumed: the device has not all of them")]
    Features(u64),
    /// There are not as many files as the state says.
    #[error("a connection cannot be resumed: it has more or fewer files than its state says")]
    Files,
}
