//! The split ring (virtio 1.3, clause 2.7), device side.
//!
//! Path: guest ring -> **here** -> session -> volume -> channel -> SSD.
//!
//! A take works in stages over a whole batch. Each stage prefetches the memory of the next one, so that cache
//! misses overlap:
//!
//! ```text
//! avail.idx -> heads -> first descriptors -> chains -> (the session) headers
//! ```
//!
//! Each stage is a function that is not inlined, so that its loop keeps its values in registers.
//!
//! Invariants
//! - `avail.idx` is loaded (Acquire) once per batch, before anything it announces.
//! - `used.idx` is stored (Release) once per batch, after the elements it publishes.
//! - A queue that is tracked marks what it takes, and has marked all of it before `used.idx` is stored.
//! - The guest's memory stays mapped while a chain was taken and not given back: for ever, if the queue is
//!   dropped before that.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::batch::{BATCH, Batch, Record, Shape};
use crate::chain::Head;
use crate::chain_layout::ChainLayout;
use crate::descriptor::RawDescriptor;
use crate::ending::ChainStart;
use crate::fast_walk::walk_fast;
use crate::general_walk::Stop;
use crate::inflight::{Entries, Inflight, InflightError, InflightRegion, RingIndices};
use crate::layout::{IDX, QueueSize, RingError, RingLayout, Rings};
use crate::long::{LongChain, LongWalk};
use crate::notifications::Notifications;
use crate::slow_path::SlowPath;
use crate::state::RingState;
use luge_memory::{GuestAddress, GuestMemory, Span};
use luge_spec::virtio::split::{AVAILABLE_NO_INTERRUPT, DescriptorFlags, USED_NO_NOTIFY, passed_event};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

/// Half-words of the available and used rings.
const FLAGS: u32 = 0;
const HEADS: u32 = 2;

/// Used elements in a cache line.
const ELEMENTS_PER_LINE: usize = 8;

/// Heads in a cache line.
const HEADS_PER_LINE: usize = 32;

/// Reason why a queue cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// `avail.idx` is further ahead than the ring is long.
    Index,
    /// A chain is said to start past the end of the descriptor table.
    Head,
}

/// A split ring.
pub struct SplitQueue {
    rings: Rings,
    size: QueueSize,
    notifications: Notifications,
    next_available: u16,
    next_used: u16,
    /// Used index that the driver can see.
    published: u16,
    /// Whether nothing was published yet: an interrupt of before may be due.
    fresh: bool,
    broken: Option<Broken>,
    inflight: Option<Inflight>,
    /// Distance of the available index from the used one if all chains that were taken are given back.
    distance: u16,
    memory: Arc<GuestMemory>,
    layout: RingLayout,
}

impl SplitQueue {
    /// Makes a queue whose next chain is that of available index `base`.
    ///
    /// # Errors
    /// [`RingError`] if the ring is not in `memory` as it must be.
    ///
    /// # Safety
    /// The caller uses the spans of a chain only until it gives the chain back or abandons it.
    pub unsafe fn new(
        layout: &RingLayout,
        notifications: Notifications,
        base: u16,
        memory: Arc<GuestMemory>,
    ) -> Result<Self, RingError> {
        // SAFETY: the caller's promise.
        let mut queue = unsafe { Self::map(layout, notifications, memory) }?;
        let used = u16::from_le(queue.rings.used.load(IDX, Relaxed));
        queue.set_indices(base, used);
        Ok(queue)
    }

    /// Makes a queue that goes on where one with this state has stopped. Its driver is interrupted once more
    /// than it has asked for, at the first [`Self::publish`].
    ///
    /// A state that is tracked needs [`Self::track`] with the same region, before the first take.
    ///
    /// # Errors
    /// [`RingError`] if the ring is not in `memory` as it must be.
    ///
    /// # Safety
    /// As of [`Self::new`].
    pub unsafe fn resume(state: &RingState, memory: Arc<GuestMemory>) -> Result<Self, RingError> {
        // SAFETY: the caller's promise.
        let mut queue = unsafe { Self::map(&state.layout()?, state.notifications, memory) }?;
        queue.set_indices(state.next_available, state.used_index);
        Ok(queue)
    }

    /// Makes a queue with indices of zero.
    ///
    /// # Safety
    /// As of [`Self::new`].
    unsafe fn map(
        layout: &RingLayout,
        notifications: Notifications,
        memory: Arc<GuestMemory>,
    ) -> Result<Self, RingError> {
        // SAFETY: the queue keeps the memory next to the rings.
        let rings = unsafe { Rings::map(layout, &memory) }?;
        let mut queue = Self {
            rings,
            size: layout.size,
            notifications,
            next_available: 0,
            next_used: 0,
            published: 0,
            fresh: true,
            broken: None,
            inflight: None,
            distance: 0,
            memory,
            layout: *layout,
        };
        queue.disarm();
        Ok(queue)
    }

    /// Sets the indices of a queue that holds no chain.
    fn set_indices(&mut self, next_available: u16, used: u16) {
        (self.next_available, self.next_used, self.published) = (next_available, used, used);
        self.distance = next_available.wrapping_sub(used);
    }

    /// State of the ring, for [`Self::resume`] in another process; none while chains that were taken are not
    /// given back and published, or chains of an earlier process are still to be taken.
    #[must_use]
    pub fn state(&self) -> Option<RingState> {
        let is_settled = self.held() == 0 && self.resubmits() == 0 && self.published == self.next_used;
        let RingLayout { size, descriptors, available, used } = self.layout;
        is_settled.then(|| RingState {
            size: size.get(),
            descriptors: descriptors.0,
            available: available.0,
            used: used.0,
            notifications: self.notifications,
            next_available: self.next_available,
            used_index: self.published,
            is_tracked: self.inflight.is_some(),
        })
    }

    /// Tracks in `region` what is in flight, from now on. Called before the first take.
    ///
    /// Where an earlier process has used the region, the queue goes on where that one ended: the chains
    /// that it had in flight are taken first, then the next one of the available ring, whatever the base.
    ///
    /// # Errors
    /// [`InflightError`]; the region is as it was then.
    pub fn track(&mut self, region: InflightRegion) -> Result<(), InflightError> {
        let available = u16::from_le(self.rings.available.load(IDX, Acquire));
        let ring = RingIndices { size: self.size, available, used: self.next_used };
        let (inflight, next_available) = Inflight::resume(region, &ring)?;
        self.next_available = next_available.unwrap_or(self.next_available);
        self.inflight = Some(inflight);
        self.distance = self.distance.wrapping_add(self.held());
        Ok(())
    }

    /// Number of chains that were taken and are neither given back nor abandoned.
    fn held(&self) -> u16 {
        let resubmits = u16::try_from(self.resubmits()).unwrap_or(0);
        let taken = self.next_available.wrapping_sub(resubmits);
        taken.wrapping_sub(self.next_used).wrapping_sub(self.distance)
    }

    /// Abandons a chain that was taken: the driver has broken the ring, and it is never given back.
    pub fn abandon(&mut self) {
        self.distance = self.distance.wrapping_add(1);
    }

    /// Chains that an earlier process had in flight and that are still to be taken. A queue that is to
    /// stop takes them first.
    #[inline]
    #[must_use]
    pub fn resubmits(&self) -> usize {
        self.inflight.as_ref().map_or(0, Inflight::resubmits)
    }

    /// Uses another table of guest memory from now on; returns the one before, for the
    /// caller to drop where that may take time.
    ///
    /// # Safety
    /// `memory` has all regions of the one before.
    #[must_use]
    pub unsafe fn replace_memory(&mut self, memory: Arc<GuestMemory>) -> Arc<GuestMemory> {
        std::mem::replace(&mut self.memory, memory)
    }

    /// The available index of the next chain to take.
    #[must_use]
    pub fn next_available(&self) -> u16 {
        self.next_available
    }

    /// Reason why the queue is broken, if it is.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Takes up to `limit` chains, or [`BATCH`] if that is less, in place of what was in `batch`.
    ///
    /// # Errors
    /// [`Broken`], from then on for ever; what was taken before can still be completed.
    #[inline]
    pub fn take<L: ChainLayout>(&mut self, batch: &mut Batch<L>, limit: usize) -> Result<(), Broken> {
        let waiting = self.waiting()?;
        self.take_waiting(batch, waiting.min(limit))
    }

    /// Takes `count` chains of those that [`Self::waiting`] has counted, or [`BATCH`] if that is less.
    ///
    /// # Errors
    /// As of [`Self::take`].
    #[inline]
    pub fn take_waiting<L: ChainLayout>(&mut self, batch: &mut Batch<L>, count: usize) -> Result<(), Broken> {
        (batch.len, batch.walked, batch.long, batch.steps) = (0, 0, None, 0);
        if self.inflight.is_some() {
            return self.take_tracked(batch, count);
        }
        self.take_new(batch, count)
    }

    /// Takes chains of the available ring.
    #[inline]
    fn take_new<L: ChainLayout>(&mut self, batch: &mut Batch<L>, count: usize) -> Result<(), Broken> {
        let count = count.min(BATCH);
        if count == 0 {
            return Ok(());
        }
        let records = batch.records.get_mut(..count).unwrap_or_default();
        if let [alone] = records {
            self.prefetch_previous(alone);
        }
        self.load_heads(records)?;
        self.follow(batch, count, self.next_available);
        // At most BATCH, so the conversion cannot fail.
        self.next_available = self.next_available.wrapping_add(u16::try_from(batch.len).unwrap_or(0));
        Ok(())
    }

    /// Takes chains and marks them; first those that an earlier process had in flight, which are marked.
    #[inline(never)]
    fn take_tracked<L: ChainLayout>(&mut self, batch: &mut Batch<L>, count: usize) -> Result<(), Broken> {
        if self.resubmits() > 0 {
            self.take_resubmits(batch, count);
            return Ok(());
        }
        self.take_new(batch, count)?;
        if let Some(inflight) = &mut self.inflight {
            inflight.mark_taken(batch.records.get(..batch.len).unwrap_or_default());
        }
        Ok(())
    }

    /// Takes chains that an earlier process had in flight. Their available indices are those before the next
    /// new chain, as if they had not been taken.
    #[cold]
    fn take_resubmits<L: ChainLayout>(&mut self, batch: &mut Batch<L>, limit: usize) {
        let Some(inflight) = &self.inflight else { return };
        let heads = inflight.next_resubmits(limit.min(BATCH));
        let count = batch.records.iter_mut().zip(heads).map(|(record, head)| record.head = head).count();
        let before = u16::try_from(inflight.resubmits()).unwrap_or(0);
        self.follow(batch, count, self.next_available.wrapping_sub(before));
        if let Some(inflight) = &mut self.inflight {
            inflight.resubmitted(batch.len);
        }
    }

    /// Walks chains again that were taken and not given back, [`BATCH`] at most, in place of what was in `batch`. Fewer
    /// are walked where a take would walk fewer. Not to be called while an earlier process's chains are still to be taken.
    pub fn take_again<L: ChainLayout>(&mut self, batch: &mut Batch<L>, heads: impl Iterator<Item = Head>) {
        (batch.len, batch.walked, batch.long, batch.steps) = (0, 0, None, 0);
        let size = self.size;
        let heads = heads.filter(|head| head.0 < size.get());
        let count = batch.records.iter_mut().zip(heads).map(|(record, head)| record.head = head).count();
        // Available indices that no chain has which waits: a search of one of those goes on.
        const BEFORE: u16 = 1 << 8;
        self.follow(batch, count, self.next_available.wrapping_sub(BEFORE));
    }

    /// Stages 3 and 4: walks the chains of the first `count` heads, which have the available indices from `first`.
    #[inline]
    fn follow<L: ChainLayout>(&self, batch: &mut Batch<L>, count: usize, first: u16) {
        let Batch { records, spans, search, len, walked, long, steps_allowed, steps } = batch;
        let records = records.get_mut(..count).unwrap_or_default();
        self.fetch_used(count);
        self.look_ahead(records);
        let spans = Batch::<L>::listed(spans);
        let mut slow = SlowPath::new(&self.rings.descriptors, self.size, spans, search, *steps_allowed);
        *len = self.walk_all(records, first, &mut slow, long);
        *steps = slow.steps();
        *walked = len.wrapping_sub(usize::from(long.is_some()));
    }

    /// Stage 1: number of chains that wait: those that an earlier process had in flight, or those that the
    /// driver has made available.
    ///
    /// # Errors
    /// As of [`Self::take`].
    #[inline]
    pub fn waiting(&mut self) -> Result<usize, Broken> {
        match self.resubmits() {
            0 => self.available(),
            resubmits => Ok(resubmits),
        }
    }

    /// Number of chains that the driver has made available.
    #[inline]
    fn available(&mut self) -> Result<usize, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        // Acquire: the heads and descriptors that the index announces are loaded after it.
        let index = u16::from_le(self.rings.available.load(IDX, Acquire));
        let waiting = index.wrapping_sub(self.next_available);
        if waiting > self.size.get() {
            return Err(self.fail(Broken::Index));
        }
        Ok(waiting.into())
    }

    /// Prefetches the lines of the previous chain for a chain that is alone in its batch, whose cache misses
    /// overlap with no others: a driver with one request at a time uses the same lines again.
    #[inline]
    fn prefetch_previous<L: ChainLayout>(&self, last: &Record<L>) {
        if let Shape::Single(request) = &last.shape {
            self.rings.descriptors.prefetch(last.head.0.into());
            let (header, response): (Span, Span) = (request.header.into(), request.response.into());
            response.prefetch_to_write();
            header.prefetch();
        }
    }

    /// Stage 2: loads the heads.
    #[inline(never)]
    fn load_heads<L: ChainLayout>(&mut self, records: &mut [Record<L>]) -> Result<(), Broken> {
        let (heads, size) = (self.rings.heads, self.size);
        let mut index = u32::from(self.next_available);
        for line in 1..=records.len().div_ceil(HEADS_PER_LINE) {
            heads.prefetch(index.wrapping_add(number(line.wrapping_mul(HEADS_PER_LINE))));
        }
        for Record { head, .. } in records {
            *head = Head(u16::from_le(heads.load(index, Relaxed)));
            if head.0 >= size.get() {
                return Err(self.fail(Broken::Head));
            }
            self.rings.descriptors.prefetch(head.0.into());
            index = index.wrapping_add(1);
        }
        Ok(())
    }

    /// Prefetches the elements of the used ring for `count` chains.
    #[inline]
    fn fetch_used(&self, count: usize) {
        for ahead in (0..count).step_by(ELEMENTS_PER_LINE) {
            self.rings.elements.prefetch_to_write(u32::from(self.next_used).wrapping_add(number(ahead)));
        }
    }

    /// Stage 3: loads the first descriptors, and prefetches what they refer to.
    #[inline(never)]
    fn look_ahead<L: ChainLayout>(&self, records: &mut [Record<L>]) {
        let mut lookup = self.memory.lookup();
        for Record { head, descriptor, .. } in records {
            // The head was checked, so there is such a descriptor.
            let Some(first) = RawDescriptor::load(&self.rings.descriptors, head.0) else { continue };
            *descriptor = first;
            if first.is(DescriptorFlags::INDIRECT) {
                // SAFETY: the span is used at once, and its bytes not at all.
                let table = unsafe { lookup.span(GuestAddress(first.address), first.len()) };
                table.inspect(Span::prefetch);
            } else {
                self.rings.descriptors.prefetch(first.next().into());
            }
        }
    }

    /// Continues the walk of the long chain at the end of a batch, always with the same `list`. None while
    /// there is more of the chain to walk.
    ///
    /// # Panics
    /// If there is no such chain.
    pub fn walk_long<L: ChainLayout>(&self, batch: &mut Batch<L>, list: &mut [Span]) -> Option<LongChain> {
        let Batch { long, search, steps_allowed, steps, .. } = batch;
        let walk = long.as_mut().expect("the batch ends with a long chain");
        walk.allowed = *steps_allowed;
        *steps = steps.saturating_add(*steps_allowed);
        let chain = walk.step(&mut self.memory.lookup(), &self.rings.descriptors, list, search)?;
        *long = None;
        Some(chain)
    }

    /// Refuses the long chain at the end of a batch: its next steps search its response, as of a chain at fault. Has no
    /// effect on one that is refused already.
    ///
    /// # Panics
    /// If there is no such chain.
    pub fn refuse_long<L: ChainLayout>(&self, batch: &mut Batch<L>) {
        let Batch { long, search, .. } = batch;
        long.as_mut().expect("the batch ends with a long chain").refuse(search);
    }

    /// Stage 4: walks the chains; returns the number of those that fit. The next take takes the others again.
    #[inline(never)]
    fn walk_all<L: ChainLayout>(
        &self,
        records: &mut [Record<L>],
        first: u16,
        slow: &mut SlowPath<'_>,
        long: &mut Option<LongWalk>,
    ) -> usize {
        let (ring, mut lookup) = (self.rings.descriptors, self.memory.lookup());
        for (at, record) in records.iter_mut().enumerate() {
            if let Some(request) = walk_fast(&mut lookup, &ring, record.descriptor) {
                record.shape = Shape::Single(request);
            } else {
                let index = first.wrapping_add(u16::try_from(at).unwrap_or(0));
                let start = ChainStart { index, head: record.head, descriptor: record.descriptor };
                match slow.walk(start, &mut lookup) {
                    Ok((fault, extent)) => record.shape = Shape::Listed { fault, extent },
                    Err(Stop::Long(longest)) => {
                        *long = Some(LongWalk::new(record.head, record.descriptor, longest));
                        record.shape = Shape::Listed { fault: None, extent: slow.beginning() };
                        return at.wrapping_add(1);
                    }
                    Err(_) => return at,
                }
            }
        }
        records.len()
    }

    /// Gives a chain back, with `written` bytes written from the start of its writable part.
    /// The driver sees it after the next [`Self::publish`].
    #[inline]
    pub fn complete(&mut self, head: Head, written: u32) {
        self.complete_all(std::iter::once((head, written)));
    }

    /// Gives several chains back, each with the number of bytes written, as [`Self::complete`] does.
    #[inline]
    pub fn complete_all(&mut self, ended: impl Iterator<Item = (Head, u32)>) {
        // By value: the stores below could be to anything, as far as the compiler knows.
        let (elements, mut next) = (self.rings.elements, u32::from(self.next_used));
        for (head, written) in ended {
            elements.store(next, [u32::from(head.0).to_le(), written.to_le()], Relaxed);
            next = next.wrapping_add(1);
        }
        self.next_used = (next & 0xffff) as u16;
    }

    /// Shows the driver all completed chains. Returns whether it wants an interrupt.
    #[inline]
    #[must_use]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_used);
        if old == new {
            return false;
        }
        match &mut self.inflight {
            None => self.rings.set_used_index(new),
            Some(inflight) => inflight.publish(&self.rings, Entries { start: old, end: new }),
        }
        self.published = new;
        // The driver stores what it wants and then looks at `used.idx`; we do it the other
        // way round. Without this fence both could miss the other's store.
        fence(SeqCst);
        match self.notifications {
            Notifications::Flags => {
                u16::from_le(self.rings.available.load(FLAGS, Relaxed)) & AVAILABLE_NO_INTERRUPT == 0
            }
            Notifications::EventIndex => {
                let used_event = HEADS.wrapping_add(self.size.get().into());
                let event = u16::from_le(self.rings.available.load(used_event, Relaxed));
                std::mem::replace(&mut self.fresh, false) || passed_event(event, old, new)
            }
        }
    }

    /// Asks the driver to kick for the next chain. Returns whether one is there already:
    /// then no kick may come.
    #[must_use]
    pub fn arm(&mut self) -> bool {
        match self.notifications {
            Notifications::Flags => self.rings.used.store(FLAGS, 0, Relaxed),
            Notifications::EventIndex => {
                let avail_event = u32::from(self.size.get()).wrapping_mul(4).wrapping_add(HEADS);
                self.rings.used.store(avail_event, self.next_available.to_le(), Relaxed);
            }
        }
        // The mirror image of the one in `publish`.
        fence(SeqCst);
        u16::from_le(self.rings.available.load(IDX, Relaxed)) != self.next_available || self.resubmits() > 0
    }

    /// Tells the driver that kicks are not needed.
    pub fn disarm(&mut self) {
        let flags = match self.notifications {
            Notifications::Flags => USED_NO_NOTIFY,
            // The index of the last arming has been passed, which is as good.
            Notifications::EventIndex => 0,
        };
        self.rings.used.store(FLAGS, flags.to_le(), Relaxed);
    }

    fn fail(&mut self, broken: Broken) -> Broken {
        self.broken = Some(broken);
        broken
    }
}

/// An index below the length of a batch.
#[inline]
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(0)
}

impl Drop for SplitQueue {
    /// Leaves the memory mapped if chains were not given back: their spans may still be in use.
    fn drop(&mut self) {
        if self.held() != 0 {
            std::mem::forget(self.memory.clone());
        }
    }
}
