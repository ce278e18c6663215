//! Doorbells: words that the host stores and the controller looks at.
//!
//! They are in memory that clients map, so that a host rings one with a store and no exit. A client that has not
//! mapped them sends its stores as messages; the controller's thread then stores the word in the client's place.
//! After Doorbell Buffer Config, the words in guest memory count instead (`shadow`).
//!
//! Each doorbell has a cache line of its own where all doorbells fit into a memory page then, as large as the shadow
//! doorbells may be. A core looks at the tail of a queue all the time: in the same line, each store of the head, or of
//! another queue's doorbell, would wait for that line, and take it away from the core.

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

/// Bytes of a cache line: the longest stride.
const LINE_BYTES: u64 = 64;

/// Bytes of a doorbell: the shortest stride.
const WORD_BYTES: u64 = 4;

/// Bytes of a page, of which clients map whole ones.
const PAGE_BYTES: u64 = 4096;

/// Offset of the doorbells in their file, which is that in BAR0: clients find both by one offset. The page before them
/// stays empty.
const FILE_OFFSET: u64 = 0x1000;

/// Name of a doorbell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DoorbellName {
    /// Tail doorbell of a submission queue.
    Tail(QueueId),
    /// Head doorbell of a completion queue.
    Head(QueueId),
}

/// The doorbell registers of a controller, in a memory file that its client maps at BAR0 + 1000h.
pub struct DoorbellPages {
    file: OwnedFd,
    memory: PeerMemory,
    bytes: u64,
    /// Bytes from one doorbell to the next.
    stride: u64,
}

impl DoorbellPages {
    /// Makes the doorbells of `queues` pairs of queues, the admin queues among them, all of them zero.
    ///
    /// # Errors
    /// That of the kernel, if there is no memory.
    pub fn new(queues: u16) -> io::Result<Self> {
        let doorbells = u64::from(queues).saturating_mul(2);
        let stride = stride_of(doorbells);
        let bytes = doorbells.saturating_mul(stride).next_multiple_of(PAGE_BYTES);
        let file = memfd_create("doorbells", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, FILE_OFFSET.saturating_add(bytes))?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let memory = PeerMemory::map(&file, FILE_OFFSET, bytes).map_err(|error| match error {
            PeerMemoryError::Map(error) => io::Error::other(error),
            error => io::Error::other(error),
        })?;
        Ok(Self { file, memory, bytes, stride })
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

    /// CAP.DSTRD: the stride, as a power of two of 4 bytes.
    #[must_use]
    pub fn stride_log(&self) -> u8 {
        u8::try_from((self.stride / WORD_BYTES).trailing_zeros()).unwrap_or(0)
    }

    /// Offset of a submission queue's tail doorbell.
    #[must_use]
    pub fn tail_offset(&self, queue: QueueId) -> u64 {
        u64::from(queue.0).saturating_mul(self.stride).saturating_mul(2)
    }

    /// Offset of a completion queue's head doorbell.
    #[must_use]
    pub fn head_offset(&self, queue: QueueId) -> u64 {
        self.tail_offset(queue).saturating_add(self.stride)
    }

    /// Name of the doorbell at `offset`; none between two.
    #[must_use]
    pub fn name(&self, offset: u64) -> Option<DoorbellName> {
        let number = offset.checked_div(self.stride).filter(|_| offset.is_multiple_of(self.stride))?;
        let queue = QueueId(u16::try_from(number / 2).ok()?);
        Some(if number.is_multiple_of(2) { DoorbellName::Tail(queue) } else { DoorbellName::Head(queue) })
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
        self.store(self.tail_offset(queue), 0);
        self.store(self.head_offset(queue), 0);
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

    /// Whether they are shadow doorbells.
    pub(crate) fn are_shadow(&self) -> bool {
        self.shadow.is_some()
    }

    /// The shadow doorbells, or the registers, of the same controller.
    pub(crate) fn with_shadow(&self, shadow: Option<ShadowDoorbells>) -> Self {
        Self::new(self.pages.clone(), shadow)
    }

    /// Tail doorbell of a submission queue; none for an identifier beyond them.
    pub(crate) fn tail(&self, queue: QueueId) -> Option<Doorbell> {
        self.at(self.pages.tail_offset(queue))
    }

    /// Head doorbell of a completion queue; none for an identifier beyond them.
    pub(crate) fn head(&self, queue: QueueId) -> Option<Doorbell> {
        self.at(self.pages.head_offset(queue))
    }

    fn at(&self, offset: u64) -> Option<Doorbell> {
        match &self.shadow {
            Some(shadow) => shadow.at(offset),
            None => Some(Doorbell::new(self.pages.word(offset)?, None)),
        }
    }
}

/// Bytes from one of so many doorbells to the next: those of a cache line, if all fit into a page then.
fn stride_of(doorbells: u64) -> u64 {
    let most = PAGE_BYTES.checked_div(doorbells.next_power_of_two()).unwrap_or(WORD_BYTES);
    most.clamp(WORD_BYTES, LINE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doorbells_are_found_by_their_offsets_and_nothing_between_them() {
        let pages = DoorbellPages::new(32).unwrap();
        assert_eq!(pages.name(pages.tail_offset(QueueId(3))), Some(DoorbellName::Tail(QueueId(3))));
        assert_eq!(pages.name(pages.head_offset(QueueId(3))), Some(DoorbellName::Head(QueueId(3))));
        assert_eq!(pages.name(4), None);
        assert_eq!(pages.name(u64::MAX), None);
    }

    #[test]
    fn doorbells_have_a_line_each_where_all_fit_into_a_page() {
        for (queues, stride) in
            [(1, 64), (32, 64), (33, 32), (64, 32), (65, 16), (129, 8), (512, 4), (65535, 4)]
        {
            assert_eq!(stride_of(2 * queues), stride, "{queues} queues");
        }
    }
}
