//! Changes of a device's size while it is used.
//!
//! ```text
//!   Device::resize --> the device has the new size --> Device::channel_size, for each core --> Channel::resize
//! ```
//!
//! A channel that is opened later has the new size from the start. Requests in flight are not concerned: a device that
//! somebody uses does not become smaller (its owner sees to that).

use crate::{Blocks, FileError, ShapeError};
use luge_memory::{DmaMemory, MemoryError};
use std::sync::Arc;
use thiserror::Error;

/// Reason why a device was not resized.
#[derive(Debug, Error)]
pub enum ResizeError {
    /// The device has the size that it has.
    #[error("a device of this kind cannot be resized")]
    Fixed,
    /// The number of blocks is not possible.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The file is not as it must be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file has another size.
    #[error("the file has {have} blocks, not {wanted}: change its size first (truncate -s)")]
    NotActual {
        /// Blocks of the file.
        have: Blocks,
        /// Blocks that were asked for.
        wanted: Blocks,
    },
}

/// Size of a device, for a channel that was opened before the device got it.
#[derive(Clone)]
pub struct ChannelSize {
    /// Number of blocks.
    pub blocks: Blocks,
    /// The memory of a memory device. The channel leaves its own here in exchange, for a core drops nothing.
    pub(crate) memory: Option<Arc<DmaMemory>>,
}

impl ChannelSize {
    /// Size of a device without memory.
    #[must_use]
    pub const fn new(blocks: Blocks) -> Self {
        Self { blocks, memory: None }
    }
}
