//! What a controller puts into completion queues.

use crate::nvme::StatusCode;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A completion queue entry. Base 2.0, clause 3.3.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CompletionEntry {
    /// DW0: the command's result, where it has one.
    pub result: u32,
    /// DW1.
    pub result_high: u32,
    /// SQHD: how far the submission queue has been fetched.
    pub submission_head: u16,
    /// SQID: which submission queue the command came from.
    pub submission_queue: u16,
    /// CID: which command it was.
    pub command_id: u16,
    /// How it ended, and the phase tag.
    pub status: StatusField,
}

const _: () = assert!(size_of::<CompletionEntry>() == 16);

impl CompletionEntry {
    /// The entry that two words are.
    #[inline]
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        zerocopy::transmute!(words)
    }

    /// The entry as two words. The second carries the phase tag: store it last.
    #[inline]
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        zerocopy::transmute!(self)
    }
}

/// Upper half of DW3: phase tag, status code, and what is known besides. Clause 3.3.3.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct StatusField(pub u16);

impl StatusField {
    /// A status with its phase tag.
    #[must_use]
    pub const fn new(code: StatusCode, phase: bool) -> Self {
        Self(code.0 << 1 | phase as u16)
    }

    /// P: flips each time the controller goes round the queue.
    #[inline]
    #[must_use]
    pub const fn phase(self) -> bool {
        self.0 & 1 == 1
    }

    /// SCT and SC.
    #[inline]
    #[must_use]
    pub const fn code(self) -> StatusCode {
        StatusCode(self.0 >> 1 & 0x7ff)
    }

    /// DNR: the same command would fail again.
    #[must_use]
    pub const fn do_not_retry(self) -> bool {
        self.0 >> 15 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_taken_apart_as_the_specification_draws_it() {
        let entry = CompletionEntry::from_words([0x0000_0000_dead_beef, 0x8305_0042_0003_0011]);
        assert_eq!((entry.result, entry.submission_head, entry.submission_queue), (0xdead_beef, 0x11, 3));
        assert_eq!((entry.command_id, entry.status.phase()), (0x42, true));
        assert_eq!((entry.status.code(), entry.status.do_not_retry()), (StatusCode(0x182), true));
        assert_eq!(entry.to_words(), [0xdead_beef, 0x8305_0042_0003_0011]);
    }
}
