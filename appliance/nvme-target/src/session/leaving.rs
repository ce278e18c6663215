//! Commands that leave their submission queues, and the words of their completions.

use super::slots::InFlight;
use crate::queues::SubmissionQueue;

/// Second words of the completions of commands of a queue.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// Number that makes such a word of a command in flight.
    difference: u64,
}

impl Words {
    /// Words for commands of the queue that has that index, with a phase tag.
    #[inline]
    pub(super) fn of(queues: &[Option<SubmissionQueue>], index: u16, phase: u64) -> Self {
        let queue = queues.get(usize::from(index)).and_then(Option::as_ref);
        Self { difference: InFlight::to_word(index, queue.map_or(0, SubmissionQueue::head), phase) }
    }

    /// Second word of a command's completion, without a status.
    #[inline(always)]
    pub(super) fn word(self, command: InFlight) -> u64 {
        command.word(self.difference)
    }
}

/// Counts commands of a queue that have left it.
#[inline]
pub(super) fn leave(queues: &mut [Option<SubmissionQueue>], index: u16, count: usize) {
    let queue = queues.get_mut(usize::from(index)).and_then(Option::as_mut);
    queue.into_iter().for_each(|queue| queue.completed(u32::try_from(count).unwrap_or(0)));
}
