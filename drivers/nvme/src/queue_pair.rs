//! A queue pair: the channel of an SSD on one core, for all its namespaces.
//!
//! Path: session -> volume -> **channel** -> submission ring, doorbell -> SSD -> completion
//! ring -> **channel** -> session.
//!
//! Invariants
//! - A commit rings one doorbell for all new commands, a poll one for all completions that it has taken.
//! - A request ends once, by a completion of its command while that is in flight.
//! - After the SSD has broken the rules, none of its completions is accepted until it was reset (`link`).
//! - Slots, bounce pages and the memory of a request are kept until its completion, or stage Quiet or Gone,
//!   because the SSD may use them until then.
//!
//! Not here: the stages (`link`), their changes (`recovery`), interrupts.

use crate::Fault;
use crate::bounce::BouncePool;
use crate::command::{Command, asked_for, range};
use crate::controller::Controller;
use crate::doorbells::Doorbells;
use crate::format::NamespaceId;
use crate::health::Health;
use crate::link::{Link, Stage};
use crate::parts::{Availability, Part, Parts, within_namespace};
use crate::prp::{ListPages, Prps, describe, describe_short};
use crate::queue_memory::QueueMemory;
use crate::quirks::Quirk;
use crate::recovery::TIMEOUT_TICKS;
use crate::registers::{Doorbell, PAGE_BYTES};
use crate::ring::{CompletionRing, SubmissionRing};
use crate::slots::{CommandId, Data, Ended, Generations, Slots};
use crate::status::failure;
use luge_block::{
    BLOCK_BUFFER_BYTES, Channel, CheckedTransfer, Completions, CoreId, FailedRequest, Geometry, IoError,
    OpenError, Operation, Refusal, Request, STEP_MEMORY_BYTES, Status, Tag,
};
use luge_memory::Span;
use luge_spec::nvme::{CompletionEntry, DatasetRange, StatusCode};
use std::ops::Deref;
use std::sync::Arc;

/// Number of pages of the block buffer.
const BLOCK_PAGES: u32 = BLOCK_BUFFER_BYTES / PAGE_BYTES;

/// Number of pages for requests of the channel's user.
const STEP_PAGES: u32 = STEP_MEMORY_BYTES / PAGE_BYTES;

/// Queue pair of a controller.
pub(crate) struct QueuePair {
    submissions: SubmissionRing,
    completions: CompletionRing,
    doorbells: Doorbells,
    slots: Slots,
    lists: ListPages,
    bounce: BouncePool,
    /// Memory for the user of the channel: see [`Channel::block_buffer`].
    block: Span,
    /// Memory for the user of the channel: see [`Channel::step_memory`].
    steps: Span,
    parts: Arc<Parts>,
    health: Arc<Health>,
    link: Arc<Link>,
    /// Whether the SSD has broken the rules: no completion is accepted until it was reset.
    lost: bool,
    /// Tick of the last check for commands that take too long.
    ages_checked: u32,
    controller: Arc<Controller>,
}

impl QueuePair {
    /// Creates a queue pair on the controller.
    pub(crate) fn open(controller: &Arc<Controller>, device: &str, core: CoreId) -> Result<Self, OpenError> {
        let inner = controller.inner();
        let parts = inner.parts.clone();
        let geometries = || parts.all().iter().map(|part| part.geometry);
        let transfer = geometries().map(|geometry| transfer_pages(&geometry)).max().unwrap_or(0);
        let spans = geometries().map(|geometry| geometry.spans_max).max().unwrap_or(0);
        let lists = u32::from(inner.registers.queue_entries(inner.options.queue_entries));
        let pages = lists.saturating_add(inner.options.bounce_pages.max(transfer).into());
        let pages = pages.saturating_add(BLOCK_PAGES + STEP_PAGES);
        let link = controller.open_queue(device, core, pages)?;
        let doorbells = Doorbells::map(&inner.registers, link.id.0).map_err(|error| {
            controller.close_queue(&link);
            OpenError::Device { device: device.to_owned(), reason: format!("no doorbells: {error}") }
        })?;
        let entries = link.memory.entries();
        let slots = entries.saturating_sub(1);
        let small_ids = inner.registers.quirks().has(Quirk::SmallIdentifiers);
        let generations = if small_ids { Generations::Off } else { Generations::On };
        let Pages { lists, bounce, block, steps } = Pages::of(&link.memory);
        Ok(Self {
            submissions: SubmissionRing::new(link.memory.submissions(), entries),
            completions: CompletionRing::new(link.memory.completions(), entries),
            doorbells,
            slots: Slots::new(slots, generations),
            lists: ListPages::new(lists),
            bounce: BouncePool::new(bounce, slots, transfer, spans),
            block,
            steps,
            parts,
            health: inner.health.clone(),
            link,
            lost: false,
            ages_checked: 0,
            controller: controller.clone(),
        })
    }

    /// Number of requests that the submission ring can take now. The stage is loaded once for a batch: requests
    /// that are taken while the queue pair is being halted end with those in flight.
    #[inline]
    fn vacant(&self) -> usize {
        if self.link.stage() == Stage::Running && !self.lost { self.space().into() } else { 0 }
    }

    /// Takes checked requests to one namespace, in order, until one is refused; returns how many it has taken, and
    /// why not the next one.
    #[inline]
    fn take_all<'a, T: Deref<Target = Request<'a>>>(&mut self, requests: &[T]) -> (usize, Option<Refusal>) {
        let Some(first) = requests.first() else { return (0, None) };
        let Availability::Usable(namespace) = self.parts.access(first.lba) else {
            return (0, Some(self.no_access(first)));
        };
        let (fitting, rest) = requests.split_at(self.vacant().min(requests.len()));
        let tick = self.health.tick();
        let mut left = fitting.iter();
        while let Some(request) = left.next() {
            if self.take_simple(request, namespace, tick).is_none()
                && let Err(refusal) = self.take(request, namespace, tick)
            {
                return (fitting.len().saturating_sub(left.len().saturating_add(1)), Some(refusal));
            }
        }
        (fitting.len(), rest.first().map(|next| self.refusal(next)))
    }

    /// Adds the command of a request to the submission ring, which has space, if the request is of the usual form:
    /// a read or write of one span on one or two pages. None otherwise.
    #[inline(always)]
    fn take_simple(&mut self, request: &Request<'_>, namespace: NamespaceId, tick: u32) -> Option<()> {
        let [span] = request.data else { return None };
        if !request.operation.is_transfer() {
            return None;
        }
        let prps = describe_short(*span)?;
        let id = self.slots.take(request.tag, tick)?;
        self.submissions.push(Command::of(request, namespace).entry(id, prps));
        Some(())
    }

    /// Adds the command of any request to the submission ring, which has space, or to those that wait for bounce
    /// pages.
    #[inline(never)]
    fn take(&mut self, request: &Request<'_>, namespace: NamespaceId, tick: u32) -> Result<(), Refusal> {
        let id = self.slots.take(request.tag, tick).ok_or(Refusal::Full)?;
        let command = Command::of(request, namespace);
        match self.prps(request, id) {
            Some(prps) => self.submissions.push(command.entry(id, prps)),
            None => self.take_bounced(request, id, command),
        }
        Ok(())
    }

    /// PRPs of a request, with their list in the page of its slot; none where it has to be bounced.
    fn prps(&self, request: &Request<'_>, id: CommandId) -> Option<Prps> {
        let list = self.lists.of(id.slot());
        if request.operation == Operation::Discard {
            let [first, second] = range(request).to_words();
            list.set(0, first);
            list.set(1, second);
            return Some(Prps { prp1: list.iova(), prp2: 0 });
        }
        describe(request.data.iter().copied(), list)
    }

    /// Reason for refusing a request for which there is no space.
    #[cold]
    fn refusal(&self, request: &Request<'_>) -> Refusal {
        if self.link.stage() == Stage::Gone { self.fail(request, Status::Gone) } else { Refusal::Full }
    }

    /// Reason for refusing a request to a namespace that cannot be used now.
    #[cold]
    fn no_access(&self, request: &Request<'_>) -> Refusal {
        match self.parts.access(request.lba) {
            _ if self.link.stage() == Stage::Gone => self.fail(request, Status::Gone),
            Availability::Excluded => self.fail(request, Status::DeviceError),
            Availability::Waiting | Availability::Usable(_) => Refusal::Full,
        }
    }

    fn fail(&self, request: &Request<'_>, status: Status) -> Refusal {
        let Request { operation, lba, blocks, .. } = within_namespace(request);
        let failed = FailedRequest { operation, lba, blocks };
        if let Some(part) = self.parts.at(request.lba) {
            part.errors.report(|| IoError { request: Some(failed), status });
        }
        Refusal::Failed(status)
    }

    /// Sends a request through bounce pages, now or when enough are free.
    #[cold]
    fn take_bounced(&mut self, request: &Request<'_>, id: CommandId, command: Command) {
        let data = match request.operation {
            Operation::Read => Data::BouncedRead,
            _ => Data::BouncedWrite,
        };
        self.health.count_bounced();
        self.slots.hold(id, data);
        self.bounce.wait(id, request.data, command);
        self.start_bounced();
    }

    /// Adds the commands of requests that wait for bounce pages to the submission ring, as long as there are pages.
    #[cold]
    fn start_bounced(&mut self) {
        while self.submissions.space() > 0
            && let Some((id, command)) = self.bounce.next_ready()
        {
            let prps = describe(self.bounce.spans(id), self.lists.of(id.slot()));
            let prps = prps.expect("whole pages, no more than the largest transfer has");
            if self.slots.start(id, self.health.tick()) == Some(Data::BouncedWrite) {
                self.bounce.fill(id);
            }
            self.submissions.push(command.entry(id, prps));
        }
    }

    /// Takes completions, as many as fit into `done`.
    #[inline]
    fn collect(&mut self, done: &mut Completions) {
        let before = self.completions.head();
        if let Err(fault) = self.accept_all(done) {
            return self.lose(fault);
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

    #[inline]
    fn accept_all(&mut self, done: &mut Completions) -> Result<(), Fault> {
        let queue = self.link.id.0;
        // A copy of its own, which stays in registers. After a fault nothing is taken before a reset.
        let mut next = self.completions.next();
        for _ in 0..done.room() {
            let Some(entry) = self.completions.load(&mut next) else {
                self.check_ages();
                break;
            };
            if entry.submission_queue != queue {
                return Err(Fault::WrongQueue);
            }
            self.accept(entry, done)?;
        }
        self.completions.go_to(next);
        // With nothing in flight, no completion would ever bring a head that frees the ring.
        if self.slots.in_flight() == 0 && self.submissions.space() == 0 {
            return Err(Fault::HeadOutOfRange);
        }
        Ok(())
    }

    /// Number of entries that can be added for requests that do not wait for bounce pages.
    #[inline]
    fn space(&self) -> u16 {
        self.submissions.space().saturating_sub(self.bounce.waiting())
    }

    #[inline]
    fn accept(&mut self, entry: CompletionEntry, done: &mut Completions) -> Result<(), Fault> {
        self.submissions.fetched_to(entry.submission_head)?;
        let (id, code) = (CommandId(entry.command_id), entry.status.code());
        if code == StatusCode::SUCCESS
            && let Some(tag) = self.slots.end_direct(id)
        {
            complete(tag, Status::Success, done);
            return Ok(());
        }
        self.accept_unusual(id, code, done)
    }

    /// Ends a request whose command failed or used bounce pages.
    #[cold]
    #[inline(never)]
    fn accept_unusual(
        &mut self,
        id: CommandId,
        code: StatusCode,
        done: &mut Completions,
    ) -> Result<(), Fault> {
        let ended = self.slots.end(id)?;
        let status = match code {
            StatusCode::SUCCESS => Status::Success,
            code => self.failed(id, code),
        };
        self.finish(ended, status, done);
        Ok(())
    }

    /// Reports the failure of a command; returns the status of its request.
    #[cold]
    fn failed(&self, id: CommandId, code: StatusCode) -> Status {
        let status = failure(code);
        self.report(id, status);
        status
    }

    #[cold]
    fn report(&self, id: CommandId, status: Status) {
        let entry = self.submissions.find(id.0);
        let part = entry.and_then(|entry| self.parts.find(entry.namespace)).or(self.parts.all().first());
        let Some(Part { errors, .. }) = part else { return };
        errors.report(|| {
            let list = self.lists.of(id.slot());
            let range = DatasetRange::from_words([0, 1].map(|index| list.get(index)));
            IoError { request: entry.and_then(|entry| asked_for(&entry, range)), status }
        });
    }

    /// Ends a request of any kind.
    #[cold]
    fn finish(&mut self, ended: Ended, status: Status, done: &mut Completions) {
        if ended.data != Data::Direct {
            self.finish_bounced(ended, status);
        }
        complete(ended.tag, status, done);
    }

    #[cold]
    fn finish_bounced(&mut self, ended: Ended, status: Status) {
        if ended.data == Data::BouncedRead && status == Status::Success {
            self.bounce.empty(ended.id);
        }
        self.bounce.give_back(ended.id);
    }

    /// Checks, once a tick, whether a command takes too long.
    #[inline]
    fn check_ages(&mut self) {
        let now = self.health.tick();
        if std::mem::replace(&mut self.ages_checked, now) != now && self.slots.any_older(TIMEOUT_TICKS, now) {
            self.health.raise(Fault::Timeout);
        }
    }

    #[cold]
    fn lose(&mut self, fault: Fault) {
        self.lost = true;
        self.health.raise(fault);
    }

    /// Ends all requests in flight, after the SSD has lost its access to memory.
    #[cold]
    fn end_all(&mut self, status: Status, done: &mut Completions) {
        while done.room() > 0 {
            let Some(ended) = self.slots.end_any() else {
                return self.start_over();
            };
            self.report(ended.id, status);
            self.finish(ended, status, done);
        }
    }

    /// Link 3 to 4: empties the rings, for a queue pair that is created again.
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
            // Requests are to come, so that they fail.
            Stage::Gone => self.slots.free(),
            _ => self.slots.free().min(self.vacant()),
        }
    }

    #[inline]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let part = self.parts.at(request.lba).ok_or(Refusal::Failed(Status::OutOfRange))?;
        part.geometry.check(&within_namespace(request)).map_err(Refusal::Failed)?;
        self.take_all(&[request]).1.map_or(Ok(()), Err)
    }

    fn submit_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        self.take_all(transfers)
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

    fn block_buffer(&self) -> Option<Span> {
        Some(self.block)
    }

    fn step_memory(&self) -> Option<Span> {
        Some(self.steps)
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        self.controller.close_queue(&self.link);
    }
}

/// Adds the completion of a request to `done`, which has room.
#[inline]
fn complete(tag: Tag, status: Status, done: &mut Completions) {
    let pushed = done.push(tag, status);
    debug_assert!(pushed.is_ok(), "the caller has checked that there is room");
}

/// Number of pages of the longest transfer.
fn transfer_pages(geometry: &Geometry) -> u16 {
    let pages = geometry.transfer_blocks_max.saturating_mul(geometry.block_bytes).div_ceil(PAGE_BYTES);
    u16::try_from(pages).unwrap_or(u16::MAX)
}

/// The pages of a queue pair.
struct Pages {
    /// A PRP list for each entry.
    lists: Span,
    bounce: Span,
    /// The block buffer.
    block: Span,
    /// Memory for requests of the channel's user.
    steps: Span,
}

impl Pages {
    fn of(memory: &QueueMemory) -> Self {
        let (lists, others) = memory.pages().split_at(u32::from(memory.entries()).saturating_mul(PAGE_BYTES));
        let (others, steps) = others.split_at(others.len().saturating_sub(STEP_MEMORY_BYTES));
        let (bounce, block) = others.split_at(others.len().saturating_sub(BLOCK_BUFFER_BYTES));
        Self { lists, bounce, block, steps }
    }
}
