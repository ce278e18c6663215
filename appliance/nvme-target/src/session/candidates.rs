//! Commands of a queue that may be served by one run.

use crate::ids::NamespaceId;
use crate::queues::{Piece, Places, SubmissionQueue};

/// Commands of a queue that may be served by one run.
#[derive(Clone, Copy)]
pub(super) enum Candidates {
    /// So many commands at the head.
    Next(u32),
    /// Commands at places in the window, which others may lie between.
    At(Places),
}

impl Candidates {
    /// The piece of the queue that has them.
    #[inline]
    pub(super) fn piece(self, queue: &SubmissionQueue) -> Option<Piece<8>> {
        match self {
            Self::Next(count) => queue.next(count),
            Self::At(_) => queue.window(),
        }
    }

    /// Namespace of the first one.
    #[inline]
    pub(super) fn namespace(self, piece: &Piece<8>) -> Option<NamespaceId> {
        let ahead = match self {
            Self::Next(_) => 0,
            Self::At(places) => places.lowest(),
        };
        let start = piece.entries.get_word::<0>(piece.first.wrapping_add(ahead))?;
        Some(NamespaceId(u32::try_from(start >> 32).unwrap_or(0)))
    }

    /// Number of candidates in their piece.
    #[inline]
    pub(super) fn count(self, piece: &Piece<8>) -> usize {
        let count = match self {
            Self::Next(_) => piece.len,
            Self::At(places) => places.count(),
        };
        count as usize
    }

    /// Takes the first `count` of them off their queue.
    #[inline]
    pub(super) fn take(self, queue: &mut SubmissionQueue, count: usize) {
        let count = u32::try_from(count).unwrap_or(0);
        match self {
            Self::Next(_) => queue.advance(count),
            Self::At(places) => queue.take(places.up_to(count)),
        }
    }
}
