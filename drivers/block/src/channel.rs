//! The two traits, and what passes between them and their callers.

use crate::{
    Blocks, ChannelSize, CheckedTransfer, Completion, Geometry, IoErrors, Lba, Request, ResizeError, Status,
    Tag,
};
use heapless::Vec;
use luge_memory::{NodeAmounts, Span};
use std::sync::Arc;
use thiserror::Error;

/// Bytes of a block buffer at least: those of the largest block.
pub const BLOCK_BUFFER_BYTES: u32 = 64 << 10;

/// Bytes of a channel's memory for requests of its user's own: of eight block buffers.
pub const STEP_MEMORY_BYTES: u32 = 8 * BLOCK_BUFFER_BYTES;

/// The number of a core: of the CPU that its thread is pinned to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct CoreId(pub u16);

/// Identity of hardware that several devices are on: its address in memory, for as long as one of them lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct SharedHardware(pub usize);

/// Why a device gave no channel.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The device has no queue left for another core.
    #[error(
        "{device} has no queue left for core {core}: all {queues} that it grants are in use, on cores {users:?}: let \
         one of those serve it (cpumask), or delete the controllers that use them"
    )]
    NoQueue {
        /// Name of the device.
        device: String,
        /// The core.
        core: u16,
        /// Number of queues that it grants.
        queues: u16,
        /// Cores that have a queue, each once, in ascending order.
        users: std::vec::Vec<u16>,
    },
    /// There is no memory for the queue.
    #[error("no memory for a queue of {device}: {reason}")]
    Memory {
        /// The device's name.
        device: String,
        /// Why.
        reason: String,
    },
    /// The device failed.
    #[error("{device} did not open a queue: {reason}")]
    Device {
        /// The device's name.
        device: String,
        /// Reason of the failure.
        reason: String,
    },
}

/// A device, as the control plane sees it. May block; never called from a core.
pub trait Device: Send + Sync {
    /// Size, limits and abilities.
    fn geometry(&self) -> Geometry;

    /// A channel for the thread of one core. It serves all devices with the same [`Self::shared`].
    ///
    /// # Errors
    /// [`OpenError`]; nothing is kept then.
    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError>;

    /// Number of blocks of what it is made of, which may have changed: it does not have to be its own.
    ///
    /// # Errors
    /// [`ResizeError`] where that is not possible as a size.
    fn actual_blocks(&self) -> Result<Blocks, ResizeError> {
        Ok(self.geometry().blocks)
    }

    /// Changes its number of blocks. Channels that are open keep the size before until they get
    /// [`Self::channel_size`]; if it becomes smaller, there are none. Not called by two threads at once.
    ///
    /// # Errors
    /// [`ResizeError`]; nothing has changed then.
    fn resize(&self, _blocks: Blocks) -> Result<(), ResizeError> {
        Err(ResizeError::Fixed)
    }

    /// Present size, for a channel that is open.
    fn channel_size(&self) -> ChannelSize {
        ChannelSize::new(self.geometry().blocks)
    }

    /// Identity of the hardware whose channel it shares with other devices on each core; none for a device
    /// with channels of its own.
    fn shared(&self) -> Option<SharedHardware> {
        None
    }

    /// The device's first block, as its channel counts: devices that share a channel are at different places.
    fn window(&self) -> Lba {
        Lba(0)
    }

    /// Number of requests whose memory the device cannot take, and that were copied, on all
    /// channels so far; zero for a device that takes any. Parts of one SSD count together.
    fn bounced(&self) -> u64 {
        0
    }

    /// Whether it transfers data itself, at I/O virtual addresses, so that memory must be mapped for it.
    fn uses_dma(&self) -> bool {
        true
    }

    /// The NUMA nodes that the device is on, as far as they are known.
    fn nodes(&self) -> NodeAmounts {
        NodeAmounts::default()
    }

    /// Reports of failed requests from its channels; none for a device whose requests do not fail.
    fn errors(&self) -> Option<&Arc<IoErrors>> {
        None
    }
}

/// Why `submit` did not take a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no room now: submit it again after a `poll` that completed something.
    Full,
    /// The request can never succeed.
    Failed(Status),
}

/// A device, as one core sees it. Nothing here blocks, locks or allocates.
pub trait Channel: Send {
    /// Number of requests that it would take now. Zero: ask again after a poll.
    fn room(&self) -> usize;

    /// Takes a request, or says why not. What was taken may wait for [`Channel::commit`].
    ///
    /// # Errors
    /// [`Refusal`]; the request's memory is then not touched.
    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal>;

    /// Takes checked reads and writes in order, until one is refused; returns how many it took, and why not
    /// the next. One call through a pointer for a whole batch: what it calls for each of them, the compiler
    /// knows.
    fn submit_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        for (taken, transfer) in transfers.iter().enumerate() {
            if let Err(refusal) = self.submit(transfer) {
                return (taken, Some(refusal));
            }
        }
        (transfers.len(), None)
    }

    /// Length of the shortest run of reads and writes that is best done by [`Self::serve_all`]; none where requests
    /// take time.
    fn at_once_min(&self) -> Option<usize> {
        None
    }

    /// Does checked reads and writes in order, until one is refused or fails; returns how many have ended with success,
    /// and why not the next. They have no completions, whatever their tags are. A channel whose requests take time
    /// takes none.
    fn serve_all(&mut self, _transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        (0, Some(Refusal::Full))
    }

    /// Starts all that was submitted: one doorbell for a batch.
    fn commit(&mut self);

    /// Collects completions, as many as there are and `done` has room for.
    fn poll(&mut self, done: &mut Completions);

    /// Number of requests taken and not yet handed out as completions.
    fn in_flight(&self) -> usize;

    /// Takes over the present size of its device, between two turns. What it does not need any more comes back in
    /// `size`. Channels of devices with a fixed size do nothing.
    fn resize(&mut self, _size: &mut ChannelSize) {}

    /// Memory of [`BLOCK_BUFFER_BYTES`] at least, which the device reaches, and which is the caller's for as
    /// long as there is the channel: for a block, or a write that must not be cut, whose own memory is in
    /// more spans than a request may have. None where no such request is served.
    fn block_buffer(&self) -> Option<Span> {
        None
    }

    /// Memory of [`STEP_MEMORY_BYTES`], which the device reaches, and which is the caller's for as long as there is
    /// the channel: for requests that it makes of its own. None where the device takes any memory.
    fn step_memory(&self) -> Option<Span> {
        None
    }
}

/// The completions of one turn of a core: a list of fixed capacity.
#[derive(Default)]
pub struct Completions {
    list: Vec<Completion, { Self::CAPACITY }>,
}

impl Completions {
    /// The most completions that a core collects in one turn.
    pub const CAPACITY: usize = 256;

    /// Adds one.
    ///
    /// # Errors
    /// The completion itself when the list is full: keep it for the next poll.
    #[inline]
    pub fn push(&mut self, tag: Tag, status: Status) -> Result<(), Completion> {
        self.list.push(Completion::new(tag, status))
    }

    /// Adds the first of a list, as many as fit; returns how many.
    #[inline]
    pub fn extend(&mut self, ended: &[Completion]) -> usize {
        let fitting = &ended[..self.room().min(ended.len())];
        // They fit, so nothing is lost here.
        let _ = self.list.extend_from_slice(fitting);
        fitting.len()
    }

    /// Number of completions that still fit.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.list.capacity() - self.list.len()
    }

    /// The completions, in the order they were collected.
    #[must_use]
    pub fn as_slice(&self) -> &[Completion] {
        &self.list
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}
