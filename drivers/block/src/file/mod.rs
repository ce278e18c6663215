//! The file device: a file or block device of the host, by io_uring. What is in a file of memory
//! (tmpfs) the core moves itself.
//!
//! Path: guest ring -> session -> volume -> **channel** -> io_uring -> the host's kernel.
//!
//! Invariants
//! - Submitting starts nothing that could block a core: the kernel does what has to wait elsewhere,
//!   and a file of memory waits for nothing but memory and its own lock (`resident.rs` has the limits).
//! - A channel that is dropped first waits for its requests: the kernel writes to no memory
//!   that somebody else has by then.
//! - A flush, and a write with [`crate::Durability::Media`], end when the kernel says that the
//!   data is on the media.
//! - A file has one writer: it is locked (`flock`), and a block device is claimed.
//!
//! I/O is direct (O_DIRECT) where the file system states what alignment that takes, else through
//! the page cache, which in a tmpfs is all there is; [`FileDevice::caching`] says which. Memory that
//! a guest did not align goes through a buffer of ours; [`Device::bounced`] counts that.
//!
//! A file that changes its size while it is served is noticed when the device is told to look
//! ([`Device::resize`]); requests past the end of a shortened one fail.
//!
//! Not here: image formats.

mod access;
mod buffers;
mod channel;
mod error;
mod kind;
mod memory;
mod resident;
mod slot;
mod status;
mod target;

pub use access::{Access, Caching};
pub use error::FileError;

use crate::immediate::ImmediateChannel;
use crate::{Blocks, Channel, CoreId, Device, Geometry, IoErrors, OpenError, ResizeError};
use channel::FileChannel;
use resident::Resident;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use target::Target;

/// A file or block device of the host.
#[derive(Debug)]
pub struct FileDevice {
    target: Arc<Target>,
    bounced: Arc<AtomicU64>,
    errors: Arc<IoErrors>,
}

impl FileDevice {
    /// Opens and locks the file or block device at `path`. `block_bytes` of `None` stands for
    /// the block device's own block size, or 512 for a file. Its size then is its size now.
    ///
    /// # Errors
    /// [`FileError`]; nothing stays open or locked then.
    pub fn open(path: &Path, block_bytes: Option<u32>, access: Access) -> Result<Self, FileError> {
        let target = Target::open(path, block_bytes, access)?;
        if target.caching() != Caching::Memory {
            channel::ring().map_err(FileError::of_ring)?;
        }
        Ok(Self { target: Arc::new(target), bounced: Arc::default(), errors: Arc::default() })
    }

    /// Whether the host's page cache is used.
    #[must_use]
    pub fn caching(&self) -> Caching {
        self.target.caching()
    }
}

impl FileDevice {
    fn channel(&self) -> std::io::Result<Box<dyn Channel>> {
        let (target, errors) = (self.target.clone(), self.errors.clone());
        if self.caching() == Caching::Memory {
            let file = Resident::new(target, errors)?;
            return Ok(Box::new(ImmediateChannel::new(file, self.geometry())));
        }
        Ok(Box::new(FileChannel::new(target, self.bounced.clone(), errors)?))
    }
}

impl Device for FileDevice {
    fn geometry(&self) -> Geometry {
        self.target.geometry()
    }

    fn actual_blocks(&self) -> Result<Blocks, ResizeError> {
        Ok(self.target.measure()?)
    }

    /// Whoever owns the file changes its size before.
    fn resize(&self, wanted: Blocks) -> Result<(), ResizeError> {
        let have = self.target.measure()?;
        if wanted != have {
            return Err(ResizeError::NotActual { have, wanted });
        }
        self.target.set_blocks(have);
        Ok(())
    }

    fn uses_dma(&self) -> bool {
        false
    }

    fn open(&self, _core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let device = || self.target.path().display().to_string();
        match self.channel() {
            Ok(channel) => Ok(channel),
            Err(error) if error.kind() == std::io::ErrorKind::OutOfMemory => {
                Err(OpenError::Memory { device: device(), reason: error.to_string() })
            }
            Err(error) => Err(OpenError::Device { device: device(), reason: error.to_string() }),
        }
    }

    fn bounced(&self) -> u64 {
        self.bounced.load(Ordering::Relaxed)
    }

    fn errors(&self) -> Option<&Arc<IoErrors>> {
        Some(&self.errors)
    }
}
