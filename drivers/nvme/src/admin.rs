//! The admin queue: executes one command at a time, and receives asynchronous events.
//!
//! Path: none; the control plane, under the controller's lock.
//!
//! Invariants
//! - Every command has a time limit. After one that exceeds it, the queue is unusable until the controller
//!   was reset, because its completion and its data may still arrive.
//! - A completion is accepted only if its command is in flight.
//!
//! Not here: the commands (`commands`), resets (`recovery`).

use crate::event_requests::EventRequests;
use crate::health::Health;
use crate::queue_memory::QueueMemory;
use crate::quirks::Quirk;
use crate::registers::{AdminQueues, Doorbell, Registers};
use crate::ring::{CompletionRing, SubmissionRing};
use crate::{ErrorKind, Fault};
use luge_memory::{MemoryAccess, Span};
use luge_spec::nvme::{AdminOpcode, CompletionEntry, StatusCode, SubmissionEntry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ReadWriteFlags, preadv2};
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of entries of the admin queue: a page of submissions, because some SSDs take only whole pages
/// (SPDK, `NVME_QUIRK_MINIMUM_ADMIN_QUEUE_SIZE`). CAP.MQES does not limit this queue.
pub(crate) const ADMIN_ENTRIES: u16 = 64;

/// Offset of a read from a file that has none.
const NO_OFFSET: u64 = u64::MAX;

/// The longest pause between two polls of the queue.
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// The admin queue.
pub(crate) struct Admin {
    registers: Arc<Registers>,
    health: Arc<Health>,
    memory: QueueMemory,
    submissions: SubmissionRing,
    completions: CompletionRing,
    interrupt: Option<Arc<OwnedFd>>,
    pub events: EventRequests,
    /// Identifier of the command in flight.
    awaited: Option<u16>,
    /// Status and DW0 of its completion, once that is there.
    answer: Option<(StatusCode, u32)>,
    ids: CommandIds,
    usable: bool,
    command_timeout: Duration,
}

impl Admin {
    /// Makes the queue of a disabled controller; [`Admin::start`] makes it usable.
    pub(crate) fn new(
        registers: Arc<Registers>,
        health: Arc<Health>,
        memory: QueueMemory,
        command_timeout: Duration,
    ) -> Self {
        let small_ids = registers.quirks().has(Quirk::SmallIdentifiers);
        let ids = CommandIds::below(if small_ids { memory.entries() } else { u16::MAX });
        Self {
            submissions: SubmissionRing::new(memory.submissions(), memory.entries()),
            completions: CompletionRing::new(memory.completions(), memory.entries()),
            registers,
            health,
            memory,
            interrupt: None,
            events: EventRequests::default(),
            awaited: None,
            answer: None,
            ids,
            usable: false,
            command_timeout,
        }
    }

    /// Enables the controller, which must be disabled, with an empty admin queue.
    pub(crate) fn start(&mut self) -> Result<(), ErrorKind> {
        self.submissions.reset();
        self.completions.reset();
        self.events.forget();
        (self.awaited, self.answer, self.usable) = (None, None, false);
        self.interrupt = interrupt(&self.registers);
        self.registers.set_bus_master(MemoryAccess::Allowed)?;
        self.registers.enable(AdminQueues {
            submissions: self.memory.submissions().iova(),
            completions: self.memory.completions().iova(),
            entries: self.memory.entries(),
        })?;
        self.usable = true;
        Ok(())
    }

    /// Refuses commands until the next start.
    pub(crate) fn stop(&mut self) {
        self.usable = false;
    }

    /// Time limit of a command.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    pub(crate) fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Eventfd that becomes readable when there are completions; none without an interrupt.
    pub(crate) fn interrupt(&self) -> Option<Arc<OwnedFd>> {
        self.interrupt.clone()
    }

    /// Page for the data of the command in flight.
    pub(crate) fn data(&self) -> Span {
        self.memory.pages()
    }

    /// Executes a command and returns DW0 of its completion.
    pub(crate) fn execute(&mut self, entry: SubmissionEntry) -> Result<u32, ErrorKind> {
        if !self.usable {
            return Err(self.health.fault().map_or(ErrorKind::Gone, ErrorKind::Fault));
        }
        let opcode = AdminOpcode(entry.opcode);
        let command_id = self.ids.take();
        self.awaited = Some(command_id);
        self.submit(SubmissionEntry { command_id, ..entry });
        match self.wait_for_answer(opcode) {
            Ok((StatusCode::SUCCESS, result)) => Ok(result),
            Ok((status, _)) => Err(ErrorKind::Command { opcode, status }),
            Err(error) => {
                self.usable = false;
                Err(error)
            }
        }
    }

    /// Takes all completions from the ring.
    pub(crate) fn collect(&mut self) -> Result<(), Fault> {
        let mut any = false;
        while let Some(entry) = self.completions.take() {
            any = true;
            self.accept(entry)?;
        }
        if any {
            self.registers.ring(0, Doorbell::CompletionHead, self.completions.head());
        }
        Ok(())
    }

    /// Submits Asynchronous Event Requests until the controller has as many as it takes.
    pub(crate) fn arm_events(&mut self) {
        while let Some(command_id) = self.events.next_to_send().filter(|_| self.usable) {
            let entry = SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0);
            self.submit(SubmissionEntry { command_id, ..entry });
        }
    }

    fn submit(&mut self, entry: SubmissionEntry) {
        self.submissions.push(entry);
        if let Some(tail) = self.submissions.take_tail() {
            self.registers.ring(0, Doorbell::SubmissionTail, tail);
        }
    }

    fn accept(&mut self, entry: CompletionEntry) -> Result<(), Fault> {
        if entry.submission_queue != 0 {
            return Err(Fault::WrongQueue);
        }
        self.submissions.fetched_to(entry.submission_head)?;
        let result = u32::try_from(self.completions.last_result() & 0xffff_ffff).unwrap_or_default();
        if self.awaited == Some(entry.command_id) {
            self.awaited = None;
            self.answer = Some((entry.status.code(), result));
            return Ok(());
        }
        self.events.accept(entry.command_id, entry.status.code(), result)
    }

    fn wait_for_answer(&mut self, opcode: AdminOpcode) -> Result<(StatusCode, u32), ErrorKind> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            self.collect().inspect_err(|fault| self.health.raise(*fault))?;
            if let Some(answer) = self.answer.take() {
                return Ok(answer);
            }
            self.registers.check().inspect_err(|fault| self.health.raise(*fault))?;
            if let Some(fault) = self.health.fault() {
                return Err(fault.into());
            }
            if start.elapsed() > self.command_timeout {
                self.health.raise(Fault::Timeout);
                return Err(ErrorKind::Timeout(opcode));
            }
            self.pause(pause);
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Waits for the interrupt; without one, sleeps for `pause`.
    fn pause(&self, pause: Duration) {
        match &self.interrupt {
            Some(fd) => {
                wait_readable(&[fd], PAUSE_MAX);
                drain(fd);
            }
            None => std::thread::sleep(pause),
        }
    }
}

/// Identifiers of admin commands, used in rotation: a repeated completion does not end the next command. Those of
/// event requests are left out.
struct CommandIds {
    next: u16,
    end: u16,
}

impl CommandIds {
    /// Makes the identifiers below `end`. So FFFFh, which some SSDs use for no command, is never used.
    const fn below(end: u16) -> Self {
        Self { next: EventRequests::IDS, end }
    }

    /// Takes the next identifier.
    fn take(&mut self) -> u16 {
        let id = self.next;
        self.next = id.checked_add(1).filter(|&next| next < self.end).unwrap_or(EventRequests::IDS);
        id
    }
}

/// Routes the admin queue's interrupt, vector 0, to an eventfd; none where the queue has to be polled.
fn interrupt(registers: &Registers) -> Option<Arc<OwnedFd>> {
    let function = registers.function();
    if function.vectors() == 0 {
        return None;
    }
    match function.enable_interrupts(1) {
        Ok(fds) => fds.into_iter().next().map(Arc::new),
        Err(error) => {
            tracing::warn!(controller = registers.name(), %error, "no interrupt: the admin queue is polled");
            None
        }
    }
}

/// Waits until one of the descriptors is readable; returns whether one is.
pub(crate) fn wait_readable(fds: &[&OwnedFd], timeout: Duration) -> bool {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(timeout).ok();
    poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Empties an eventfd that may be readable; returns whether it was. The controller may be another process that has it
/// too, empties it first, or makes it a blocking one: no read waits.
pub(crate) fn drain(fd: &OwnedFd) -> bool {
    let mut count = [0u8; 8];
    preadv2(fd, &mut [IoSliceMut::new(&mut count)], NO_OFFSET, ReadWriteFlags::NOWAIT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn an_eventfd_that_somebody_else_has_emptied_is_not_waited_for() {
        let blocking = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert!(!drain(&blocking));
        rustix::io::write(&blocking, &7u64.to_ne_bytes()).unwrap();
        assert!(drain(&blocking));
        assert!(!drain(&blocking));
    }

    #[test]
    fn identifiers_of_commands_are_those_of_no_event_request_and_below_their_limit() {
        for end in [ADMIN_ENTRIES, u16::MAX] {
            let mut ids = CommandIds::below(end);
            let round: Vec<u16> = (EventRequests::IDS..end).map(|_| ids.take()).collect();
            assert!(round.iter().copied().eq(EventRequests::IDS..end), "below {end}");
            assert_eq!(ids.take(), EventRequests::IDS, "below {end}");
        }
    }
}
