//! Doorbells: words that the host stores and the controller looks at.
//!
//! They are in memory that clients map, so that a host rings one with a store and no exit. A client that has not
//! mapped them sends its stores as messages; the controller's thread then stores the word in the client's place.
//! After Doorbell Buffer Config, the words in guest memory count instead (`shadow`).

#![expect(unsafe_code, reason = "doorbells are shared memory")]

use super::doorbell::Doorbell;
use super::shadow::ShadowDoorbells;
use crate::ids::QueueId;
use luge_memory::{PeerMemory, PeerMemoryError, SharedArray};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Bytes of a queue's pair of doorbells: CAP.DSTRD is zero.
const PAIR_BYTES: u64 = 8;

/// Bytes of a page, of which clients map whole ones.
const PAGE_BYTES: u64 = 4096;

/// Offset of the doorbells in their file, which is that in BAR0: clients find both by one offset. The page before them
/// stays empty.
const FILE_OFFSET: u64 = 0x1000;

/// The doorbell registers of a controller, in a memory file that its client maps at BAR0 + 1000h.
pub struct DoorbellPages {
    file: OwnedFd,
    memory: PeerMemory,
    bytes: u64,
}

impl DoorbellPages {
    /// Makes the doorbells of `queues` pairs of queues, the admin queues among them, all of them zero.
    ///
    /// # Errors
    /// That of the kernel, if there is no memory.
    pub fn new(queues: u16) -> io::Result<Self> {
        let bytes = (u64::from(queues) * PAIR_BYTES).next_multiple_of(PAGE_BYTES);
        let file = memfd_create("doorbells", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, FILE_OFFSET.saturating_add(bytes))?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let memory = PeerMemory::map(&file, FILE_OFFSET, bytes).map_err(|error| match error {
            PeerMemoryError::Map(error) => io::Error::other(error),
            error => io::Error::other(error),
        })?;
        Ok(Self { file, memory, bytes })
    }

    /// Fixes the pages before a core loads doorbells: nobody makes holes any more, in which a load would wait for the
    /// kernel. What clients have mapped stays as it is; what they map later is read-only, and their doorbells come by
    /// messages then.
    ///
    /// # Errors
    /// That of the kernel.
    pub fn fix(&self) -> io::Result<()> {
        if fcntl_get_seals(&self.file)?.contains(SealFlags::FUTURE_WRITE) {
            return Ok(());
        }
        Ok(fcntl_add_seals(&self.file, SealFlags::FUTURE_WRITE)?)
    }

    /// File of the doorbells, for the client. Its offsets are those of BAR0.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Length of the doorbells in bytes: whole pages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores the doorbell at `offset` in the client's place; returns whether there is one.
    pub fn store(&self, offset: u64, value: u32) -> bool {
        let word = self.word(offset);
        word.inspect(|word| word.store(0, value, Release)).is_some()
    }

    /// Loads the doorbell at `offset`; none where there is none.
    #[must_use]
    pub fn load(&self, offset: u64) -> Option<u32> {
        Some(self.word(offset)?.load(0, Acquire))
    }

    /// Sets both doorbells of a queue pair to zero, before queues with that identifier are created.
    pub fn clear(&self, queue: QueueId) {
        let at = u64::from(queue.0) * PAIR_BYTES;
        self.store(at, 0);
        self.store(at.wrapping_add(4), 0);
    }

    fn word(&self, offset: u64) -> Option<SharedArray<u32>> {
        // SAFETY: whoever keeps the word keeps the pages.
        let span = unsafe { self.memory.span(offset, 4) };
        SharedArray::new(span?)
    }
}

/// The doorbells of a controller: registers, or shadow doorbells in guest memory.
pub(crate) struct Doorbells {
    pages: Arc<DoorbellPages>,
    shadow: Option<ShadowDoorbells>,
}

impl Doorbells {
    pub(crate) const fn new(pages: Arc<DoorbellPages>, shadow: Option<ShadowDoorbells>) -> Self {
        Self { pages, shadow }
    }

    /// Uses other shadow doorbells, or the registers; returns those before.
    pub(crate) fn replace_shadow(&mut self, shadow: Option<ShadowDoorbells>) -> Option<ShadowDoorbells> {
        std::mem::replace(&mut self.shadow, shadow)
    }

    /// Tail doorbell of a submission queue; none for an identifier beyond them.
    pub(crate) fn tail(&self, queue: QueueId) -> Option<Doorbell> {
        self.at(u64::from(queue.0) * PAIR_BYTES)
    }

    /// Head doorbell of a completion queue; none for an identifier beyond them.
    pub(crate) fn head(&self, queue: QueueId) -> Option<Doorbell> {
        self.at((u64::from(queue.0) * PAIR_BYTES).wrapping_add(4))
    }

    fn at(&self, offset: u64) -> Option<Doorbell> {
        match &self.shadow {
            Some(shadow) => shadow.at(offset),
            None => Some(Doorbell::new(self.pages.word(offset)?, None)),
        }
    }
}
