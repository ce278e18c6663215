//! Sorts of requests that are counted together: their kinds and size classes.

use luge_block::{Kind, Tag};

/// Sorts of requests that are counted together.
#[derive(Clone, Copy)]
pub(crate) struct Sorts {
    /// Tag of one of them.
    pub(crate) first: Tag,
    pub(crate) count: u64,
    /// Sum of their [`Tag::one`].
    pub(crate) kinds: u64,
    differences: u64,
}

impl Sorts {
    /// Most requests, so that each kind can be counted.
    pub(crate) const REQUESTS_MAX: usize = 255;

    /// Sorts of requests with these tags, which differ from `first` in the bits `differences`.
    #[inline]
    pub(crate) fn new(first: Tag, differences: u64, tags: impl ExactSizeIterator<Item = Tag>) -> Self {
        let count = tags.len() as u64;
        let are_same = Tag::are_of_one_sort(differences);
        // All are of one sort, nearly always.
        let kinds = if are_same { first.one() * count } else { tags.map(Tag::one).sum() };
        Self { first, count, kinds, differences }
    }

    /// Whether all are of one size class.
    #[inline]
    pub(crate) fn are_of_one_size(&self) -> bool {
        Tag::are_of_one_size(self.differences)
    }

    /// Whether all are of one kind and size class.
    #[inline]
    pub(crate) fn are_of_one_sort(&self) -> bool {
        Tag::are_of_one_sort(self.differences)
    }

    /// Number of requests of that kind.
    #[inline]
    pub(crate) fn count_of(&self, kind: Kind) -> u64 {
        kind.count(self.kinds)
    }
}
