//! Commands whose SGL has more descriptors than are looked at in one go: walked in several turns, into a list of the
//! volume.
//!
//! ```text
//!  (1) no long command --met at the head of a queue, and a list is free--> (2)
//!  (2) walking         --enough for a turn-->                              (2)
//!  (2) walking         --the end-->                                        (3)
//!  (2) walking         --a fault, or an abort-->                           (1), answered
//!  (3) ready           --the volume takes or refuses it-->                 (1)
//!  (2) or (3)          --the session is held, or the queue removed-->      (1), the command is still in its queue
//! ```
//!
//! The command stays in its queue until the volume has taken it. Other queues of the session go on.

use super::attempt::{Attempt, Target, Untaken};
use super::long::Long;
use super::queue_session::QueueSession;
use super::turn::Turn;
use crate::commands::{BlockCommand, CommandStatus};
use crate::data::{Collected, Collector, DataWalk, Stop};
use luge_memory::Use;
use luge_spec::nvme::StatusCode;
use luge_volume::{Graph, ListRequest};

impl QueueSession {
    /// (1) to (2).
    #[cold]
    pub(super) fn begin_long(
        &mut self,
        attempt: &mut Attempt<'_>,
        target: &Target,
        command: BlockCommand,
    ) -> Result<(), Untaken> {
        let bytes = self.data_bytes(target, command)?;
        let walk = DataWalk::of(&attempt.entry, bytes, self.rules.page_bytes)?;
        let purpose = if command.operation.is_read() { Use::Write } else { Use::Read };
        let mut volume = attempt.graph.volume(target.volume).ok_or(Untaken::Full)?;
        if self.long.is_none()
            && let Some(list) = volume.reserve_list()
        {
            let (collected, target, entry) = (Collected::new(purpose), *target, attempt.entry);
            let (spans, is_abandoned, index) = (None, false, attempt.index);
            self.long =
                Some(Long { index, entry, target, command, list, walk, collected, spans, is_abandoned });
        }
        Err(Untaken::Full)
    }

    /// Makes a step of (2) or (3).
    #[cold]
    pub(super) fn go_on_long(&mut self, graph: &mut Graph, turn: &mut Turn) {
        let Some(mut long) = self.long.take() else { return };
        if long.is_abandoned || self.is_held {
            return release(graph, long);
        }
        let walked = self.walk_long(graph, &mut long, turn);
        let (index, entry) = (long.index, long.entry);
        let mut attempt = Attempt { graph, turn, index, entry };
        match walked {
            Ok(None) => self.long = Some(long),
            Ok(Some(spans)) => self.submit_long(&mut attempt, Long { spans: Some(spans), ..long }),
            Err(status) => {
                release(attempt.graph, long);
                self.answer(&attempt, status);
            }
        }
    }

    /// Walks on; returns the number of all spans at the end.
    fn walk_long(
        &self,
        graph: &mut Graph,
        long: &mut Long,
        turn: &mut Turn,
    ) -> Result<Option<usize>, CommandStatus> {
        if long.spans.is_some() {
            return Ok(long.spans);
        }
        let gone = CommandStatus::refused(StatusCode::INVALID_NAMESPACE);
        let mut volume = graph.volume(long.target.volume).ok_or(gone)?;
        let steps = turn.steps;
        let mut collector = Collector {
            collected: long.collected,
            lookup: &mut self.memory.lookup(),
            list: volume.list(&long.list),
            bucket: Some(&self.bit_bucket),
            steps,
        };
        let walked = long.walk.step(&mut collector);
        long.collected = collector.collected;
        turn.looked_at(steps.saturating_sub(collector.steps));
        walked.map_err(|stop| match stop {
            Stop::Fault(status) => status,
            Stop::NoRoom => CommandStatus::refused(StatusCode::INVALID_SGL_COUNT),
        })
    }

    /// (3) to (1).
    fn submit_long(&mut self, attempt: &mut Attempt<'_>, long: Long) {
        let BlockCommand { operation, lba, blocks } = long.command;
        if attempt.turn.room == 0 {
            self.long = Some(long);
            return;
        }
        let Ok(tag) = self.fill_slot(attempt, 0) else {
            self.long = Some(long);
            return;
        };
        // Its spans are in the list.
        self.command_memory.iter_mut().for_each(|notes| notes.note_unknown(tag.slot()));
        let data = 0..long.spans.unwrap_or(0);
        let whole = ListRequest { tag, operation, lba, blocks, data };
        let Some(mut volume) = attempt.graph.volume(long.target.volume) else {
            self.slots.free(tag.slot());
            return self.answer(attempt, CommandStatus::refused(StatusCode::INVALID_NAMESPACE));
        };
        match volume.submit_list(long.list, &whole) {
            Ok(()) => {
                self.take_off(attempt.index);
                attempt.turn.took(1, long.target.bytes(long.command));
            }
            Err((refusal, list)) => {
                self.slots.free(tag.slot());
                match (Untaken::of(refusal, attempt.is_read()), list) {
                    (Untaken::Answered(status), _) => self.answer(attempt, status),
                    (Untaken::Full, Some(list)) => self.long = Some(Long { list, ..long }),
                    // Walked again.
                    (Untaken::Full, None) => {}
                }
            }
        }
    }
}

/// Returns the list of a long command to the volume.
fn release(graph: &mut Graph, long: Long) {
    if let Some(mut volume) = graph.volume(long.target.volume) {
        volume.release_list(long.list);
    }
}
