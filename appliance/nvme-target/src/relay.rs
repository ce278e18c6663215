//! The way of commands that a core does not serve itself: to the controller's thread, and back.
//!
//! ```text
//! core: push, bell --> controller's thread: next --> a task on the core: QueueSession::complete_relayed
//! ```
//!
//! A core neither waits nor allocates here. A command that finds no room stays in its submission queue.

use crate::commands::CommandStatus;
use crate::ids::{CommandId, NamespaceId, QueueId};
use crossbeam_queue::ArrayQueue;
use luge_block::Lba;
use luge_core::ThreadBell;
use luge_spec::nvme::SubmissionEntry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel};

/// Most failures on their way to a controller's thread; more are counted only.
const FAILURES: usize = 64;

/// A command that a core has completed with an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedCommand {
    /// Submission queue that it came by.
    pub queue: QueueId,
    /// Identifier of the command.
    pub command: CommandId,
    /// Status that the host was told.
    pub status: CommandStatus,
    /// Namespace; zero where it is not known.
    pub namespace: NamespaceId,
    /// First block of the command; zero where it is not known.
    pub lba: Lba,
}

/// Most commands of a controller on their way to its thread.
const CAPACITY: usize = 256;

/// Name of a relayed command, by which its session finds it again. No other command of the session has the same one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayedId {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

/// A command for the controller's thread.
#[derive(Clone, Copy, Debug)]
pub struct Relayed {
    /// Submission queue that it came by.
    pub queue: QueueId,
    /// Completion queue, and so the session, to which the answer goes.
    pub completion_queue: QueueId,
    /// Name of the command in its session.
    pub id: RelayedId,
    /// The command, copied from guest memory.
    pub entry: SubmissionEntry,
}

/// Way from the sessions of a controller to its thread.
pub struct Relay {
    commands: ArrayQueue<Relayed>,
    failures: ArrayQueue<FailedCommand>,
    /// Failures for which there was no room.
    more_failures: AtomicU64,
    /// Whether a host has stored a doorbell value that is out of range.
    invalid_doorbell: AtomicBool,
    /// Whether a session that was asked to stop, or a submission queue that was to be removed, has no command in
    /// flight any more.
    drained: AtomicBool,
    bell: ThreadBell,
}

impl Relay {
    /// Makes a way for the sessions of one controller.
    ///
    /// # Errors
    /// That of the kernel, if no eventfd is left.
    pub fn new() -> io::Result<Self> {
        let bell = ThreadBell::new()?;
        Ok(Self {
            commands: ArrayQueue::new(CAPACITY),
            failures: ArrayQueue::new(FAILURES),
            more_failures: AtomicU64::new(0),
            invalid_doorbell: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            bell,
        })
    }

    /// Eventfd that is readable when there is something for the controller's thread.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Makes the bell silent. Whatever comes afterwards rings it again: call it before the look-ups below.
    pub fn hush(&self) {
        self.bell.hush();
    }

    /// The next command.
    #[must_use]
    pub fn next(&self) -> Option<Relayed> {
        self.commands.pop()
    }

    /// The next command that a core has completed with an error.
    #[must_use]
    pub fn next_failure(&self) -> Option<FailedCommand> {
        self.failures.pop()
    }

    /// Number of failures since the last call that are known by their number only.
    #[must_use]
    pub fn take_more_failures(&self) -> u64 {
        self.more_failures.swap(0, AcqRel)
    }

    /// Whether a doorbell value was out of range since the last call: an asynchronous event.
    #[must_use]
    pub fn take_invalid_doorbell(&self) -> bool {
        self.invalid_doorbell.swap(false, AcqRel)
    }

    /// Whether a session, or a submission queue, has drained since the last call; ask them which
    /// ([`crate::QueueSession::is_drained`], [`crate::QueueSession::remove_submission_queue`]).
    #[must_use]
    pub fn take_drained(&self) -> bool {
        self.drained.swap(false, AcqRel)
    }

    /// Hands a command over; returns whether there was room.
    pub(crate) fn push(&self, command: Relayed) -> bool {
        let pushed = self.commands.push(command).is_ok();
        if pushed {
            self.ring();
        }
        pushed
    }

    /// Reports a command that a core has completed with an error. The bell rings for the first one only.
    #[cold]
    pub(crate) fn report_failure(&self, failure: FailedCommand) {
        let was_empty = self.failures.is_empty();
        if self.failures.push(failure).is_err() {
            self.more_failures.fetch_add(1, AcqRel);
        } else if was_empty {
            self.ring();
        }
    }

    /// Reports a doorbell value that is out of range.
    pub(crate) fn report_invalid_doorbell(&self) {
        // Once until it is taken: a host could store another one in every turn.
        if !self.invalid_doorbell.swap(true, AcqRel) {
            self.ring();
        }
    }

    /// Reports that a session or a submission queue has drained.
    pub(crate) fn report_drained(&self) {
        if !self.drained.swap(true, AcqRel) {
            self.ring();
        }
    }

    /// Rings the bell.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Relayed {
        let id = RelayedId { slot: 0, generation: 0 };
        Relayed { queue: QueueId(0), completion_queue: QueueId(0), id, entry: SubmissionEntry::default() }
    }

    #[test]
    fn a_command_without_room_is_refused() {
        let relay = Relay::new().unwrap();
        assert_eq!((0..=CAPACITY).filter(|_| relay.push(command())).count(), CAPACITY);
        assert!(relay.next().is_some());
        assert!(relay.push(command()));
    }

    #[test]
    fn a_report_is_taken_once() {
        let relay = Relay::new().unwrap();
        relay.report_invalid_doorbell();
        relay.report_invalid_doorbell();
        assert!(relay.take_invalid_doorbell());
        assert!(!relay.take_invalid_doorbell());
        relay.report_drained();
        assert!(relay.take_drained());
        assert!(!relay.take_drained());
    }
}
