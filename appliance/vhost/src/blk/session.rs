//! One queue of a disk, on one core.
//!
//! ```text
//!  (1) idle        --the ring has chains, the volume has room--> (2) a batch of chains
//!  (2) batch       --the next are transfers--> a slot each, submitted at once, (2)
//!  (2) batch       --next chain: read, checked, given a slot-->  (3) a request in hand
//!  (2) batch       --next chain is long--> walked into a list of the volume, turn by turn; then (3)
//!  (2) batch       --no chain left--> (1)
//!  (3) in hand     --the volume takes or refuses it--> (2)
//!  (3) in hand     --no room--> stays; (3) at the next take
//!  (4) a slot      --its request has ended--> status byte, used element; free
//!  (5) any         --the ring is broken--> takes no more; the rest of the batch and the slots go on to (4)
//! ```
//!
//! Invariants
//! - A request is taken from the batch only when the one before was submitted, so at most one is in
//!   hand, and its spans stay in the batch.
//! - A request reaches (4) exactly once.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use super::disk::BlkDisk;
use super::request::{Batch, Framed, Ranges, Request, Rules, Todo, Transfer};
use super::slots::RequestSlots;
use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::{Completion, Lba, Operation, Refusal, Status, Tag};
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_memory::Span;
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

/// A request that is to be submitted: its chain's name, and what it asks for.
struct InHand {
    head: Head,
    todo: Todo,
    /// List of the volume with the request's data; none where that is in the batch.
    list: Option<ListId>,
}

/// A chain that was read.
enum Begun {
    /// It has a slot, and is to be submitted.
    Submit(Todo),
    /// It has a slot, and can be answered at once.
    Answered(Status),
    /// It has no byte for an answer.
    Unanswerable,
    /// It was in flight already.
    Twice,
}

/// Outcome of a run of requests.
enum RunEnd {
    /// All were taken; there may be more.
    All,
    /// The device had no room for the rest.
    Some,
    /// There was none: the next chain is not for a run.
    None,
}

/// One queue of a disk.
pub struct BlkSession {
    session: SessionId,
    volume: VolumeId,
    rules: Rules,
    queue: DeviceQueue,
    batch: Batch,
    /// Chains of the batch before this one have been read.
    next: usize,
    in_hand: Option<InHand>,
    /// List of the volume for the long chain that is being walked.
    list: Option<ListId>,
    ranges: Ranges,
    slots: RequestSlots,
}

impl BlkSession {
    /// A queue of `disk`, whose blocks are those of `volume`. Without notifiers, until
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
            in_hand: None,
            list: None,
            ranges: Ranges::new(),
            slots: RequestSlots::new(layout.size, volume.stats),
        })
    }

    /// Number of chains for a new batch: none while something of the last one is left.
    #[inline]
    fn waiting(&mut self) -> usize {
        if self.next < self.batch.len() { 0 } else { self.queue.waiting() }
    }

    /// Work of a take of `count` requests, before which the volume had taken `before` blocks.
    #[inline]
    fn took(&self, count: usize, before: u64) -> Took {
        let bytes = self.slots.blocks_taken().wrapping_sub(before).wrapping_mul(self.rules.disk.geometry().block_bytes.into());
        let walked = Work::DESCRIPTOR.times(self.batch.steps());
        match Work::REQUEST.times(count) + walked + Work::of_bytes(bytes) {
            Work(0) => Took::NoRoom,
            work => Took::Work(work),
        }
    }

    /// (1) to (2): takes a batch of chains, of which `waiting` wait.
    #[inline]
    fn refill(&mut self, waiting: usize, room: usize) {
        self.next = 0;
        self.queue.take(&mut self.batch, waiting.min(room));
    }

    /// (2) to (3), and on: the chains that are left of the batch, while there is room.
    #[inline]
    fn serve(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) {
        while *room > 0 && self.next < self.batch.len() {
            let goes_on = match self.serve_run(volume, room) {
                RunEnd::All => true,
                RunEnd::Some => false,
                // What is not a transfer as drivers make them comes one by one.
                RunEnd::None => self.serve_any(volume, room),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// (2): transfers as drivers make them, as many as follow each other with one piece of data, or
    /// with several, submitted at once.
    #[inline(never)]
    fn serve_run(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) -> RunEnd {
        let Self { session, rules, queue, batch, slots, next, .. } = self;
        let mut run = volume.run();
        let mut count = begin(batch.plain(*next, *room), (*session, rules), slots, &mut run);
        if count == 0 {
            count = begin(batch.several(*next, *room), (*session, rules), slots, &mut run);
        }
        if count == 0 {
            return RunEnd::None;
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
        if untaken == 0 { RunEnd::All } else { RunEnd::Some }
    }

    /// (2) to (3): the next chain, whatever it asks for. Whether to go on.
    #[cold]
    fn serve_any(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) -> bool {
        if self.batch.is_long(self.next) {
            return self.serve_long(volume, room);
        }
        let Self { rules, slots, ranges, batch, next, .. } = self;
        let Some(chain) = batch.chain(*next) else { return false };
        let (head, fault) = (chain.head, chain.fault);
        let begun = begin_any(chain, rules, ranges, slots);
        match self.pass(head, fault, begun) {
            Some(todo) => self.submit(volume, InHand { head, todo, list: None }, room),
            None => true,
        }
    }

    /// (2) to (3): a long chain, which takes several turns to walk. Whether to go on.
    #[cold]
    fn serve_long(&mut self, volume: &mut VolumeHandle<'_>, room: &mut usize) -> bool {
        let Some(list) = self.list.take().or_else(|| volume.reserve_list()) else { return false };
        let Self { rules, slots, ranges, queue, batch, .. } = self;
        let spans = volume.list(&list);
        let Some(LongChain { head, fault, readable, end }) = queue.walk_long(batch, spans) else {
            self.list = Some(list);
            return false;
        };
        let (readable, writable) = spans.get_mut(..end).unwrap_or_default().split_at_mut(readable);
        let chain = Chain { head, fault, first: 0, readable, writable };
        let begun = begin_any(chain, rules, ranges, slots);
        match self.pass(head, fault, begun) {
            Some(todo @ Todo::Transfer { .. }) => {
                return self.submit(volume, InHand { head, todo, list: Some(list) }, room);
            }
            Some(todo) => {
                volume.release_list(list);
                return self.submit(volume, InHand { head, todo, list: None }, room);
            }
            None => volume.release_list(list),
        }
        true
    }

    /// Goes on to the next chain; what is to be submitted for this one, if it was not answered at once.
    fn pass(&mut self, head: Head, fault: Option<Fault>, begun: Begun) -> Option<Todo> {
        self.next = self.next.wrapping_add(1);
        if fault.is_some() {
            self.queue.count_fault();
        }
        match begun {
            Begun::Submit(todo) => return Some(todo),
            Begun::Answered(status) => self.end_untaken(head, status),
            Begun::Unanswerable => self.queue.complete(head, 0),
            Begun::Twice => {
                self.queue.abandon();
                self.queue.break_off();
            }
        }
        None
    }

    /// (3): submits a request; false if it has to wait.
    fn submit(&mut self, volume: &mut VolumeHandle<'_>, mut request: InHand, room: &mut usize) -> bool {
        match self.try_submit(volume, &mut request) {
            Ok(()) => *room = room.wrapping_sub(1),
            Err(Refusal::Full) => {
                self.in_hand = Some(request);
                return false;
            }
            Err(Refusal::Failed(status)) => self.end_untaken(request.head, status),
        }
        true
    }

    fn try_submit(&mut self, volume: &mut VolumeHandle<'_>, request: &mut InHand) -> Result<(), Refusal> {
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

    /// (4) for a request that no volume has.
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

/// Reads a chain of any kind, and gives it a slot.
fn begin_any(chain: Chain<'_>, rules: &Rules, ranges: &mut Ranges, slots: &mut RequestSlots) -> Begun {
    let Some(slot) = slots.free(chain.head) else { return Begun::Twice };
    let Some(Request { status, written, todo }) = rules.read(chain, ranges) else {
        return Begun::Unanswerable;
    };
    slot.begin(status, written);
    slots.add_busy(1);
    match todo {
        Ok(Some(todo)) => Begun::Submit(todo),
        Ok(None) => Begun::Answered(Status::Success),
        Err(status) => Begun::Answered(status),
    }
}

/// Adds requests to a run, as far as they are transfers that the device takes at once, and gives
/// them slots; returns how many.
///
/// Not inlined: a loop that is alone keeps its values in registers.
#[inline(never)]
fn begin<'a>(
    chains: impl Iterator<Item = Framed<'a>>,
    (session, rules): (SessionId, &Rules),
    slots: &mut RequestSlots,
    run: &mut Run<'_, '_, 'a>,
) -> usize {
    let begun = chains.map_while(|chain| {
        let slot = slots.free(chain.head)?;
        let Transfer { status, written, operation, lba, blocks, data } = rules.read_framed(&chain)?;
        let tag = Tag::new(session.0, chain.head.0);
        run.add(&luge_block::Request { tag, operation, lba, blocks, data })?;
        slot.begin(status, written);
        Some(())
    });
    let begun = begun.count();
    slots.add_busy(begun);
    begun
}

impl Session for BlkSession {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

    #[inline]
    fn take(&mut self, graph: &mut Graph, allowance: Work) -> Took {
        let waiting = self.waiting();
        // An idle ring costs no more than this.
        if waiting == 0 && self.next == self.batch.len() && self.in_hand.is_none() {
            return Took::Nothing;
        }
        let Some(mut volume) = graph.volume(self.volume) else { return Took::NoRoom };
        let mut room = volume.room().min(BATCH).min(allowance.number_of(Work::REQUEST));
        if room == 0 {
            return Took::NoRoom;
        }
        self.batch.allow(allowance.number_of(Work::DESCRIPTOR));
        let before = self.slots.blocks_taken();
        let resumed = usize::from(self.in_hand.is_some());
        if resumed > 0
            && let Some(request) = self.in_hand.take()
            && !self.submit(&mut volume, request, &mut room)
        {
            return Took::NoRoom;
        }
        if waiting > 0 {
            self.refill(waiting, room);
        }
        let first = self.next;
        self.serve(&mut volume, &mut room);
        self.took(self.next.wrapping_sub(first).wrapping_add(resumed), before)
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
        let waiting = self.in_flight() > self.slots.busy() || self.in_hand.is_some();
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
        // No more than the batch has was read, and no more is in flight than the ring is long.
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
