//! The memory in which this process notes its requests in flight, and which the front end keeps for the
//! next process (vhost-user specification, section "Inflight I/O tracking").
//!
//! ```text
//!   GET_INFLIGHT_FD --a new, sealed memory file--> the front end keeps it, across back-ends
//!   SET_INFLIGHT_FD --the file: this process's own, or an earlier one's--> mapped; rings that start track in it
//! ```
//!
//! Invariant: the front end can set sizes, offsets and the content of the file to anything. Sizes and offsets
//! are checked here, the content where a ring starts (`virtqueue`).

use super::memory::MappingTarget;
use crate::state::InflightState;
use luge_memory::{PeerMemory, PeerMemoryError};
use luge_spec::vhost_user::inflight_bytes;
use luge_spec::virtio::split::SIZE_MAX;
use luge_virtqueue::{InflightError, InflightRegion};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::io;
use std::sync::Arc;
use thiserror::Error;
use vhost::vhost_user::message::VhostUserInflight;

/// Reason why memory for tracking cannot be used or made.
#[derive(Debug, Error)]
pub(super) enum TrackingError {
    /// More queues or entries than there are.
    #[error("in-flight tracking of {queues} queues of {entries} entries is not possible")]
    Shape {
        /// Queues that were asked for.
        queues: u16,
        /// Entries of each.
        entries: u16,
    },
    /// The memory is too short for the queues.
    #[error("the in-flight region has {have} bytes, its queues need {need}")]
    TooShort {
        /// Bytes that the front end has announced.
        have: u64,
        /// Bytes that the queues need.
        need: u64,
    },
    /// The file cannot be mapped.
    #[error("the in-flight region cannot be mapped: {0}")]
    Memory(#[from] PeerMemoryError),
    /// No memory file can be made.
    #[error("no memory file can be made for in-flight tracking: {0}")]
    File(#[from] io::Error),
}

/// Limits of the tracking that a front end may ask for.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Queues of the device.
    pub(super) queues: u16,
    /// Ring entries, all queues together.
    pub(super) entries: u32,
}

impl Limits {
    /// Bytes of the region for the queues of a message.
    fn bytes(self, asked: &VhostUserInflight) -> Result<u64, TrackingError> {
        let (queues, entries) = (asked.num_queues, asked.queue_size);
        let all = u32::from(queues).saturating_mul(entries.into());
        if queues > self.queues || entries > SIZE_MAX || all > self.entries {
            return Err(TrackingError::Shape { queues, entries });
        }
        Ok(inflight_bytes(entries).saturating_mul(queues.into()))
    }
}

/// Makes the memory that a front end asks for; returns its description and its file. The file keeps
/// its size, so that nobody's access to it fails.
pub(super) fn make(
    asked: &VhostUserInflight,
    limits: Limits,
) -> Result<(VhostUserInflight, File), TrackingError> {
    let bytes = limits.bytes(asked)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("luge-inflight", flags).map_err(io::Error::from)?;
    ftruncate(&file, bytes).map_err(io::Error::from)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(io::Error::from)?;
    Ok((VhostUserInflight::new(bytes, 0, asked.num_queues, asked.queue_size), file.into()))
}

/// The memory of a front end's tracking, mapped.
pub(super) struct Tracking {
    memory: Arc<PeerMemory>,
    state: InflightState,
    file: File,
}

impl Tracking {
    /// Maps the memory that a front end has announced.
    pub(super) fn map(
        place: &MappingTarget,
        layout: &VhostUserInflight,
        file: File,
        limits: Limits,
    ) -> Result<Self, TrackingError> {
        let (need, have) = (limits.bytes(layout)?, layout.mmap_size);
        if have < need {
            return Err(TrackingError::TooShort { have, need });
        }
        let memory = PeerMemory::map(&file, layout.mmap_offset, need)?.tied_to(&place.connection)?;
        let state = InflightState {
            size: layout.mmap_size,
            offset: layout.mmap_offset,
            queues: layout.num_queues,
            entries: layout.queue_size,
        };
        Ok(Self { memory: Arc::new(memory), state, file })
    }

    /// Part of the memory for a queue; none for a queue that is not tracked.
    pub(super) fn region(&self, queue: u16) -> Result<Option<InflightRegion>, InflightError> {
        let InflightState { queues, entries, .. } = self.state;
        let is_tracked = queue < queues;
        is_tracked.then(|| InflightRegion::new(&self.memory, queue, entries)).transpose()
    }

    /// Description of the memory, for another process.
    pub(super) fn state(&self) -> InflightState {
        self.state
    }

    /// File of the memory, for another process.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The memory.
    pub(super) fn memory(&self) -> &Arc<PeerMemory> {
        &self.memory
    }

    /// Number of times that some of the memory was missing.
    pub(super) fn faults(&self) -> u64 {
        self.memory.faults()
    }
}
