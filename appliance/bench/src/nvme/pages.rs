//! Data of a slot, and the PRP entries that name it. Base 2.0, clause 4.1.1.

use crate::arena::Arena;
use luge_memory::{SharedArray, Span};
use std::sync::atomic::Ordering::Relaxed;

const PAGE: u32 = 4096;

/// The most bytes of a request: those of a list in one page, and its first page.
pub(crate) const BYTES_MAX: u32 = PAGE / 8 * PAGE;

/// Data of a slot and its PRP entries, which never change.
pub(crate) struct Pages {
    pub(crate) data: Span,
    pub(crate) prp1: u64,
    pub(crate) prp2: u64,
}

impl Pages {
    /// Memory that [`Self::new`] takes at most.
    pub(crate) const fn memory_bytes(len: u32) -> u64 {
        // The data and its alignment, and a list.
        len as u64 + 3 * PAGE as u64
    }

    /// `len` bytes that begin at a page, or do not cross the end of one.
    pub(crate) fn new(memory: &mut Arena, len: u32) -> Self {
        let data = memory.take(len, len.next_power_of_two().min(PAGE).into()).0;
        let first = data.iova().0;
        let next = first + u64::from(PAGE);
        let prp2 = match len.div_ceil(PAGE) {
            0..=1 => 0,
            2 => next,
            pages => list(memory, next, pages - 1),
        };
        Self { data, prp1: first, prp2 }
    }
}

/// A list of `pages` pages from `first`; returns its address.
fn list(memory: &mut Arena, first: u64, pages: u32) -> u64 {
    let list = memory.take(PAGE, PAGE.into()).0;
    let entries = SharedArray::<u64>::new(list).expect("a page is aligned");
    for index in 0..pages {
        entries.store(index, first + u64::from(index) * u64::from(PAGE), Relaxed);
    }
    list.iova().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_name_every_page_of_the_data_once_and_in_order() {
        let mut memory = Arena::alone(8 << 20).unwrap();
        for len in [512, 1536, 4096, 8192, 12288, 1 << 20, BYTES_MAX] {
            let pages = Pages::new(&mut memory, len);
            let first = pages.data.iova().0;
            assert_eq!(pages.prp1, first);
            assert!(first % 4096 + u64::from(len.min(4096)) <= 4096, "{len}: the first entry reaches so far");
            let count = len.div_ceil(4096);
            match count {
                1 => assert_eq!(pages.prp2, 0),
                2 => assert_eq!(pages.prp2, first + 4096),
                _ => assert_eq!(pages.prp2 % 4096, 0, "{len}: a list"),
            }
        }
    }
}
