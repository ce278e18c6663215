//! Physical region pages (PRPs): the addresses of a command's memory. Base 2.0, clause 4.1.1.
//!
//! Path: spans of a request -> **PRP1, PRP2, list** -> submission entry.
//!
//! PRP1 is the address at which the data begins, a multiple of four. Every later entry is the address of a whole
//! page. Therefore every piece of memory but the first must begin at a page, and every one but the last must end
//! at one. Two pages fit PRP1 and PRP2; for more, PRP2 is the address of a page with the list of all but the first.
//!
//! Invariants
//! - A list never has more entries than its page, so lists are never chained.
//!
//! Not here: memory that PRPs cannot describe (`bounce`).

use crate::registers::PAGE_BYTES;
use luge_memory::{SharedArray, Span};
use std::sync::atomic::Ordering;

/// Number of entries of a page of a list.
const LIST_ENTRIES: u32 = PAGE_BYTES / 8;

const PAGE: u64 = PAGE_BYTES as u64;

/// Pages for the PRP lists of the slots, one for each.
pub(crate) struct ListPages {
    words: SharedArray<u64>,
    iova: u64,
}

impl ListPages {
    /// Makes the lists in `memory`, which is aligned to a page.
    pub(crate) fn new(memory: Span) -> Self {
        let words = SharedArray::new(memory).expect("lists are aligned to pages");
        Self { words, iova: memory.iova().0 }
    }

    /// List of one slot.
    #[inline]
    pub(crate) fn of(&self, slot: u16) -> ListPage {
        let slot = u32::from(slot);
        let iova = self.iova.wrapping_add(u64::from(slot).wrapping_mul(PAGE));
        ListPage { words: self.words, first: slot.wrapping_mul(LIST_ENTRIES), iova }
    }
}

/// Page of list entries.
#[derive(Clone, Copy)]
pub(crate) struct ListPage {
    words: SharedArray<u64>,
    first: u32,
    iova: u64,
}

impl ListPage {
    /// I/O virtual address of the page.
    #[inline]
    pub(crate) fn iova(&self) -> u64 {
        self.iova
    }

    /// Sets an entry; none past the end of the page.
    #[inline]
    pub(crate) fn set(&self, index: u32, value: u64) -> Option<()> {
        if index >= LIST_ENTRIES {
            return None;
        }
        // Relaxed: the doorbell (Release) publishes it.
        self.words.store(self.first.wrapping_add(index), value, Ordering::Relaxed);
        Some(())
    }

    /// Value of an entry.
    pub(crate) fn get(&self, index: u32) -> u64 {
        self.words.load(self.first.wrapping_add(index), Ordering::Relaxed)
    }
}

/// PRP1 and PRP2 of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Prps {
    pub prp1: u64,
    pub prp2: u64,
}

/// PRPs of one piece of memory on at most two pages, which is the usual case; none for other memory.
#[inline]
pub(crate) fn describe_short(span: Span) -> Option<Prps> {
    let start = span.iova().0;
    let end = (start % PAGE).wrapping_add(span.len().into());
    let second = (start | (PAGE - 1)).wrapping_add(1);
    let prps = Prps { prp1: start, prp2: if end > PAGE { second } else { 0 } };
    (end <= 2 * PAGE && start.is_multiple_of(4)).then_some(prps)
}

/// PRPs of any memory, with a list in `page` if it needs one; none where PRPs cannot describe the memory.
pub(crate) fn describe(data: impl Iterator<Item = Span>, page: ListPage) -> Option<Prps> {
    let mut walk = PageWalk { page, pages: 0, first: 0, second: 0, end: 0 };
    for span in data {
        walk.add(span)?;
    }
    let prp2 = match walk.pages {
        0 | 1 => 0,
        2 => walk.second,
        _ => page.iova,
    };
    Some(Prps { prp1: walk.first, prp2 })
}

/// Progress of [`describe`] through the memory of a request.
struct PageWalk {
    page: ListPage,
    /// Number of entries so far.
    pages: u32,
    first: u64,
    /// Second entry: PRP2, unless there is a third one. Then both are in the list.
    second: u64,
    /// End of the last span.
    end: u64,
}

impl PageWalk {
    #[inline]
    fn add(&mut self, span: Span) -> Option<()> {
        let start = span.iova().0;
        let end = start.checked_add(u64::from(span.len()))?;
        let mut at = self.entry_point(start)?;
        while at < end {
            self.push(at)?;
            at = (at | (PAGE - 1)).checked_add(1)?;
        }
        self.end = end;
        Some(())
    }

    /// The first address from `start` on that needs an entry of its own.
    #[inline]
    fn entry_point(&self, start: u64) -> Option<u64> {
        if self.pages == 0 {
            return start.is_multiple_of(4).then_some(start);
        }
        if start == self.end {
            // The span goes on where the last one ended: that page has its entry.
            return start.checked_next_multiple_of(PAGE);
        }
        (start.is_multiple_of(PAGE) && self.end.is_multiple_of(PAGE)).then_some(start)
    }

    #[inline]
    fn push(&mut self, at: u64) -> Option<()> {
        match self.pages {
            0 => self.first = at,
            1 => self.second = at,
            2 => {
                self.page.set(0, self.second)?;
                self.page.set(1, at)?;
            }
            pages => self.page.set(pages.wrapping_sub(1), at)?,
        }
        self.pages = self.pages.wrapping_add(1);
        Some(())
    }
}
