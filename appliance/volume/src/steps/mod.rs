//! Operations that bases do not do by themselves, beneath a volume: reads and writes of memory of our own. Compares,
//! verifies, compare-and-writes, copies, and what only volumes have ([`Stepped`](luge_block::Stepped)).
//!
//! Path: session -> volume -> **steps** -> channel or node.
//!
//! A volume that gets such a request, and whose base does not do it by itself, gives it a slot (`slot.rs`). Its
//! parts are submitted in later turns, one at a time, a bounded number in each turn for all requests together.
//!
//! Invariants
//! - Nothing is allocated after the core's graph, or a channel, was made.
//! - Every request that was taken ends once. After a failure or a difference nothing more of it is submitted.
//! - No volume keeps another from a slot for longer than a request takes (`shelf.rs`), which is of at most
//!   [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX); the cutter makes such parts of longer ones.
//! - A compare-and-write reads and writes only while its blocks are locked on all cores (`locks`).
//!
//! Slots are shared by the volumes on all devices that take any memory, and by those on each device that has memory
//! of its own.

#![expect(unsafe_code, reason = "spans of the buffers are addresses")]

mod data;
mod slot;

pub use slot::CopyRequest;
pub(crate) use slot::{Slot, Step};

use crate::VolumeId;
use crate::limits::{RANGES_MAX, STEP_SPANS_MAX, STEPS_PER_TURN};
use crate::shelf::{Asker, Shelf, SlotId};
use luge_block::{BLOCK_BUFFER_BYTES, Completion, Lba, STEP_MEMORY_BYTES};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use std::collections::VecDeque;

/// Number of slots of a pool.
const SLOTS: u16 = (STEP_MEMORY_BYTES / BLOCK_BUFFER_BYTES) as u16;

/// Slots with memory that one device reaches, or that of the core.
struct Pool {
    slots: Box<[Slot]>,
    shelf: Shelf,
}

impl Pool {
    fn new(memory: Span, first: u16) -> Self {
        let mut rest = memory;
        let buffers = std::iter::repeat_with(|| {
            let (buffer, after) = rest.split_at(BLOCK_BUFFER_BYTES);
            rest = after;
            buffer
        });
        let slots = buffers.take(SLOTS.into()).map(|buffer| Slot::new(buffer, RANGES_MAX, STEP_SPANS_MAX));
        Self { slots: slots.collect(), shelf: Shelf::new((first..first + SLOTS).map(SlotId)) }
    }
}

/// Pool of slots that a volume uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub(crate) struct PoolId(u16);

/// The slots of a core.
pub(crate) struct Steps {
    /// The first one is the core's own.
    pools: Vec<Option<Pool>>,
    /// Memory of the first pool.
    _memory: DmaMemory,
    /// Slots whose requests go on, in their order.
    ready: VecDeque<SlotId>,
    /// Slots whose requests are over, and whose completions are on their way up.
    over: VecDeque<SlotId>,
    /// Number of slots that are not free.
    busy: usize,
}

impl Default for Steps {
    /// # Panics
    /// If there is no memory for one core's buffers.
    fn default() -> Self {
        let memory = DmaMemory::allocate(&DmaSpace::new(), STEP_MEMORY_BYTES.into(), PageSize::Base, None);
        let memory = memory.expect("memory for a core's buffers");
        // SAFETY: the pool is used by methods of the same value only.
        let span = unsafe { memory.span(0, STEP_MEMORY_BYTES) };
        let mut steps = Self {
            pools: Vec::new(),
            _memory: memory,
            ready: VecDeque::new(),
            over: VecDeque::new(),
            busy: 0,
        };
        steps.add_pool(span);
        steps
    }
}

impl Steps {
    /// Adds a pool for a channel with memory of its own; the core's pool is the one of others.
    pub(crate) fn add_pool(&mut self, memory: Option<Span>) -> PoolId {
        let Some(memory) = memory else { return PoolId::default() };
        let index = self.pools.iter().position(Option::is_none).unwrap_or(self.pools.len());
        let Some(first) = u16::try_from(index).ok().and_then(|index| index.checked_mul(SLOTS)) else {
            return PoolId::default();
        };
        if index == self.pools.len() {
            self.pools.push(None);
        }
        if let Some(place) = self.pools.get_mut(index) {
            *place = Some(Pool::new(memory, first));
        }
        let slots = self.pools.len() * usize::from(SLOTS);
        self.ready.reserve(slots);
        self.over.reserve(slots);
        PoolId(first / SLOTS)
    }

    /// Removes the pool of a channel that goes.
    pub(crate) fn remove_pool(&mut self, id: PoolId) {
        if id != PoolId::default()
            && let Some(place) = self.pools.get_mut(usize::from(id.0))
        {
            *place = None;
        }
    }

    /// Whether some request is in steps.
    #[inline]
    pub(crate) fn are_busy(&self) -> bool {
        self.busy > 0
    }

    /// Whether some request goes on, or has a completion on its way up, without an event.
    pub(crate) fn have_work(&self) -> bool {
        !self.ready.is_empty() || !self.over.is_empty()
    }

    /// Takes a slot for a volume, if it may have one.
    pub(crate) fn take(&mut self, pool: PoolId, volume: VolumeId, turn: u32) -> Option<SlotId> {
        let pool = self.pools.get_mut(usize::from(pool.0))?.as_mut()?;
        let holds = pool.slots.iter().filter(|slot| slot.volume == Some(volume)).count();
        let id = pool.shelf.take(Asker { volume, holds, turn })?;
        self.busy += 1;
        self.slot(id).volume = Some(volume);
        Some(id)
    }

    /// A slot.
    ///
    /// # Panics
    /// If there is no such slot: a completion of a step is made up.
    pub(crate) fn slot(&mut self, id: SlotId) -> &mut Slot {
        let pool = self.pools.get_mut(usize::from(id.0 / SLOTS)).and_then(Option::as_mut);
        let slot = pool.and_then(|pool| pool.slots.get_mut(usize::from(id.0 % SLOTS)));
        slot.expect("a slot of a request in steps")
    }

    /// Number of a volume's requests in steps none of whose blocks are awaited, those aside that wait for a lock.
    pub(crate) fn count_apart(&self, volume: VolumeId, awaited: impl Fn(Lba, u32) -> bool + Copy) -> usize {
        let slots = self.pools.iter().flatten().flat_map(|pool| &pool.slots);
        slots.filter(|slot| slot.volume == Some(volume) && slot.is_apart(awaited)).count()
    }

    /// Lends a slot; nothing is in its place until [`Self::put_back`].
    pub(crate) fn take_out(&mut self, id: SlotId) -> Slot {
        std::mem::take(self.slot(id))
    }

    /// Returns a slot. Its request goes on in a later turn, or, if it is over, its completion goes up.
    pub(crate) fn put_back(&mut self, id: SlotId, slot: Slot) {
        *self.slot(id) = slot;
        self.sort_in(id);
    }

    /// Ends parts of requests.
    pub(crate) fn end_parts(&mut self, ended: &[Completion]) {
        for end in ended {
            let id = SlotId(end.tag().slot());
            self.slot(id).end_part(end.status());
            self.sort_in(id);
        }
    }

    /// Lets a compare-and-write go on whose blocks are locked.
    pub(crate) fn locked(&mut self, id: SlotId) {
        self.slot(id).locked();
        self.sort_in(id);
    }

    fn sort_in(&mut self, id: SlotId) {
        match self.slot(id).step {
            Step::Over => self.over.push_back(id),
            Step::ToRead | Step::Read | Step::ToWrite => self.ready.push_back(id),
            Step::Free | Step::Locking | Step::Reading | Step::Writing => {}
        }
    }

    /// Number of requests that go on in this turn.
    pub(crate) fn going(&self) -> usize {
        self.ready.len().min(STEPS_PER_TURN.into())
    }

    /// The slot whose request goes on next, and its volume.
    pub(crate) fn next_going(&mut self) -> Option<(SlotId, VolumeId)> {
        let id = self.ready.pop_front()?;
        Some((id, self.slot(id).volume?))
    }

    /// Frees a slot whose request is over.
    pub(crate) fn next_over(&mut self) -> Option<Over> {
        let id = self.over.pop_front()?;
        let slot = self.slot(id);
        let (completion, differs_at) = slot.end();
        let locked = slot.needs_lock().then_some(id);
        let volume = slot.volume.take()?;
        if let Some(Some(pool)) = self.pools.get_mut(usize::from(id.0 / SLOTS)) {
            pool.shelf.put_back(id);
        }
        self.busy -= 1;
        Some(Over { completion, volume, locked, differs_at })
    }
}

/// A request in steps that is over.
pub(crate) struct Over {
    pub(crate) completion: Completion,
    pub(crate) volume: VolumeId,
    /// Slot of the request, if it has locked blocks.
    pub(crate) locked: Option<SlotId>,
    /// Place of the first byte that differs, if it has found one.
    pub(crate) differs_at: Option<u64>,
}
