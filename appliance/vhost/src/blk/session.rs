//! One queue of a disk, on one core.
//!
//! ```text
//!  (1) idle        --the ring has chains, the volume has room--> (2) a batch of chains
//!  (2) batch       --the next are transfers--> a slot each, submitted together, (2)
//!  (2) batch       --the next are transfers, and the device needs no time--> ended, (2)
//!  (2) batch       --next chain: read, checked, given a slot-->  (3) a pending request
//!  (2) batch       --next chain is long--> walked into a list of the volume, turn by turn; then (3)
//!  (2) batch       --no chain left--> (1)
//!  (3) pending     --the volume takes or refuses it--> (2)
//!  (3) pending     --no room--> stays; (3) at the next take
//!  (4) a slot      --its request has ended--> status byte, used element; free
//!  (5) any         --the ring is broken--> takes no more; the rest of the batch and the slots go on to (4)
//! ```
//!
//! Invariants
//! - A chain of the batch is read only when the request before it was submitted, so at most one request is
//!   pending, and its spans stay in the batch.
//! - A request reaches (4) exactly once.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use super::disk::BlkDisk;
use super::request::{Batch, Ranges, Request, RequestChain, Rules, Todo, Transfer, written};
use super::slots::RequestSlots;
use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::{Completion, Lba, Operation, Refusal, Status, Tag};
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_memory::Span;
use luge_spec::virtio::blk::RequestStatus;
use luge_virtqueue::{BATCH, Chain, Fault, Head, LongChain};
use luge_volume::{Graph, ListId, ListRequest, Run, Stats, VolumeHandle, VolumeId};
use std::sync::Arc;

/// The volume of a disk on the core of a session.
pub struct OpenVolume {
    /// Number of the volume in the core's graph.
    pub id: VolumeId,
    /// Statistics of the volume on that core.
    pub stats: Arc<Stats>,
}

/// A request that is to be submitted.
struct PendingRequest {
    /// Name of the request's chain.
    head: Head,
    todo: Todo,
    /// List of the volume with the request's data; none where that is in the batch.
    list: Option<ListId>,
}

/// Result of reading a chain.
enum Reading {
    /// A request that has a slot, and is to be submitted.
    Submit(Todo),
    /// A request that has a slot, and can be answered at once.
    Answered(Status),
    /// A chain without a byte for the status.
    Unanswerable,
    /// A chain that is in flight already.
    Twice,
}

/// Result of submitting a run.
enum Submitted {
    /// The volume has all requests of the run; there may be more.
    All,
    /// The device had no room for the last requests of the run.
    Part,
    /// The run was empty: the next chain is not for a run.
    None,
}

/// One queue of a disk.
pub struct BlkSession {
    session: SessionId,
    volume: VolumeId,
    rules: Rules,
    queue: DeviceQueue,
    batch: Batch,
    /// Index of the first chain of the batch that was not read yet.
    next: usize,
    pending: Option<PendingRequest>,
    /// List of the volume for the long chain that is being walked.
    list: Option<ListId>,
    ranges: Ranges,
    slots: RequestSlots,
}

impl BlkSession {
    /// Makes a queue of `disk`, whose blocks are those of `volume`; without notifiers, until
    /// [`DeviceQueue::connect`].
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(disk: BlkDisk, volume: OpenVolume, setup: QueueSetup) -> Result<Self, QueueError> {
        let (layout, features) = (setup.layout, setup.features);
        Ok(Self {
            session: SessionId(0),
            volume: volume.id,
            rules: Rules::new(disk, features),
            // SAFETY: a request uses the spans of its chain until it ends, and the chain is given back then. If
            // the session is dropped before, the queue leaves the memory mapped.
            queue: unsafe { DeviceQueue::new(setup) }?,
            batch: Batch::new(&layout),
            next: 0,
            pending: None,
            list: None,
            ranges: Ranges::new(),
            slots: RequestSlots::new(layout.size, volume.stats),
        })
    }

    /// Number of chains that wait for a new batch: none while a chain of the last batch is unread.
    #[inline]
    fn waiting(&mut self) -> usize {
        if self.next < self.batch.len() { 0 } else { self.queue.waiting() }
    }

    /// Work of a take of `count` requests, before which the volume had taken `before` blocks.
    #[inline]
    fn took(&self, count: usize, before: u64) -> Took {
        let blocks = self.slots.blocks_taken().wrapping_sub(before);
        let bytes = blocks.wrapping_mul(self.rules.disk.geometry().block_bytes.into());
        let walked = Work::DESCRIPTOR.times(self.batch.steps());
        let work = Work::REQUEST.times(count).plus(walked).plus(Work::of_bytes(bytes));
        if work == Work::default() { Took::NoRoom } else { Took::Work(work) }
    }

    /// (1) to (2): takes a batch of the `waiting` chains, at most `room`.
    #[inline]
    fn refill(&mut self, waiting: usize, room: usize) {
        self.next = 0;
        self.queue.take(&mut self.batch, waiting.min(room));
    }

    /// (2) to (3), again and again: serves the unread chains of the batch, while there is room.
    #[inline]
    fn serve(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) {
        while *room > 0 && self.next < self.batch.len() {
            let goes_on = match self.serve_run(volume, room) {
                Submitted::All => true,
                Submitted::Part => false,
                // All other requests are read one by one.
                Submitted::None => self.serve_one(volume, room),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// (2): submits the next transfers of the batch as one run: as many as follow each other, either
    /// single-segment or scattered ones.
    #[inline(never)]
    fn serve_run(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) -> Submitted {
        let Self { session, rules, queue, batch, slots, next, .. } = self;
        let mut run = volume.run();
        let reader = TransferReader { session: *session, rules };
        if run.ends_at_once(batch.len().wrapping_sub(*next)) {
            let (ended, refusal) =
                serve_at_once(batch.single_segment(*next, *room), reader, slots, queue, &mut run);
            *next = next.wrapping_add(ended);
            *room = room.wrapping_sub(ended);
            // One that fails is submitted by itself.
            match refusal {
                Some(Refusal::Full) => return Submitted::Part,
                Some(Refusal::Failed(_)) | None if ended > 0 => return Submitted::All,
                Some(Refusal::Failed(_)) | None => {}
            }
        }
        let mut count = add_to_run(batch.single_segment(*next, *room), reader, slots, &mut run);
        if count == 0 {
            count = add_to_run(batch.scattered(*next, *room), reader, slots, &mut run);
        }
        if count == 0 {
            return Submitted::None;
        }
        let mut untaken = 0_usize;
        run.submit(|tag, refusal| match refusal {
            Refusal::Failed(status) => end_untaken(slots, queue, Completion::new(tag, status)),
            Refusal::Full => {
                slots.forget(Head(tag.slot()));
                untaken = untaken.wrapping_add(1);
            }
        });
        let taken = count.wrapping_sub(untaken);
        *next = next.wrapping_add(taken);
        *room = room.wrapping_sub(taken);
        if untaken == 0 { Submitted::All } else { Submitted::Part }
    }

    /// (2) to (3): serves the next chain, a request of any kind; returns whether to go on.
    #[cold]
    fn serve_one(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) -> bool {
        if self.batch.is_long(self.next) {
            return self.serve_long(volume, room);
        }
        let Self { rules, slots, ranges, batch, next, .. } = self;
        let Some(chain) = batch.chain(*next) else { return false };
        let (head, fault) = (chain.head, chain.fault);
        let reading = read_chain(chain, rules, ranges, slots);
        match self.advance(head, fault, reading) {
            Some(todo) => self.submit(volume, PendingRequest { head, todo, list: None }, room),
            None => true,
        }
    }

    /// (2) to (3): serves a long chain, which takes several turns to walk; returns whether to go on.
    #[cold]
    fn serve_long(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) -> bool {
        let Some(list) = self.list.take().or_else(|| volume.reserve_list()) else { return false };
        let Self { rules, slots, ranges, queue, batch, .. } = self;
        let spans = volume.list(&list);
        let Some(LongChain { head, fault, readable, end, bytes }) = queue.walk_long(batch, spans) else {
            self.list = Some(list);
            return false;
        };
        let (readable, writable) = spans.get_mut(..end).unwrap_or_default().split_at_mut(readable);
        let chain = Chain { head, fault, first: 0, readable, writable, bytes };
        let reading = read_chain(chain, rules, ranges, slots);
        match self.advance(head, fault, reading) {
            Some(todo @ Todo::Transfer { .. }) => {
                return self.submit(volume, PendingRequest { head, todo, list: Some(list) }, room);
            }
            Some(todo) => {
                volume.release_list(list);
                return self.submit(volume, PendingRequest { head, todo, list: None }, room);
            }
            None => volume.release_list(list),
        }
        true
    }

    /// Advances to the next chain. Returns the request of this one, if that is to be submitted.
    fn advance(&mut self, head: Head, fault: Option<Fault>, reading: Reading) -> Option<Todo> {
        self.next = self.next.wrapping_add(1);
        if fault.is_some() {
            self.queue.count_fault();
        }
        match reading {
            Reading::Submit(todo) => return Some(todo),
            Reading::Answered(status) => self.end_untaken(head, status),
            Reading::Unanswerable => self.queue.complete(head, 0),
            Reading::Twice => {
                self.queue.abandon();
                self.queue.break_off();
            }
        }
        None
    }

    /// (3): submits a request; returns false if it stays pending.
    fn submit(
        &mut self,
        volume: &mut VolumeHandle<'_>,
        mut request: PendingRequest,
        room: &mut usize,
    ) -> bool {
        match self.try_submit(volume, &mut request) {
            Ok(()) => *room = room.wrapping_sub(1),
            Err(Refusal::Full) => {
                self.pending = Some(request);
                return false;
            }
            Err(Refusal::Failed(status)) => self.end_untaken(request.head, status),
        }
        true
    }

    fn try_submit(
        &mut self,
        volume: &mut VolumeHandle<'_>,
        request: &mut PendingRequest,
    ) -> Result<(), Refusal> {
        let tag = Tag::new(self.session.0, request.head.0);
        let mut submit = |operation, lba, blocks, data: &[Span]| {
            volume.submit(&luge_block::Request { tag, operation, lba, blocks, data })
        };
        match &request.todo {
            Todo::Transfer { operation, lba, blocks, data } => {
                let (operation, lba, blocks, data) = (*operation, *lba, *blocks, data.clone());
                if let Some(list) = request.list.take() {
                    let whole = ListRequest { tag, operation, lba, blocks, data };
                    return volume.submit_list(list, &whole).map_err(|(refusal, list)| {
                        request.list = list;
                        refusal
                    });
                }
                submit(operation, lba, blocks, self.batch.spans(data).unwrap_or_default())
            }
            Todo::Ranges => volume.submit_ranges(tag, &self.ranges),
            Todo::Flush => submit(Operation::Flush, Lba(0), 0, &[]),
        }
    }

    /// (4): ends a request that the volume does not have.
    #[cold]
    fn end_untaken(&mut self, head: Head, status: Status) {
        end_untaken(
            &mut self.slots,
            &mut self.queue,
            Completion::new(Tag::new(self.session.0, head.0), status),
        );
    }
}

fn end_untaken(slots: &mut RequestSlots, queue: &mut DeviceQueue, end: Completion) {
    let (head, written) = slots.end_untaken(end);
    queue.complete(head, written);
}

/// Reads a chain of any kind, and gives its request a slot.
fn read_chain(chain: Chain<'_>, rules: &Rules, ranges: &mut Ranges, slots: &mut RequestSlots) -> Reading {
    let Some(slot) = slots.free(chain.head) else { return Reading::Twice };
    let Some(Request { status, written, todo }) = rules.read(chain, ranges) else {
        return Reading::Unanswerable;
    };
    slot.fill(status, written);
    slots.add_busy(1);
    match todo {
        Ok(Some(todo)) => Reading::Submit(todo),
        Ok(None) => Reading::Answered(Status::Success),
        Err(status) => Reading::Answered(status),
    }
}

/// Properties of a session by which its transfers are read.
#[derive(Clone, Copy)]
struct TransferReader<'a> {
    session: SessionId,
    rules: &'a Rules,
}

/// Adds requests to a run, up to the first that is no transfer, and gives them slots; returns how many.
///
/// Not inlined, so that the loop keeps its values in registers.
#[inline(never)]
fn add_to_run<'a>(
    chains: impl Iterator<Item = RequestChain<'a>>,
    reader: TransferReader<'_>,
    slots: &mut RequestSlots,
    run: &mut Run<'_, '_, 'a>,
) -> usize {
    let added = chains.map_while(|chain| {
        let slot = slots.free(chain.head)?;
        let Transfer { status, written, operation, lba, blocks, data } =
            reader.rules.read_transfer(&chain)?;
        let tag = Tag::new(reader.session.0, chain.head.0);
        run.add(&luge_block::Request { tag, operation, lba, blocks, data })?;
        slot.fill(status, written);
        Some(())
    });
    let added = added.count();
    slots.add_busy(added);
    added
}

/// Serves requests whose device needs no time, up to the first that is no transfer, or is refused or fails; returns how
/// many, and why not that one. They have no slots, because none of them is in flight.
///
/// Not inlined, so that the loops keep their values in registers.
#[inline(never)]
fn serve_at_once<'a>(
    chains: impl Iterator<Item = RequestChain<'a>> + Clone,
    reader: TransferReader<'_>,
    slots: &RequestSlots,
    queue: &mut DeviceQueue,
    run: &mut Run<'_, '_, 'a>,
) -> (usize, Option<Refusal>) {
    let mut adder = run.adder();
    let added = chains.clone().map_while(|chain| {
        slots.is_free(chain.head).then_some(())?;
        let Transfer { operation, lba, blocks, data, .. } = reader.rules.read_transfer(&chain)?;
        let tag = Tag::new(reader.session.0, chain.head.0);
        adder.add(&luge_block::Request { tag, operation, lba, blocks, data })
    });
    added.for_each(drop);
    let mut count = 0;
    let refusal = run.serve(|ended| {
        count = ended.len();
        queue.complete_all(chains.take(count).map(|chain| end(&chain)));
    });
    (count, refusal)
}

/// Ends a transfer that has succeeded.
#[inline(always)]
fn end(chain: &RequestChain<'_>) -> (Head, u32) {
    chain.response.byte().store(RequestStatus::OK.0);
    (chain.head, written(chain))
}

impl Session for BlkSession {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

    fn request_slots(&self) -> usize {
        self.slots.count()
    }

    #[inline]
    fn take(&mut self, graph: &mut Graph, allowance: Work) -> Took {
        let waiting = self.waiting();
        // An idle ring costs no more than this.
        if waiting == 0 && self.next == self.batch.len() && self.pending.is_none() {
            return Took::Nothing;
        }
        let Some(mut volume) = graph.volume(self.volume) else { return Took::NoRoom };
        let mut room = volume.room().min(BATCH).min(allowance.number_of(Work::REQUEST));
        if room == 0 {
            return Took::NoRoom;
        }
        // Twice as many as the allowance pays for: chains that are left over are loaded again.
        self.batch.allow(allowance.number_of(Work::DESCRIPTOR).saturating_mul(2));
        let before = self.slots.blocks_taken();
        let resubmitted = usize::from(self.pending.is_some());
        if resubmitted > 0
            && let Some(request) = self.pending.take()
            && !self.submit(&mut volume, request, &mut room)
        {
            return Took::NoRoom;
        }
        if waiting > 0 {
            self.refill(waiting, room);
        }
        let first = self.next;
        self.serve(&mut volume, &mut room);
        self.took(self.next.wrapping_sub(first).wrapping_add(resubmitted), before)
    }

    #[inline]
    fn finish(&mut self, done: &[Completion]) {
        let Self { queue, slots, .. } = self;
        queue.complete_all(slots.end_all(done));
    }

    #[inline]
    fn publish(&mut self) -> Published {
        self.queue.publish(self.in_flight())
    }

    fn arm(&mut self) -> Armed {
        let waiting = self.in_flight() > self.slots.busy() || self.pending.is_some();
        if waiting { Armed::Waiting } else { self.queue.arm() }
    }

    fn disarm(&mut self) {
        self.queue.disarm();
    }

    fn kick(&self) -> Option<&Kick> {
        self.queue.kick()
    }

    fn needs_polling(&self) -> bool {
        self.queue.needs_polling()
    }

    #[inline]
    fn in_flight(&self) -> usize {
        // `next` is within the batch, and no more is in flight than the ring is long: no sum wraps.
        let taken = self.batch.len().wrapping_sub(self.next).wrapping_add(self.queue.resubmits());
        self.slots.busy().wrapping_add(taken)
    }

    fn quiesce(&mut self) {
        self.queue.quiesce();
    }
}

impl QueueSession for BlkSession {
    fn queue(&mut self) -> &mut DeviceQueue {
        &mut self.queue
    }
}
