//! Completions of one volume and one session, which are passed up together.

use crate::sorts::Sorts;
use luge_block::{Completion, Tag};

/// Completions that follow each other on one way.
pub(crate) struct EndedRun<'a> {
    pub(crate) ended: &'a [Completion],
    pub(crate) sorts: Sorts,
}

impl<'a> EndedRun<'a> {
    /// Number of completions that are compared at once, without a branch for each.
    const AT_ONCE: usize = 8;

    /// Splits the first run off a list that begins with `first`.
    #[inline]
    pub(crate) fn split_off(done: &mut &'a [Completion], first: Tag) -> Self {
        let most = done.get(..Sorts::REQUESTS_MAX).unwrap_or(done);
        let (mut count, mut differences) = (0, 0);
        for size in [Self::AT_ONCE, 1] {
            for ended in most.get(count..).unwrap_or_default().chunks_exact(size) {
                let more = first.differences_of(tags_of(ended));
                if !Tag::are_of_one_way(more) {
                    break;
                }
                differences |= more;
                count += size;
            }
        }
        let (ended, rest) = done.split_at(count);
        *done = rest;
        Self { ended, sorts: Sorts::new(first, differences, tags_of(ended)) }
    }
}

fn tags_of(ended: &[Completion]) -> impl ExactSizeIterator<Item = Tag> {
    ended.iter().map(|end| end.tag())
}
