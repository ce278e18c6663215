//! The two doorbells of a queue pair.
//!
//! Path: session -> volume -> channel -> rings, **doorbells** -> SSD.

use crate::registers::{Doorbell, Registers};
use luge_memory::SharedArray;
use std::sync::atomic::Ordering;

/// Doorbell registers of a queue pair. They are mapped as long as the function exists, which the controller keeps.
pub(crate) struct Doorbells {
    words: SharedArray<u32>,
    /// Distance between the two, in words.
    stride: u32,
}

impl Doorbells {
    /// Maps the doorbells of queue pair `queue`.
    pub(crate) fn map(registers: &Registers, queue: u16) -> std::io::Result<Self> {
        let tail = registers.doorbell_offset(queue, Doorbell::SubmissionTail);
        let head = registers.doorbell_offset(queue, Doorbell::CompletionHead);
        let stride = head.wrapping_sub(tail);
        let span = registers.function().registers(tail, stride.wrapping_add(4))?;
        let words = SharedArray::new(span).filter(|words: &SharedArray<u32>| words.len() > stride / 4);
        let words = words.ok_or_else(|| std::io::Error::other("the BAR is too short, or not aligned"))?;
        Ok(Self { words, stride: stride / 4 })
    }

    /// Writes a tail or head to its doorbell.
    #[inline]
    pub(crate) fn ring(&self, which: Doorbell, value: u16) {
        let index = match which {
            Doorbell::SubmissionTail => 0,
            Doorbell::CompletionHead => self.stride,
        };
        // Release: the entries are in memory before the SSD looks for them.
        self.words.store(index, u32::from(value), Ordering::Release);
    }
}
