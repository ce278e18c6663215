//! Commands that leave their submission queues, and the words of their completions.

use super::slots::InFlight;
use crate::queues::SubmissionQueue;

/// Index of no queue.
const NONE: u16 = u16::MAX;

/// Commands that leave their queues, nearly always several of one queue after the other.
pub(super) struct Leaving<'a> {
    queues: &'a mut [Option<SubmissionQueue>],
    /// Index of the queue of the last command.
    index: u16,
    head: u32,
    /// Commands of that queue that have left it.
    count: u32,
}

impl<'a> Leaving<'a> {
    #[inline]
    pub(super) fn new(queues: &'a mut [Option<SubmissionQueue>]) -> Self {
        Self { queues, index: NONE, head: 0, count: 0 }
    }

    /// Second word of a command's completion, without a status.
    #[inline(always)]
    pub(super) fn word(&mut self, command: InFlight) -> u64 {
        if command.index() != self.index {
            self.turn_to(command.index());
        }
        self.count = self.count.wrapping_add(1);
        command.word(self.index, self.head)
    }

    /// Ends with the queue of the last command, and begins with another.
    fn turn_to(&mut self, index: u16) {
        self.count_completed();
        self.index = index;
        self.head = self.queue().map_or(0, |queue| queue.head());
    }

    fn count_completed(&mut self) {
        let count = std::mem::take(&mut self.count);
        self.queue().into_iter().for_each(|queue| queue.completed(count));
    }

    fn queue(&mut self) -> Option<&mut SubmissionQueue> {
        self.queues.get_mut(usize::from(self.index))?.as_mut()
    }
}

impl Drop for Leaving<'_> {
    #[inline]
    fn drop(&mut self) {
        self.count_completed();
    }
}
