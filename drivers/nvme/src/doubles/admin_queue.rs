//! The admin submission queue of a driver, in which commands that create completion queues are changed before the
//! controller sees them.

use crate::scripted::memory::Reach;
use luge_memory::{Iova, SharedArray};
use luge_spec::nvme::{AdminOpcode, SubmissionEntry, offset};
use std::sync::atomic::Ordering;

/// Words of 64 bits in an entry.
const ENTRY_WORDS: u32 = 8;
/// Word of an entry with PRP1.
const PRP1: u32 = 3;

/// Registers of the queue, and its tail as the controller knows it.
#[derive(Default)]
pub(super) struct AdminQueue {
    attributes: u32,
    base: u64,
    tail: u16,
}

/// A completion queue that a driver creates.
#[derive(Clone, Copy)]
pub(super) struct Creation {
    pub id: u16,
    pub entries: u16,
    pub base: u64,
}

impl AdminQueue {
    /// Notes a register write.
    pub(super) fn write(&mut self, at: u32, value: u32) {
        const HIGH: u32 = offset::ASQ + 4;
        match at {
            offset::AQA => self.attributes = value,
            offset::ASQ => self.base = self.base >> 32 << 32 | u64::from(value),
            HIGH => self.base = self.base & 0xffff_ffff | u64::from(value) << 32,
            _ => {}
        }
    }

    /// The controller is disabled, and forgets its queues.
    pub(super) fn reset(&mut self) {
        self.tail = 0;
    }

    /// Lets `place` choose the memory of each completion queue that is created by entries up to `tail`.
    pub(super) fn submit(&mut self, tail: u16, reach: &Reach, mut place: impl FnMut(Creation) -> Iova) {
        let entries = u16::try_from(self.attributes & 0xfff).expect("12 bits") + 1;
        let span = reach.span(self.base, u32::from(entries) * 64);
        let Some(words) = span.and_then(SharedArray::<u64>::new) else { return };
        while self.tail != tail && tail < entries {
            let first = u32::from(self.tail) * ENTRY_WORDS;
            let load = |word: usize| words.load(first + u32::try_from(word).expect("8"), Ordering::Relaxed);
            if let Some(creation) = creation(&SubmissionEntry::from_words(std::array::from_fn(load))) {
                words.store(first + PRP1, place(creation).0, Ordering::Relaxed);
            }
            self.tail = (self.tail + 1) % entries;
        }
    }
}

/// Completion queue that a command creates.
fn creation(entry: &SubmissionEntry) -> Option<Creation> {
    if AdminOpcode(entry.opcode) != AdminOpcode::CREATE_COMPLETION_QUEUE {
        return None;
    }
    let [cdw10, ..] = entry.cdw10;
    let [id, entries_z] = [cdw10 & 0xffff, cdw10 >> 16].map(|half| u16::try_from(half).expect("16 bits"));
    Some(Creation { id, entries: entries_z.checked_add(1)?, base: entry.prp1 })
}
