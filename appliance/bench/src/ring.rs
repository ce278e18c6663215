//! The driver side of a split ring, with one chain of three descriptors for each slot:
//! header, data, status. A slot's descriptors are written once and change only when a slot
//! turns from reads to writes.

use crate::arena::Arena;
use crate::options::Options;
use luge_memory::{SharedArray, Span};
use luge_spec::virtio::blk::{RequestStatus, RequestType};
use luge_spec::virtio::split::{DescriptorFlags, USED_NO_NOTIFY};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use vmm_sys_util::eventfd::EventFd;

/// Header and status of a slot share a cache line, as in Linux's driver.
const LINE: u32 = 64;
/// Where the status byte is in the line.
const STATUS: u32 = 16;
/// Requests reaped at once, whose lines are brought near together.
pub(crate) const BATCH: usize = 64;

/// Where the server is told the areas of a ring are.
pub(crate) struct Addresses {
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// One request's buffers.
struct Slot {
    data: Span,
    at: u64,
    writes: bool,
    submitted: u64,
    in_flight: bool,
}

/// A request that came back.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) slot: u16,
    pub(crate) status: u8,
    /// When it was submitted, in ticks.
    pub(crate) submitted: u64,
}

/// A ring and its slots.
pub(crate) struct Ring {
    size: u32,
    descriptors: SharedArray<u64>,
    available: SharedArray<u16>,
    used_words: SharedArray<u16>,
    used: SharedArray<u32>,
    headers: SharedArray<u64>,
    lines: SharedArray<u8>,
    slots: Vec<Slot>,
    next_available: u16,
    next_used: u16,
    published: u16,
    events: Option<(EventFd, EventFd)>,
    kicks: u64,
}

impl Ring {
    pub(crate) fn new(options: &Options, memory: &mut Arena) -> (Self, Addresses) {
        let (size, depth) = (options.ring_size(), u32::from(options.iodepth));
        let (descriptors, descriptors_at) = memory.take(size * 16, 4096);
        let (available, available_at) = memory.take(size * 2 + 6, 4096);
        let (used, used_at) = memory.take(size * 8 + 6, 4096);
        let (lines, lines_at) = memory.take(depth * LINE, 4096);
        let align = if options.bs >= 4096 { 4096 } else { 512 };
        let slots = (0..depth).map(|_| {
            let (data, at) = memory.take(options.bs, align);
            Slot { data, at, writes: false, submitted: 0, in_flight: false }
        });
        let ring = Self {
            size,
            descriptors: whole(descriptors),
            available: whole(available),
            used_words: whole(used),
            used: whole(used.split_at(4).1),
            headers: whole(lines),
            lines: whole(lines),
            slots: slots.collect(),
            next_available: 0,
            next_used: 0,
            published: 0,
            events: None,
            kicks: 0,
        };
        // The driver polls: it wants no interrupts.
        ring.available.store(0, 1, Relaxed);
        for slot in 0..ring.depth() {
            ring.describe(slot, lines_at);
        }
        (ring, Addresses { descriptors: descriptors_at, available: available_at, used: used_at })
    }

    pub(crate) fn with_events(mut self, kick: EventFd, call: EventFd, writes: bool) -> Self {
        self.events = Some((kick, call));
        (0..self.depth()).filter(|_| writes).for_each(|slot| self.turn(slot, true));
        self
    }

    /// Number of slots.
    pub(crate) fn depth(&self) -> u16 {
        u16::try_from(self.slots.len()).unwrap_or(u16::MAX)
    }

    /// The data of a slot.
    pub(crate) fn data(&self, slot: u16) -> Span {
        self.slots[usize::from(slot)].data
    }

    /// Requests not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        usize::from(self.next_available.wrapping_sub(self.next_used))
    }

    /// Eventfd writes to the server so far.
    pub(crate) fn kicks(&self) -> u64 {
        self.kicks
    }

    /// Interrupts from the server so far.
    pub(crate) fn calls(&self) -> u64 {
        // Nothing to read: none came.
        self.events.as_ref().and_then(|(_, call)| call.read().ok()).unwrap_or(0)
    }

    /// Puts a request into the ring; [`Self::publish`] shows it to the server.
    #[inline]
    pub(crate) fn submit(&mut self, slot: u16, (writes, sector): (bool, u64), now: u64) {
        if self.slots[usize::from(slot)].writes != writes {
            self.turn(slot, writes);
        }
        let entry = &mut self.slots[usize::from(slot)];
        (entry.submitted, entry.in_flight) = (now, true);
        self.headers.store(u32::from(slot) * (LINE / 8) + 1, sector, Relaxed);
        let at = u32::from(self.next_available) & (self.size - 1);
        self.available.store(2 + at, slot * 3, Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows all submitted requests to the server, and kicks it if it asked for that.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.published == self.next_available {
            return;
        }
        self.published = self.next_available;
        // Release: the entries are there before the index that covers them.
        self.available.store(1, self.next_available, Release);
        // The index before the flag: the server sets the flag and then looks at the index.
        fence(SeqCst);
        if self.used_words.load(0, Relaxed) & USED_NO_NOTIFY == 0 {
            self.kicks += 1;
            // It fails only when the counter is full: the server has a kick waiting.
            self.events.iter().for_each(|(kick, _)| drop(kick.write(1)));
        }
    }

    /// Takes requests that came back; how many. An answer that nobody asked for is an error.
    #[inline]
    pub(crate) fn reap(&mut self, done: &mut [Done; BATCH]) -> Result<usize, u32> {
        // Acquire: what the index covers is there.
        let ready = usize::from(self.used_words.load(1, Acquire).wrapping_sub(self.next_used)).min(BATCH);
        for (entry, i) in done.iter_mut().zip(0u16..).take(ready) {
            let at = u32::from(self.next_used.wrapping_add(i)) & (self.size - 1);
            let id = self.used.load(at * 2, Relaxed);
            let slot = u16::try_from(id / 3).unwrap_or(u16::MAX);
            let asked = self.slots.get_mut(usize::from(slot)).filter(|s| s.in_flight && id.is_multiple_of(3));
            let asked = asked.ok_or(id)?;
            asked.in_flight = false;
            *entry = Done { slot, status: 0, submitted: asked.submitted };
            self.lines.prefetch(u32::from(slot) * LINE);
        }
        for entry in done.iter_mut().take(ready) {
            entry.status = self.lines.load(u32::from(entry.slot) * LINE + STATUS, Relaxed);
        }
        self.next_used = self.next_used.wrapping_add(u16::try_from(ready).unwrap_or(0));
        Ok(ready)
    }

    /// Writes a slot's three descriptors and its header, for reads.
    fn describe(&self, slot: u16, lines_at: u64) {
        let entry = &self.slots[usize::from(slot)];
        let line = lines_at + u64::from(slot) * u64::from(LINE);
        let first = u32::from(slot) * 3;
        let (next, write) = (DescriptorFlags::NEXT, DescriptorFlags::WRITE);
        self.descriptor(first, (line, 16), (next, first + 1));
        self.descriptor(first + 1, (entry.at, entry.data.len()), (next | write, first + 2));
        self.descriptor(first + 2, (line + u64::from(STATUS), 1), (write, 0));
        self.headers.store(u32::from(slot) * (LINE / 8), u64::from(RequestType::IN.0.get()), Relaxed);
        self.lines.store(u32::from(slot) * LINE + STATUS, !RequestStatus::OK.0, Relaxed);
    }

    /// Turns a slot to writes or back to reads.
    fn turn(&mut self, slot: u16, writes: bool) {
        let first = u32::from(slot) * 3;
        let entry = &mut self.slots[usize::from(slot)];
        entry.writes = writes;
        let (at, len) = (entry.at, entry.data.len());
        let (kind, flag) =
            if writes { (RequestType::OUT, 0) } else { (RequestType::IN, DescriptorFlags::WRITE) };
        self.headers.store(u32::from(slot) * (LINE / 8), u64::from(kind.0.get()), Relaxed);
        self.descriptor(first + 1, (at, len), (DescriptorFlags::NEXT | flag, first + 2));
    }

    fn descriptor(&self, index: u32, (address, len): (u64, u32), (flags, next): (u16, u32)) {
        self.descriptors.store(index * 2, address, Relaxed);
        let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        self.descriptors.store(index * 2 + 1, rest, Relaxed);
    }
}

fn whole<T: luge_memory::Word>(span: Span) -> SharedArray<T> {
    SharedArray::new(span).expect("areas are aligned to pages, the used elements to their words")
}
