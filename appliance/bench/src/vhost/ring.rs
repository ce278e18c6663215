//! The driver's side of a split ring, with one chain of three descriptors for each slot: header, data and answer. A
//! slot's descriptors are written once, and change only when the slot changes from reads to writes.

use super::kind::{Answer, Kind, Link};
use super::lines::{Buffer, Lines, SlotLines, whole};
use crate::arena::Arena;
use crate::error::BenchError;
use crate::options::Options;
use crate::queue::{BATCH, Done, Notices, Queue, Transfer};
use luge_memory::{SharedArray, Span};
use luge_spec::virtio::split::{AVAILABLE_NO_INTERRUPT, DescriptorFlags, USED_NO_NOTIFY, passed_event};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// First head of the available ring, in half-words.
const HEADS: u32 = 2;
/// Distance from the used index at which an interrupt is asked for: never reached.
const NEVER: u16 = 1 << 15;
/// Bit of the used index whose change moves that on, long before it could be reached.
const MOVES_ON: u16 = 1 << 14;

/// Means by which each side says whether it wants to be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notifications {
    /// A flag each.
    Flags,
    /// An index each (`VIRTIO_F_EVENT_IDX`), as with Linux's driver.
    EventIndex,
}

/// Addresses of a ring's areas, as the server is told them.
pub(crate) struct Addresses {
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// Buffers and state of one request.
struct Slot {
    data: Span,
    at: u64,
    writes: bool,
    submitted: u64,
    in_flight: bool,
}

/// A ring and its slots.
pub(crate) struct Ring<K> {
    kind: K,
    size: u32,
    notifications: Notifications,
    descriptors: SharedArray<u64>,
    available: SharedArray<u16>,
    used_words: SharedArray<u16>,
    used: SharedArray<u32>,
    lines: Lines,
    slots: Vec<Slot>,
    /// Slot of the last request.
    recent: u16,
    next_available: u16,
    next_used: u16,
    published: u16,
    at: Addresses,
    kick: EventFd,
    call: EventFd,
    kicks: u64,
    interrupts: u64,
}

impl<K: Kind> Ring<K> {
    /// # Errors
    /// There is no eventfd to be had.
    pub(crate) fn new(
        options: &Options,
        notifications: Notifications,
        memory: &mut Arena,
    ) -> Result<Self, BenchError> {
        let (size, depth) = (options.ring_size(), u32::from(options.iodepth));
        let (descriptors, descriptors_at) = memory.take(size * 16, 4096);
        let (available, available_at) = memory.take(size * 2 + 6, 4096);
        let (used, used_at) = memory.take(size * 8 + 6, 4096);
        let lines = Lines::new(memory, depth, K::SLOT_BYTES);
        let align = if options.bs >= 4096 { 4096 } else { 512 };
        let slots = (0..depth).map(|_| {
            let (data, at) = memory.take(options.bs, align);
            Slot { data, at, writes: false, submitted: 0, in_flight: false }
        });
        let mut ring = Self {
            kind: K::new(options),
            size,
            notifications,
            descriptors: whole(descriptors),
            available: whole(available),
            used_words: whole(used),
            used: whole(used.split_at(4).1),
            lines,
            slots: slots.collect(),
            recent: 0,
            next_available: 0,
            next_used: 0,
            published: 0,
            at: Addresses { descriptors: descriptors_at, available: available_at, used: used_at },
            kick: event()?,
            call: event()?,
            kicks: 0,
            interrupts: 0,
        };
        ring.refuse_interrupts();
        ring.prepare_all(ring.kind);
        Ok(ring)
    }

    /// Kind of its disk.
    pub(crate) fn kind(&self) -> K {
        self.kind
    }

    /// Header and answer of a slot.
    #[inline]
    pub(crate) fn lines(&self, slot: u16) -> SlotLines<'_> {
        self.lines.of(slot)
    }

    /// Prepares all slots for reads of a disk of that kind.
    pub(crate) fn prepare_all(&mut self, kind: K) {
        self.kind = kind;
        (0..self.depth()).for_each(|slot| self.turn(slot, false));
    }

    /// Addresses of its areas.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.at
    }

    /// The server's index of used chains.
    pub(crate) fn used_index(&self) -> u16 {
        self.used_words.load(1, Relaxed)
    }

    /// The eventfd that the server is kicked by.
    pub(crate) fn kick(&self) -> &EventFd {
        &self.kick
    }

    /// Kicks the server, whether it asked for that or not.
    pub(crate) fn kick_anyway(&self) {
        // It fails only when the counter is full: the server has a kick waiting.
        let _ = self.kick.write(1);
    }

    /// The eventfd of the server's interrupts.
    pub(crate) fn call(&self) -> &EventFd {
        &self.call
    }

    #[inline]
    fn is_kick_wanted(&self, old: u16, new: u16) -> bool {
        match self.notifications {
            Notifications::Flags => self.used_words.load(0, Relaxed) & USED_NO_NOTIFY == 0,
            Notifications::EventIndex => {
                passed_event(self.used_words.load(HEADS + self.size * 4, Relaxed), old, new)
            }
        }
    }

    /// Asks for no interrupts: the driver polls.
    fn refuse_interrupts(&self) {
        match self.notifications {
            Notifications::Flags => self.available.store(0, AVAILABLE_NO_INTERRUPT, Relaxed),
            Notifications::EventIndex => {
                self.available.store(HEADS + self.size, self.next_used.wrapping_add(NEVER), Relaxed);
            }
        }
    }

    /// Changes a slot to writes, or to reads: its header and its three descriptors.
    pub(crate) fn turn(&mut self, slot: u16, writes: bool) {
        let entry = &mut self.slots[usize::from(slot)];
        entry.writes = writes;
        let data = Buffer { address: entry.at, len: entry.data.len() };
        let [first, second, last] = self.kind.prepare(self.lines.of(slot), data, writes);
        let index = u32::from(slot) * 3;
        self.descriptor(index, first, DescriptorFlags::NEXT);
        self.descriptor(index + 1, second, DescriptorFlags::NEXT);
        self.descriptor(index + 2, last, 0);
    }

    /// Writes a descriptor. The next one of its chain, if there is one, is behind it.
    fn descriptor(&self, index: u32, link: Link, next: u16) {
        let Link { buffer, is_written } = link;
        let flags = if is_written { next | DescriptorFlags::WRITE } else { next };
        self.descriptors.store(index * 2, buffer.address, Relaxed);
        let rest = u64::from(buffer.len) | u64::from(flags) << 32 | u64::from(index + 1) << 48;
        self.descriptors.store(index * 2 + 1, rest, Relaxed);
    }

    /// Puts a request whose header is written into the ring.
    #[inline]
    pub(crate) fn submit_prepared(&mut self, slot: u16, now: u64) {
        let entry = &mut self.slots[usize::from(slot)];
        (entry.submitted, entry.in_flight) = (now, true);
        self.recent = slot;
        let at = u32::from(self.next_available) & (self.size - 1);
        self.available.store(HEADS + at, slot * 3, Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Sends requests again that the server wants so; returns the number of the others, which are the first then.
    #[cold]
    fn send_again(&mut self, done: &mut [Done]) -> usize {
        let mut kept = 0;
        for n in 0..done.len() {
            let entry = done[n];
            match K::answer(self.lines.of(entry.slot)) {
                Answer::Again => {
                    K::forget_answer(self.lines.of(entry.slot));
                    self.submit_prepared(entry.slot, entry.submitted);
                }
                Answer::Status(_) => {
                    done[kept] = entry;
                    kept += 1;
                }
            }
        }
        self.publish();
        kept
    }
}

impl<K: Kind> Queue for Ring<K> {
    fn depth(&self) -> u16 {
        u16::try_from(self.slots.len()).unwrap_or(u16::MAX)
    }

    fn data(&self, slot: u16) -> Span {
        self.slots[usize::from(slot)].data
    }

    fn sector(&self, slot: u16) -> u64 {
        self.kind.sector(self.lines.of(slot))
    }

    fn in_flight(&self) -> usize {
        usize::from(self.next_available.wrapping_sub(self.next_used))
    }

    fn notices(&mut self) -> Notices {
        // Nothing to read: none came.
        self.interrupts += self.call.read().unwrap_or(0);
        Notices { kicks: self.kicks, interrupts: self.interrupts }
    }

    #[inline]
    fn submit(&mut self, slot: u16, transfer: Transfer, now: u64) {
        let Transfer { writes, sector } = transfer;
        if self.slots[usize::from(slot)].writes != writes {
            self.turn(slot, writes);
        }
        let lines = self.lines.of(slot);
        self.kind.set_sector(lines, sector);
        // A server that ends it without a status does not leave the last one's there.
        K::forget_answer(lines);
        self.submit_prepared(slot, now);
    }

    #[inline]
    fn publish(&mut self) -> bool {
        if self.published == self.next_available {
            return false;
        }
        let (old, new) = (self.published, self.next_available);
        self.published = new;
        // Release: the entries are there before the index that covers them.
        self.available.store(1, new, Release);
        // The index before what the server wants: it says that and then looks at the index.
        fence(SeqCst);
        if self.is_kick_wanted(old, new) {
            self.kicks += 1;
            self.kick_anyway();
        }
        true
    }

    #[inline]
    fn reap(&mut self, done: &mut [Done; BATCH]) -> Result<usize, String> {
        // Acquire: what the index covers is there.
        let ready = usize::from(self.used_words.load(1, Acquire).wrapping_sub(self.next_used)).min(BATCH);
        if ready == 0 {
            return Ok(0);
        }
        // One alone is most likely the last.
        self.lines.of(self.recent).prefetch(K::ANSWER);
        for (entry, i) in done.iter_mut().zip(0u16..).take(ready) {
            let at = u32::from(self.next_used.wrapping_add(i)) & (self.size - 1);
            let id = self.used.load(at * 2, Relaxed);
            let slot = u16::try_from(id / 3).unwrap_or(u16::MAX);
            let asked = self.slots.get_mut(usize::from(slot)).filter(|s| s.in_flight && id.is_multiple_of(3));
            let asked = asked.ok_or_else(|| unasked(id))?;
            asked.in_flight = false;
            *entry = Done { slot, status: 0, writes: asked.writes, submitted: asked.submitted };
            let lines = self.lines.of(slot);
            lines.prefetch(K::ANSWER);
            // For its next request's header, which may be in the same line.
            lines.prefetch(0);
        }
        let mut is_any_again = false;
        for entry in done.iter_mut().take(ready) {
            match K::answer(self.lines.of(entry.slot)) {
                Answer::Status(status) => entry.status = status,
                Answer::Again => is_any_again = true,
            }
        }
        let before = self.next_used;
        self.next_used = before.wrapping_add(u16::try_from(ready).unwrap_or(0));
        if (before ^ self.next_used) & MOVES_ON != 0 {
            self.refuse_interrupts();
        }
        Ok(if is_any_again { self.send_again(&mut done[..ready]) } else { ready })
    }

    fn status(status: u16) -> String {
        K::status(status)
    }
}

#[cold]
fn unasked(id: u32) -> String {
    format!("used descriptor {id}, which was not in use")
}

fn event() -> Result<EventFd, BenchError> {
    EventFd::new(EFD_NONBLOCK).map_err(|source| BenchError::System { what: "cannot make an eventfd", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::options;
    use crate::vhost::blk::Blk;

    /// A ring with four slots, and how its server sees it.
    struct Rig {
        ring: Ring<Blk>,
        served: u16,
        _memory: Arena,
    }

    impl Rig {
        fn new(notifications: Notifications) -> Self {
            let options = options("--bs 512 --iodepth 4");
            let mut memory = Arena::alone(1 << 20).unwrap();
            let ring = Ring::new(&options, notifications, &mut memory).unwrap();
            Self { ring, served: 0, _memory: memory }
        }

        /// Submits a request of each slot; whether the server is kicked for them.
        fn submit(&mut self, slots: std::ops::Range<u16>) -> bool {
            let before = self.ring.kicks;
            slots.for_each(|slot| self.ring.submit(slot, Transfer { writes: false, sector: 0 }, 0));
            self.ring.publish();
            self.ring.kicks != before
        }

        /// Serves all that was submitted; whether an interrupt is due for it.
        fn serve(&mut self) -> bool {
            let (old, ring) = (self.served, &mut self.ring);
            while self.served != ring.available.load(1, Relaxed) {
                let at = u32::from(self.served) & (ring.size - 1);
                ring.used.store(at * 2, ring.available.load(HEADS + at, Relaxed).into(), Relaxed);
                self.served = self.served.wrapping_add(1);
            }
            ring.used_words.store(1, self.served, Release);
            let due = passed_event(ring.available.load(HEADS + ring.size, Relaxed), old, self.served);
            assert_eq!(
                ring.reap(&mut [Done::default(); BATCH]),
                Ok(usize::from(self.served.wrapping_sub(old)))
            );
            due
        }

        /// The server asks for a kick for the next request.
        fn arm(&self) {
            self.ring.used_words.store(HEADS + self.ring.size * 4, self.served, Relaxed);
        }
    }

    #[test]
    fn with_event_indices_only_a_server_that_asked_is_kicked() {
        let mut rig = Rig::new(Notifications::EventIndex);
        assert!(rig.submit(0..1), "index 0 is asked for from the start");
        assert!(!rig.submit(1..4));
        rig.serve();
        assert!(!rig.submit(0..1));
        rig.serve();
        rig.arm();
        assert!(rig.submit(0..4));
    }

    #[test]
    fn with_event_indices_no_interrupt_is_ever_due_though_they_wrap() {
        let mut rig = Rig::new(Notifications::EventIndex);
        for round in 0..40_000 {
            rig.submit(0..4);
            assert!(!rig.serve(), "round {round}");
        }
        assert_eq!(rig.ring.available.load(0, Relaxed), 0, "the flag is not used");
    }

    #[test]
    fn with_flags_a_server_is_kicked_until_it_says_no() {
        let mut rig = Rig::new(Notifications::Flags);
        assert!(rig.submit(0..2) && rig.submit(2..4));
        rig.serve();
        rig.ring.used_words.store(0, USED_NO_NOTIFY, Relaxed);
        assert!(!rig.submit(0..4));
        assert_eq!(rig.ring.available.load(0, Relaxed), AVAILABLE_NO_INTERRUPT);
    }
}
