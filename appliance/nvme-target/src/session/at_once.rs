//! Reads and writes that end as soon as their volume has them: they need no slots.
//!
//! Path: guest queue -> **session** -> volume -> channel, and straight back.

use super::attempt::Served;
use super::candidates::Candidates;
use super::slots::InFlight;
use crate::queues::{CompletionQueue, SubmissionQueue};
use luge_block::{CheckedTransfer, Refusal};
use luge_volume::Run;

/// Queues of commands that end at once.
pub(super) struct Ends<'s> {
    pub(super) candidates: Candidates,
    /// Command 0 of the submission queue.
    pub(super) command: InFlight,
    pub(super) queue: &'s mut SubmissionQueue,
    pub(super) completion: &'s mut CompletionQueue,
}

impl Ends<'_> {
    /// Serves the commands of a run, which are the first candidates, and whose tags have their identifiers in the places
    /// of slots. One that fails stays in the queue.
    #[inline]
    pub(super) fn serve(mut self, run: &mut Run<'_, '_, '_>) -> Served {
        let mut count = 0;
        let refusal = run.serve(|ended| {
            count = ended.len();
            self.end(ended);
        });
        match refusal {
            Some(Refusal::Full) => Served::Full(count),
            // The first command is served by itself, and then tells why it fails.
            Some(Refusal::Failed(_)) | None if count == 0 => Served::None,
            Some(Refusal::Failed(_)) | None => Served::Some(count),
        }
    }

    /// Takes commands off their queue, and posts their completions.
    #[inline(never)]
    fn end(&mut self, ended: &[CheckedTransfer<'_>]) {
        let Self { candidates, command, queue, completion } = self;
        candidates.take(queue, ended.len());
        queue.completed(u32::try_from(ended.len()).unwrap_or(0));
        let (index, head) = (command.index(), queue.head());
        completion.post_all(ended, |ended, vacancies| {
            let first = command.word(InFlight::to_word(index, head, vacancies.phase));
            for (ended, vacancy) in ended.iter().zip(vacancies.iter()) {
                vacancy.fill(0, first | u64::from(ended.tag.slot()) << 32);
            }
        });
    }
}
