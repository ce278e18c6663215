//! Blocks of a volume that one core does not work on, because somebody has fenced or locked them.
//!
//! ```text
//!  (1) none     --raise, drain-->          (2) draining: the volume takes no request
//!  (2) draining --nothing in flight-->     (3) holding: it takes those outside of the blocks
//!  (2) draining --nothing in flight, and no blocks held--> (1)
//!  (2) (3)      --lift-->                  (1), or what others leave
//! ```
//!
//! A fence drains when nothing is in flight at all. A lock drains when all that is in flight waits for a lock itself, or
//! is known to have other blocks: that is known of requests in parts and in steps, which may take long.
//! A drain is a fence around no blocks, which lifts itself.
//!
//! A request that is not taken is refused as where there is no room: whoever made it keeps it, and
//! submits it again. Flushes have no blocks; they are held in (2) only. A compare-and-write obeys fences only: its
//! lock has its own turn (`locks`).

use heapless::Vec;
use luge_block::{BlockRange, CopyRange, Lba, Operation, Request};
use std::ops::Range;
use thiserror::Error;

/// The most fences of one volume at once.
const FENCES_MAX: usize = 8;

/// The most locks of one volume that are told apart. While there are more, all its blocks are held.
const LOCKS_MAX: usize = 16;

/// Why a volume cannot be fenced.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a volume has at most {FENCES_MAX} fences at once: lift another one first")]
pub struct TooManyFences;

/// A fence of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct FenceId(pub(crate) u32);

/// Blocks that are held. `Id` is the name of a fence, none for a drain, or the ticket of a lock.
struct Held<Id> {
    id: Id,
    blocks: Range<u64>,
    drained: bool,
    /// Whether a lock is still there. Of a fence: always.
    seen: bool,
}

impl<Id> Held<Id> {
    fn new(id: Id, blocks: Range<u64>) -> Self {
        Self { id, blocks, drained: false, seen: true }
    }

    fn touches(&self, lba: Lba, blocks: u32) -> bool {
        let end = lba.0.saturating_add(blocks.into());
        lba.0 < self.blocks.end && self.blocks.start < end
    }
}

/// The fences and locks of one volume on one core.
#[derive(Default)]
pub(crate) struct Hold {
    /// One more than fences, for a drain.
    fences: Vec<Held<Option<FenceId>>, { FENCES_MAX + 1 }>,
    locks: Vec<Held<u64>, LOCKS_MAX>,
    /// Whether all blocks are held: before the locks are known, and while there are too many.
    all: bool,
    /// Whether nothing is in flight that began before all blocks were held.
    all_drained: bool,
    is_closed: bool,
}

impl Hold {
    /// A hold on all blocks, until the locks are known.
    pub(crate) fn on_all() -> Self {
        Self { all: true, is_closed: true, ..Self::default() }
    }

    /// Whether nothing is held.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.is_closed
    }

    /// Whether no request is taken at all: (2).
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.is_closed && self.has_undrained()
    }

    #[cold]
    fn has_undrained(&self) -> bool {
        self.all || self.fences.iter().any(|fence| !fence.drained) || self.is_draining_locks()
    }

    /// Whether a lock waits for what is in flight.
    pub(crate) fn is_draining_locks(&self) -> bool {
        self.all && !self.all_drained || self.locks.iter().any(|lock| !lock.drained)
    }

    /// Whether a lock waits for requests to some blocks to end.
    pub(crate) fn awaits(&self, lba: Lba, blocks: u32) -> bool {
        let waits = |lock: &Held<u64>| !lock.drained && lock.touches(lba, blocks);
        blocks > 0 && (self.all && !self.all_drained || self.locks.iter().any(waits))
    }

    /// Whether a request, whose blocks count from the start of the volume, is taken.
    #[cold]
    pub(crate) fn takes(&self, request: &Request<'_>) -> bool {
        match request.operation {
            Operation::CompareAndWrite(_) => self.fences_take(request.lba, request.blocks),
            Operation::Flush => !self.is_draining(),
            _ => self.takes_blocks(request.lba, request.blocks),
        }
    }

    /// Whether a range of blocks of the volume is taken.
    pub(crate) fn takes_range(&self, range: &BlockRange) -> bool {
        self.takes_blocks(range.lba, range.blocks)
    }

    /// Whether a source of a copy is taken.
    pub(crate) fn takes_source(&self, source: &CopyRange) -> bool {
        self.takes_blocks(source.lba, source.blocks)
    }

    /// Whether a request to these blocks is taken.
    pub(crate) fn takes_blocks(&self, lba: Lba, blocks: u32) -> bool {
        let touches_lock = || self.locks.iter().any(|lock| lock.touches(lba, blocks));
        !self.is_draining() && self.fences_take(lba, blocks) && !touches_lock()
    }

    fn fences_take(&self, lba: Lba, blocks: u32) -> bool {
        self.fences.iter().all(|fence| fence.drained && !fence.touches(lba, blocks))
    }

    /// (1) to (2): fences blocks.
    pub(crate) fn raise(&mut self, id: FenceId, blocks: Range<u64>) -> Result<(), TooManyFences> {
        let raised = self.fences.iter().filter(|fence| fence.id.is_some()).count();
        if raised == FENCES_MAX {
            return Err(TooManyFences);
        }
        self.fences.push(Held::new(Some(id), blocks)).map_err(|_| TooManyFences)?;
        self.is_closed = true;
        Ok(())
    }

    /// Whether a fence, or a drain, waits for what is in flight.
    pub(crate) fn is_draining_fences(&self) -> bool {
        self.fences.iter().any(|fence| !fence.drained)
    }

    /// (1) or (3) to (2), until nothing is in flight.
    pub(crate) fn drain(&mut self) {
        if self.fences.iter().all(|fence| fence.id.is_some()) {
            // There is room for one.
            let _ = self.fences.push(Held::new(None, 0..0));
            self.is_closed = true;
        }
    }

    /// (2) to (3), or to (1): nothing is in flight.
    pub(crate) fn drained(&mut self) {
        self.fences.retain(|fence| fence.id.is_some());
        self.fences.iter_mut().for_each(|fence| fence.drained = true);
        self.close_or_open();
    }

    /// (2) or (3) to (1): lifts a fence.
    pub(crate) fn lift(&mut self, id: FenceId) {
        self.fences.retain(|fence| fence.id != Some(id));
        self.close_or_open();
    }

    /// Begins a look at all locks: each is then kept ([`Self::keep_lock`]), or is gone ([`Self::end_locks`]).
    pub(crate) fn begin_locks(&mut self) {
        self.locks.iter_mut().for_each(|lock| lock.seen = false);
        self.all = false;
    }

    /// Keeps a lock, or adds it: (1) to (2).
    pub(crate) fn keep_lock(&mut self, ticket: u64, blocks: Range<u64>) {
        let known = self.locks.iter_mut().find(|lock| lock.id == ticket);
        match known {
            Some(lock) => lock.seen = true,
            None => self.all |= self.locks.push(Held::new(ticket, blocks)).is_err(),
        }
    }

    /// Lifts the locks that were not kept: to (1).
    pub(crate) fn end_locks(&mut self) {
        self.locks.retain(|lock| lock.seen);
        self.all_drained &= self.all;
        self.close_or_open();
    }

    /// (2) to (3): all that is in flight waits for a lock.
    pub(crate) fn locks_drained(&mut self) {
        self.locks.iter_mut().for_each(|lock| lock.drained = true);
        self.all_drained = self.all;
    }

    /// Whether nothing is in flight that a lock waits for.
    pub(crate) fn has_drained(&self, ticket: u64) -> bool {
        let lock = self.locks.iter().find(|lock| lock.id == ticket);
        lock.map_or(self.all_drained, |lock| lock.drained)
    }

    fn close_or_open(&mut self) {
        self.is_closed = self.all || !self.fences.is_empty() || !self.locks.is_empty();
    }
}
