//! Memory of a channel's own, at whole pages: a buffer for every slot, one of zeroes, and one for its user.

#![expect(unsafe_code, reason = "spans of the buffers are addresses")]

use luge_memory::{Iova, Span};
use memmap2::{MmapOptions, MmapRaw};
use std::io;
use std::ptr::NonNull;

/// The length of a buffer in bytes: a multiple of every block size.
pub(super) const BUFFER_BYTES: u32 = 128 << 10;

/// Name of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Buffer {
    /// The zeroes, which nobody writes.
    Zeroes,
    /// The one of the channel's user.
    Block,
    /// The buffer of a slot.
    Slot(u16),
}

/// Buffers of [`BUFFER_BYTES`] each. The kernel gives them memory when they are first used.
pub(super) struct Buffers {
    memory: MmapRaw,
}

impl Buffers {
    /// A buffer for each of `slots` slots, and the others.
    pub fn new(slots: u16) -> io::Result<Self> {
        let len = (usize::from(slots) + 2) * BUFFER_BYTES as usize;
        Ok(Self { memory: MmapOptions::new().len(len).map_anon()?.into() })
    }

    /// The first `len` bytes of a buffer, or all of it.
    ///
    /// # Safety
    /// `self` outlives every use of the span.
    pub unsafe fn span(&self, buffer: Buffer, len: u64) -> Span {
        let index = match buffer {
            Buffer::Zeroes => 0,
            Buffer::Block => 1,
            Buffer::Slot(slot) => usize::from(slot) + 2,
        };
        let offset = index * BUFFER_BYTES as usize;
        assert!(offset < self.memory.len(), "{buffer:?} is one of ours");
        // SAFETY: inside the mapping, by the assertion.
        let first = unsafe { self.memory.as_mut_ptr().add(offset) };
        // SAFETY: a mapping is never at address zero.
        let first = unsafe { NonNull::new_unchecked(first) };
        let len = u32::try_from(len).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        // SAFETY: a whole buffer starts here; the caller promises the lifetime.
        unsafe { Span::new(first, Iova(0), len) }
    }
}
