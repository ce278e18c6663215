//! Completion queue entries: results from the controller to the host.

use crate::nvme::StatusCode;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A completion queue entry. Base 2.0, clause 3.3.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CompletionEntry {
    /// DW0: result, for commands that have one.
    pub result: u32,
    /// DW1: second word of the result.
    pub result_high: u32,
    /// SQHD: head of the submission queue, up to which entries were fetched.
    pub submission_head: u16,
    /// SQID: submission queue of the command.
    pub submission_queue: u16,
    /// CID: identifier of the command.
    pub command_id: u16,
    /// Status and phase tag.
    pub status: StatusField,
}

const _: () = assert!(size_of::<CompletionEntry>() == 16);

impl CompletionEntry {
    /// The entry in two words of memory.
    #[inline]
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        zerocopy::transmute!(words)
    }

    /// The entry as two words of memory. The second contains the phase tag: store it last.
    #[inline]
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        zerocopy::transmute!(self)
    }
}

/// Upper half of DW3: phase tag, status code and flags. Clause 3.3.3.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct StatusField(pub u16);

impl StatusField {
    /// A status with its phase tag.
    #[must_use]
    pub const fn new(code: StatusCode, phase: bool) -> Self {
        Self(code.0 << 1 | phase as u16)
    }

    /// P: phase tag, which flips each time the controller wraps around the queue.
    #[inline]
    #[must_use]
    pub const fn phase(self) -> bool {
        self.0 & 1 == 1
    }

    /// SCT and SC: status code type and status code.
    #[inline]
    #[must_use]
    pub const fn code(self) -> StatusCode {
        StatusCode(self.0 >> 1 & 0x7ff)
    }

    /// DNR: whether the same command would fail again.
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
        assert_eq!(entry.result, 0xdead_beef);
        assert_eq!(entry.submission_head, 0x11);
        assert_eq!(entry.submission_queue, 3);
        assert_eq!(entry.command_id, 0x42);
        assert_eq!(entry.status.code(), StatusCode(0x182));
        assert!(entry.status.phase());
        assert!(entry.status.do_not_retry());
        assert_eq!(entry.to_words(), [0xdead_beef, 0x8305_0042_0003_0011]);
    }
}
