//! A queue pair: the channel of one namespace on one core.
//!
//! Path: session -> volume -> **channel** -> submission ring, doorbell -> SSD -> completion
//! ring -> **channel** -> session.
//!
//! Invariants
//! - One doorbell for all that was submitted between two commits; one for all completions of a poll.
//! - A completion is handed out once, for a command that is in flight.
//! - Once the SSD has lied, nothing more of it is believed until it was reset (`link`).
//! - What the SSD may still use is not given back: slots, bounce pages and the request's own
//!   memory wait for a completion, or for stage Quiet or Gone.
//!
//! Not here: the stages (`link`), who sets them (`recovery`), interrupts.

use crate::Fault;
use crate::bounce::BouncePool;
use crate::command::{Command, range};
use crate::controller::Controller;
use crate::format::{NamespaceId, NamespaceInfo};
use crate::health::Health;
use crate::link::{Link, Stage};
use crate::prp::{ListPages, Prps, describe, describe_short};
use crate::queue_memory::QueueMemory;
use crate::recovery::TIMEOUT_TICKS;
use crate::registers::{Doorbell, PAGE_BYTES, Registers};
use crate::ring::{CompletionRing, SubmissionRing};
use crate::slots::{CommandId, Data, Ended, Slots};
use crate::status::block_status;
use luge_block::{Channel, Completions, Geometry, OpenError, Operation, Refusal, Request, Status, Tag};
use luge_memory::{SharedArray, Span};
use luge_spec::nvme::CompletionEntry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A queue pair of a controller, for one namespace.
pub(crate) struct QueuePair {
    submissions: SubmissionRing,
    completions: CompletionRing,
    doorbells: Doorbells,
    slots: Slots,
    lists: ListPages,
    bounce: BouncePool,
    geometry: Geometry,
    namespace: NamespaceId,
    health: Arc<Health>,
    link: Arc<Link>,
    /// The SSD lied: nothing is believed until it was reset.
    lost: bool,
    /// The tick in which ages were last looked at.
    looked: u32,
    controller: Arc<Controller>,
}

impl QueuePair {
    /// Creates a queue pair on the controller.
    pub(crate) fn open(
        controller: &Arc<Controller>,
        device: &str,
        namespace: &NamespaceInfo,
    ) -> Result<Self, OpenError> {
        let inner = controller.inner();
        let geometry = namespace.geometry;
        let transfer = geometry.transfer_blocks_max.saturating_mul(geometry.block_bytes).div_ceil(PAGE_BYTES);
        let transfer = u16::try_from(transfer).unwrap_or(u16::MAX);
        let lists = u32::from(inner.registers.queue_entries(inner.options.queue_entries));
        let pages = lists.saturating_add(inner.options.bounce_pages.max(transfer).into());
        let link = controller.open_queue(device, pages)?;
        let doorbells = Doorbells::map(&inner.registers, link.id.0).map_err(|error| {
            controller.close_queue(&link);
            OpenError::Device { device: device.to_owned(), reason: format!("no doorbells: {error}") }
        })?;
        let entries = link.memory.entries();
        let slots = entries.saturating_sub(1);
        let (lists, bounce) = split_pages(&link.memory);
        Ok(Self {
            submissions: SubmissionRing::new(link.memory.submissions(), entries),
            completions: CompletionRing::new(link.memory.completions(), entries),
            doorbells,
            slots: Slots::new(slots),
            lists: ListPages::new(lists),
            bounce: BouncePool::new(bounce, slots, transfer, geometry.spans_max),
            geometry,
            namespace: namespace.id,
            health: inner.health.clone(),
            link,
            lost: false,
            looked: 0,
            controller: controller.clone(),
        })
    }

    /// The slot for another request.
    #[inline]
    fn next_slot(&self) -> Result<CommandId, Refusal> {
        match self.link.stage() {
            Stage::Running if !self.lost && self.space() > 0 => self.slots.next().ok_or(Refusal::Full),
            Stage::Gone => Err(Refusal::Failed(Status::Gone)),
            _ => Err(Refusal::Full),
        }
    }

    /// Gives a command to the SSD, at the next commit.
    #[inline]
    fn start(&mut self, tag: Tag, id: CommandId, command: Command, prps: Prps) {
        self.slots.take(tag, self.health.tick());
        self.submissions.push(command.entry(id, self.namespace, prps));
    }

    /// Takes a request whose memory is not of the simplest shape.
    #[inline(never)]
    fn submit_long(&mut self, request: &Request<'_>, id: CommandId, command: Command) {
        let list = self.lists.of(id.0);
        if request.operation == Operation::Discard {
            let [first, second] = range(request).to_words();
            list.set(0, first);
            list.set(1, second);
            return self.start(request.tag, id, command, Prps { prp1: list.iova(), prp2: 0 });
        }
        match describe(request.data.iter().copied(), list) {
            Some(prps) => self.start(request.tag, id, command, prps),
            None => self.submit_bounced(request, id, command),
        }
    }

    /// Takes a request that goes through bounce pages, now or when there are enough.
    #[cold]
    fn submit_bounced(&mut self, request: &Request<'_>, id: CommandId, command: Command) {
        let data = match request.operation {
            Operation::Read => Data::BouncedRead,
            _ => Data::BouncedWrite,
        };
        self.health.count_bounced();
        self.slots.hold(request.tag, data);
        self.bounce.wait(id, request.data, command);
        self.start_bounced();
    }

    /// Lets those go that waited for bounce pages, as far as there are some.
    #[cold]
    fn start_bounced(&mut self) {
        while self.submissions.space() > 0
            && let Some((id, command)) = self.bounce.next_ready()
        {
            let prps = describe(self.bounce.spans(id), self.lists.of(id.0));
            let prps = prps.expect("whole pages, no more than the largest transfer has");
            if self.slots.start(id, self.health.tick()) == Some(Data::BouncedWrite) {
                self.bounce.fill(id);
            }
            self.submissions.push(command.entry(id, self.namespace, prps));
        }
    }

    /// Takes completions, as many as there are and fit.
    #[inline]
    fn collect(&mut self, done: &mut Completions) {
        let before = self.completions.head();
        while done.room() > 0 {
            let Some(entry) = self.completions.take() else {
                self.look_at_ages();
                break;
            };
            if let Err(fault) = self.accept(entry, done) {
                return self.lose(fault);
            }
        }
        if self.completions.head() != before {
            self.completions.prefetch();
            self.doorbells.ring(Doorbell::CompletionHead, self.completions.head());
        }
        if self.bounce.waiting() > 0 {
            self.start_bounced();
            self.commit();
        }
    }

    /// How many entries can be added for requests that do not wait.
    #[inline]
    fn space(&self) -> u16 {
        self.submissions.space().saturating_sub(self.bounce.waiting())
    }

    #[inline]
    fn accept(&mut self, entry: CompletionEntry, done: &mut Completions) -> Result<(), Fault> {
        if entry.submission_queue != self.link.id.0 {
            return Err(Fault::WrongQueue);
        }
        self.submissions.fetched_to(entry.submission_head)?;
        let ended = self.slots.end(CommandId(entry.command_id))?;
        self.finish(ended, block_status(entry.status.code()), done);
        // With nothing in flight, nothing would ever tell of a better head.
        if self.slots.in_flight() == 0 && self.submissions.space() == 0 {
            return Err(Fault::HeadOutOfRange);
        }
        Ok(())
    }

    /// Hands a request's end out. There is room: the caller has looked.
    #[inline]
    fn finish(&mut self, ended: Ended, status: Status, done: &mut Completions) {
        if ended.data != Data::Direct {
            self.finish_bounced(ended, status);
        }
        let pushed = done.push(ended.tag, status);
        debug_assert!(pushed.is_ok(), "room was asked for");
    }

    #[cold]
    fn finish_bounced(&mut self, ended: Ended, status: Status) {
        if ended.data == Data::BouncedRead && status == Status::Success {
            self.bounce.empty(ended.id);
        }
        self.bounce.give_back(ended.id);
    }

    /// Once a tick, when nothing waits to be collected: has a command been forgotten?
    #[inline]
    fn look_at_ages(&mut self) {
        let now = self.health.tick();
        if std::mem::replace(&mut self.looked, now) != now && self.slots.any_older(TIMEOUT_TICKS, now) {
            self.health.raise(Fault::Timeout);
        }
    }

    #[cold]
    fn lose(&mut self, fault: Fault) {
        self.lost = true;
        self.health.raise(fault);
    }

    /// Ends what is in flight; the SSD can no longer write to its memory.
    #[cold]
    fn end_all(&mut self, status: Status, done: &mut Completions) {
        while done.room() > 0 {
            let Some(ended) = self.slots.end_any() else {
                return self.start_over();
            };
            self.finish(ended, status, done);
        }
    }

    /// Link 3 to 4: empty rings, for a queue pair that is created again.
    fn start_over(&mut self) {
        if self.link.stage() == Stage::Quiet {
            self.submissions.reset();
            self.completions.reset();
            self.lost = false;
            self.link.drained();
        }
    }
}

impl Channel for QueuePair {
    #[inline]
    fn room(&self) -> usize {
        match self.link.stage() {
            Stage::Running if !self.lost => self.slots.free().min(self.space().into()),
            // So that requests come, and fail.
            Stage::Gone => self.slots.free(),
            _ => 0,
        }
    }

    #[inline]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        let id = self.next_slot()?;
        let command = Command::of(request);
        match simple_prps(request) {
            Some(prps) => self.start(request.tag, id, command, prps),
            None => self.submit_long(request, id, command),
        }
        Ok(())
    }

    #[inline]
    fn commit(&mut self) {
        if let Some(tail) = self.submissions.take_tail()
            && self.link.stage() == Stage::Running
        {
            self.doorbells.ring(Doorbell::SubmissionTail, tail);
        }
    }

    #[inline]
    fn poll(&mut self, done: &mut Completions) {
        match self.link.stage() {
            Stage::Running if !self.lost => self.collect(done),
            Stage::Running | Stage::Halted | Stage::Drained => {}
            Stage::Quiet => self.end_all(Status::Aborted, done),
            Stage::Gone => self.end_all(Status::Gone, done),
        }
    }

    fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        self.controller.close_queue(&self.link);
    }
}

/// The queue pair's two registers. Mapped as long as the function is, which the controller keeps.
struct Doorbells {
    words: SharedArray<u32>,
    /// Words from the first to the second.
    stride: u32,
}

impl Doorbells {
    fn map(registers: &Registers, queue: u16) -> std::io::Result<Self> {
        let tail = registers.doorbell_offset(queue, Doorbell::SubmissionTail);
        let head = registers.doorbell_offset(queue, Doorbell::CompletionHead);
        let stride = head.wrapping_sub(tail);
        let span = registers.function().registers(tail, stride.wrapping_add(4))?;
        let words = SharedArray::new(span).filter(|words: &SharedArray<u32>| words.len() > stride / 4);
        let words = words.ok_or_else(|| std::io::Error::other("the BAR is too short, or not aligned"))?;
        Ok(Self { words, stride: stride / 4 })
    }

    #[inline]
    fn ring(&self, which: Doorbell, value: u16) {
        let index = match which {
            Doorbell::SubmissionTail => 0,
            Doorbell::CompletionHead => self.stride,
        };
        // Release: the entries are in memory before the SSD looks for them.
        self.words.store(index, u32::from(value), Ordering::Release);
    }
}

/// The PRPs of a request with no memory, or with one piece of it on one or two pages.
#[inline]
fn simple_prps(request: &Request<'_>) -> Option<Prps> {
    match (request.operation, request.data) {
        (Operation::Discard, _) => None,
        (_, []) => Some(Prps::default()),
        (_, [span]) => describe_short(*span),
        _ => None,
    }
}

/// The pages of a queue pair: a list for each entry, and the bounce pages.
fn split_pages(memory: &QueueMemory) -> (Span, Span) {
    memory.pages().split_at(u32::from(memory.entries()).saturating_mul(PAGE_BYTES))
}
