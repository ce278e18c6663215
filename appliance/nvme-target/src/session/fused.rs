//! Fused pairs: Compare and Write of the same blocks, as one request. Base 2.0, clause 3.4.2.
//!
//! The two are neighbours in their queue, and the host announces them by one store of the doorbell. A command whose other
//! half is not there is aborted.

use super::attempt::{Attempt, Served, Target, Untaken};
use super::queue_session::QueueSession;
use super::specials::State;
use crate::commands::{BlockCommand, Command, CommandStatus};
use luge_memory::Use;
use luge_spec::nvme::{Fuse, StatusCode, SubmissionEntry};

/// Statuses of a pair that is answered at once.
struct PairStatus {
    first: CommandStatus,
    second: CommandStatus,
}

/// Reason why a pair was not given to the volume.
enum PairUntaken {
    Answered(PairStatus),
    Full,
}

const FAILED_OTHER: CommandStatus = CommandStatus::refused(StatusCode::ABORTED_FAILED_FUSED);

impl PairUntaken {
    /// The first command is refused, and so the second is aborted.
    fn by_first(untaken: impl Into<Untaken>) -> Self {
        match untaken.into() {
            Untaken::Answered(first) => Self::Answered(PairStatus { first, second: FAILED_OTHER }),
            Untaken::Full => Self::Full,
        }
    }

    /// The second command is refused, and so the first is aborted.
    fn by_second(untaken: impl Into<Untaken>) -> Self {
        match untaken.into() {
            Untaken::Answered(second) => Self::Answered(PairStatus { first: FAILED_OTHER, second }),
            Untaken::Full => Self::Full,
        }
    }
}

impl QueueSession {
    /// Serves the command of an attempt, which is fused, with the one after it.
    #[cold]
    pub(super) fn serve_fused(&mut self, attempt: &mut Attempt<'_>) -> Served {
        let second = match self.second_of(attempt) {
            Ok(second) => second,
            Err(lone) => {
                self.answer(attempt, CommandStatus::refused(lone));
                attempt.turn.took(1, 0);
                return Served::Some(1);
            }
        };
        match self.try_pair(attempt, &second) {
            Ok(()) => {}
            Err(PairUntaken::Full) => return Served::Full(0),
            Err(PairUntaken::Answered(status)) => {
                self.answer(attempt, status.first);
                attempt.entry = second;
                self.answer(attempt, status.second);
            }
        }
        attempt.turn.took(2, 0);
        Served::Some(2)
    }

    /// The second command of a pair.
    ///
    /// # Errors
    /// The status of a command that is not the first of a pair.
    fn second_of(&mut self, attempt: &Attempt<'_>) -> Result<SubmissionEntry, StatusCode> {
        let target = self.target(attempt).ok();
        let offered =
            target.is_some_and(|target| target.geometry.operations.compare_and_write_blocks_max > 0);
        match attempt.entry.fuse() {
            Fuse::FIRST if offered => {}
            Fuse::SECOND if offered => return Err(StatusCode::ABORTED_MISSING_FUSED),
            _ => return Err(StatusCode::INVALID_FIELD),
        }
        let queue = self.queue(attempt.index);
        let second = queue.filter(|queue| queue.known_waiting() > 1).and_then(|queue| queue.entry(1));
        second.filter(|second| second.fuse() == Fuse::SECOND).ok_or(StatusCode::ABORTED_MISSING_FUSED)
    }

    fn try_pair(&mut self, attempt: &mut Attempt<'_>, second: &SubmissionEntry) -> Result<(), PairUntaken> {
        if attempt.turn.room < 2 {
            return Err(PairUntaken::Full);
        }
        self.specials.check_room().map_err(PairUntaken::by_first)?;
        let compare = Command::parse(&attempt.entry, self.rules.durability).map_err(PairUntaken::by_first)?;
        let write = Command::parse(second, self.rules.durability).map_err(PairUntaken::by_second)?;
        let same_namespace = attempt.entry.namespace == second.namespace;
        let command = Command::fuse(compare, write).filter(|_| same_namespace);
        let command = command.ok_or(PairUntaken::Answered(PairStatus {
            first: CommandStatus::refused(StatusCode::INVALID_FIELD),
            second: CommandStatus::refused(StatusCode::INVALID_FIELD),
        }))?;
        let target = self.target(attempt).map_err(PairUntaken::by_first)?;
        self.submit_pair(attempt, second, &target, command)
    }

    fn submit_pair(
        &mut self,
        attempt: &mut Attempt<'_>,
        second: &SubmissionEntry,
        target: &Target,
        command: BlockCommand,
    ) -> Result<(), PairUntaken> {
        target.check_pair(command).map_err(PairUntaken::by_first)?;
        let bytes = self.data_bytes(target, command).map_err(PairUntaken::by_first)?;
        let invalid = || Untaken::refused(StatusCode::INVALID_SGL_COUNT);
        let compared = self.collect(attempt, bytes, Use::Read, 0).map_err(PairUntaken::by_first)?;
        let compared = compared.ok_or_else(|| PairUntaken::by_first(invalid()))?;
        let first = std::mem::replace(&mut attempt.entry, *second);
        let all = self.collect(attempt, bytes, Use::Read, compared);
        // The second command gets its slot first, so that the request can be in the first one's, with the memory of both.
        let slot = self.fill_slot(attempt, 0);
        attempt.entry = first;
        let slot = slot.map_err(PairUntaken::by_first)?.slot();
        let all = all.and_then(|all| all.ok_or_else(invalid)).map_err(PairUntaken::by_second);
        let submitted =
            all.and_then(|all| self.submit(attempt, target, command, all).map_err(PairUntaken::by_first));
        match submitted {
            Ok(tag) => {
                self.take_off(attempt.index);
                self.specials.add(tag.slot(), State::Pair { second: slot });
                Ok(())
            }
            Err(untaken) => {
                self.slots.free(slot);
                Err(untaken)
            }
        }
    }
}
