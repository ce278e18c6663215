//! Entries of a queue in guest memory: side by side, or in pages that a PRP list names.
//!
//! Path: guest queue -> **here** -> session -> volume -> channel -> SSD.
//!
//! Invariant: a queue's memory keeps the table of guest memory that it was found in.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::ids::QueueId;
use luge_memory::{GuestAddress, GuestMemory, Lookup, SharedArray, Use};
use std::sync::Arc;
use thiserror::Error;

/// Placement of a queue's entries in guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueuePages {
    /// PC set: side by side, from the base address on.
    Contiguous,
    /// PC cleared: in memory pages, which a PRP list at the base address names.
    Listed,
}

/// A queue, as the command that creates it describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLayout {
    /// Identifier.
    pub id: QueueId,
    /// Address of the first entry, or of a PRP list.
    pub base: GuestAddress,
    /// Number of entries, from 2 on.
    pub entries: u32,
    /// Placement of the entries.
    pub pages: QueuePages,
}

impl QueueLayout {
    /// Number of entries from one index to another, around the end of the queue.
    #[inline]
    pub(crate) fn distance(&self, from: u32, to: u32) -> u32 {
        let ahead = to.wrapping_sub(from);
        if to < from { ahead.wrapping_add(self.entries) } else { ahead }
    }
}

/// Reason why a queue cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueMemoryError {
    /// A queue of one entry is always empty, and full.
    #[error("a queue of {0} entries is not possible")]
    Entries(u32),
    /// The queue, or a page of it, does not start with a memory page.
    #[error("a queue at {0} does not start with a memory page")]
    Unaligned(GuestAddress),
    /// A part of the queue, or of the list of its pages, is not in the guest's memory, or may not be written.
    #[error("a queue at {0} is not in memory that can be used for it")]
    Missing(GuestAddress),
}

/// Pieces of a queue whose entries have `WORDS` words.
type Pieces<const WORDS: usize> = Box<[SharedArray<[u64; WORDS]>]>;

/// The entries of a queue, of `WORDS` words each.
pub(crate) struct QueueMemory<const WORDS: usize> {
    pieces: Pieces<WORDS>,
    /// Entries of a piece, as a power of two.
    shift: u32,
    /// Keeps the pieces mapped.
    _memory: Arc<GuestMemory>,
}

/// Entries of a queue that lie side by side.
#[derive(Clone, Copy)]
pub(crate) struct Piece<const WORDS: usize> {
    pub(crate) entries: SharedArray<[u64; WORDS]>,
    /// Index of the first one that was asked for.
    pub(crate) first: u32,
    /// Number of entries from there on.
    pub(crate) len: u32,
}

impl<const WORDS: usize> Piece<WORDS> {
    /// Prefetches the entries, each a cache line.
    #[inline]
    pub(crate) fn prefetch(&self) {
        let end = self.first.wrapping_add(self.len);
        (self.first..end).for_each(|at| self.entries.prefetch(at));
    }
}

/// Shift of a queue that is a single piece, of at most 65536 entries.
const WHOLE: u32 = 16;

impl<const WORDS: usize> QueueMemory<WORDS> {
    const ENTRY_BYTES: u32 = {
        assert!(WORDS <= 8, "entries have at most 64 bytes");
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        let bytes = (WORDS * 8) as u32;
        bytes
    };

    /// Finds the memory of a queue, which the device uses as `purpose` says.
    ///
    /// # Errors
    /// [`QueueMemoryError`].
    pub(crate) fn find(
        layout: &QueueLayout,
        page_bytes: u32,
        purpose: Use,
        memory: &Arc<GuestMemory>,
    ) -> Result<Self, QueueMemoryError> {
        let &QueueLayout { base, entries, pages, .. } = layout;
        let bytes = entries.checked_mul(Self::ENTRY_BYTES).filter(|_| (2..=1 << WHOLE).contains(&entries));
        let bytes = bytes.ok_or(QueueMemoryError::Entries(entries))?;
        let mut finder = Finder { lookup: memory.lookup(), purpose, page_bytes, bytes };
        let whole = match pages {
            QueuePages::Contiguous => finder.whole(base)?,
            QueuePages::Listed => None,
        };
        let (pieces, shift) = match (whole, pages) {
            (Some(whole), _) => (Box::from([whole]), WHOLE),
            (None, QueuePages::Contiguous) => (finder.pages(base)?, finder.shift::<WORDS>()),
            (None, QueuePages::Listed) => (finder.listed(base)?, finder.shift::<WORDS>()),
        };
        Ok(Self { pieces, shift, _memory: memory.clone() })
    }

    /// The entries from index `from` on, up to the end of their piece.
    #[inline]
    pub(crate) fn piece(&self, from: u32) -> Option<Piece<WORDS>> {
        let &entries = self.pieces.get((from >> self.shift) as usize)?;
        let first = from & (1_u32.wrapping_shl(self.shift)).wrapping_sub(1);
        Some(Piece { entries, first, len: entries.len().saturating_sub(first) })
    }
}

/// Search for the memory of a queue.
struct Finder<'a> {
    lookup: Lookup<'a>,
    purpose: Use,
    page_bytes: u32,
    /// Bytes of the queue.
    bytes: u32,
}

impl Finder<'_> {
    /// Entries of a memory page, as a power of two.
    fn shift<const WORDS: usize>(&self) -> u32 {
        let entry_bytes = QueueMemory::<WORDS>::ENTRY_BYTES;
        self.page_bytes.trailing_zeros().saturating_sub(entry_bytes.trailing_zeros())
    }

    /// The queue as a single piece; none if it is not in one region of memory.
    fn whole<const WORDS: usize>(
        &mut self,
        base: GuestAddress,
    ) -> Result<Option<SharedArray<[u64; WORDS]>>, QueueMemoryError> {
        self.check_aligned(base)?;
        // SAFETY: the queue keeps the memory next to its pieces.
        let span = unsafe { self.lookup.whole_for(self.purpose, base, self.bytes) };
        Ok(span.and_then(SharedArray::new))
    }

    /// Page after page from `base` on.
    fn pages<const WORDS: usize>(&mut self, base: GuestAddress) -> Result<Pieces<WORDS>, QueueMemoryError> {
        let page = |at: &GuestAddress| at.checked_add(self.page_bytes.into());
        let pages: Vec<_> = std::iter::successors(Some(base), page).take(self.page_count()).collect();
        self.map(base, &pages)
    }

    /// The pages that a PRP list names. Its last entry is the address of more of the list, where there is more.
    fn listed<const WORDS: usize>(&mut self, base: GuestAddress) -> Result<Pieces<WORDS>, QueueMemoryError> {
        let (mut at, mut left) = (base, self.page_count());
        let mut pages = Vec::new();
        while left > 0 {
            let in_page = self.page_bytes.wrapping_sub(self.offset(at)) / 8;
            let here = left.min(in_page as usize);
            let entries = self.list(at, here)?;
            let chains = left > here;
            let named = if chains { here.saturating_sub(1) } else { here };
            pages.extend(entries.iter().take(named).map(|&page| GuestAddress(page)));
            left = left.saturating_sub(named);
            at = GuestAddress(entries.last().copied().filter(|_| chains).unwrap_or(0));
            if chains {
                self.check_aligned(at)?;
            }
        }
        self.map(base, &pages)
    }

    /// A copy of `count` entries of a PRP list.
    fn list(&mut self, at: GuestAddress, count: usize) -> Result<Vec<u64>, QueueMemoryError> {
        let missing = QueueMemoryError::Missing(at);
        let bytes = u32::try_from(count).ok().and_then(|count| count.checked_mul(8)).ok_or(missing)?;
        // SAFETY: the span is used at once, while the table is borrowed.
        let span = unsafe { self.lookup.whole_for(Use::Read, at, bytes) };
        let words = span.and_then(SharedArray::<u64>::new).ok_or(missing)?;
        Ok((0..words.len()).map(|index| words.load(index, std::sync::atomic::Ordering::Relaxed)).collect())
    }

    /// Pieces of the queue at `base`, a page each.
    fn map<const WORDS: usize>(
        &mut self,
        base: GuestAddress,
        pages: &[GuestAddress],
    ) -> Result<Pieces<WORDS>, QueueMemoryError> {
        if pages.len() < self.page_count() {
            return Err(QueueMemoryError::Missing(base));
        }
        let mut left = self.bytes;
        let piece = |&at: &GuestAddress| {
            self.check_aligned(at)?;
            let len = left.min(self.page_bytes);
            left = left.saturating_sub(len);
            // SAFETY: the queue keeps the memory next to its pieces.
            let span = unsafe { self.lookup.whole_for(self.purpose, at, len) };
            span.and_then(SharedArray::new).ok_or(QueueMemoryError::Missing(at))
        };
        pages.iter().map(piece).collect()
    }

    fn page_count(&self) -> usize {
        self.bytes.div_ceil(self.page_bytes.max(1)) as usize
    }

    fn offset(&self, at: GuestAddress) -> u32 {
        u32::try_from(at.0 & u64::from(self.page_bytes.wrapping_sub(1))).unwrap_or(0)
    }

    fn check_aligned(&self, at: GuestAddress) -> Result<(), QueueMemoryError> {
        if self.offset(at) == 0 { Ok(()) } else { Err(QueueMemoryError::Unaligned(at)) }
    }
}
