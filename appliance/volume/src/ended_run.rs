//! Completions of one volume and one session, which are passed up together.

use luge_block::{Completion, Tag};

/// Completions that follow each other on one way.
pub(crate) struct EndedRun<'a> {
    pub(crate) ended: &'a [Completion],
    /// The sum of their [`Tag::one`].
    pub(crate) kinds: u64,
    /// The bits in which their tags differ.
    differences: u64,
}

impl<'a> EndedRun<'a> {
    /// The longest run, so that each kind can be counted.
    const MOST: usize = 255;

    /// Splits the first run off a list that begins with `first`.
    #[inline]
    pub(crate) fn split_off(done: &mut &'a [Completion], first: Tag) -> Self {
        let (mut kinds, mut differences) = (0, 0);
        let most = done.get(..Self::MOST).unwrap_or(done);
        let run = most.iter().take_while(|end| end.tag().same_way(first));
        let count = run.inspect(|end| {
            kinds += end.tag().one();
            differences |= end.tag().differences(first);
        });
        let (ended, rest) = done.split_at(count.count());
        *done = rest;
        Self { ended, kinds, differences }
    }

    /// Whether all requests are of one size class.
    #[inline]
    pub(crate) fn are_of_one_size(&self) -> bool {
        Tag::are_of_one_size(self.differences)
    }

    /// Whether all requests are of one kind and size class.
    #[inline]
    pub(crate) fn are_of_one_sort(&self) -> bool {
        Tag::are_of_one_sort(self.differences)
    }
}
