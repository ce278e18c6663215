//! Memory of the headers and answers of all slots of a ring: whole cache lines for each slot.

use crate::arena::Arena;
use luge_memory::{SharedArray, Span, Word};
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of a cache line.
pub(crate) const LINE: u32 = 64;

/// A buffer that a descriptor names.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) address: u64,
    pub(crate) len: u32,
}

/// Lines of all slots.
pub(crate) struct Lines {
    bytes: SharedArray<u8>,
    words: SharedArray<u64>,
    address: u64,
    /// Bytes of a slot.
    each: u32,
}

impl Lines {
    /// Memory for `slots` slots of `each` bytes.
    pub(crate) fn new(memory: &mut Arena, slots: u32, each: u32) -> Self {
        let (lines, address) = memory.take(slots * each, 4096);
        Self { bytes: whole(lines), words: whole(lines), address, each }
    }

    /// Lines of a slot.
    #[inline]
    pub(crate) fn of(&self, slot: u16) -> SlotLines<'_> {
        SlotLines { lines: self, first: u32::from(slot) * self.each }
    }
}

/// Lines of one slot.
#[derive(Clone, Copy)]
pub(crate) struct SlotLines<'a> {
    lines: &'a Lines,
    /// Place of the first byte among those of all slots.
    first: u32,
}

impl SlotLines<'_> {
    /// Buffer of `len` bytes from the byte `at` on.
    pub(crate) fn buffer(self, at: u32, len: u32) -> Buffer {
        Buffer { address: self.lines.address + u64::from(self.first + at), len }
    }

    #[inline]
    pub(crate) fn byte(self, at: u32) -> u8 {
        self.lines.bytes.load(self.first + at, Relaxed)
    }

    #[inline]
    pub(crate) fn set_byte(self, at: u32, byte: u8) {
        self.lines.bytes.store(self.first + at, byte, Relaxed);
    }

    /// Eight bytes from `at` on, a multiple of eight, as a little-endian number.
    #[inline]
    pub(crate) fn word(self, at: u32) -> u64 {
        self.lines.words.load((self.first + at) / 8, Relaxed)
    }

    #[inline]
    pub(crate) fn set_word(self, at: u32, word: u64) {
        self.lines.words.store((self.first + at) / 8, word, Relaxed);
    }

    /// Brings the line with the byte `at` near.
    #[inline]
    pub(crate) fn prefetch(self, at: u32) {
        self.lines.bytes.prefetch_to_write(self.first + at);
    }
}

/// A span as an array.
pub(crate) fn whole<T: Word>(span: Span) -> SharedArray<T> {
    SharedArray::new(span).expect("areas are aligned to pages, the used elements to their words")
}
