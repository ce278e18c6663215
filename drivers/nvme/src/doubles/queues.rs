//! I/O queues between a driver and a controller: doorbells and completions that are passed on, or not.
//!
//! ```text
//!   driver's doorbell --> memory of the double --pass--> controller's doorbell
//!   driver's completion queue <--pass-- completion queue of the double <-- controller
//! ```

use super::admin_queue::Creation;
use super::faults::{Fault, Faults};
use crate::scripted::memory::{Reach, piece_of};
use crate::scripted::queues::{Completed, low_half};
use luge_memory::{DmaMemory, DmaSpace, Iova, PageSize, SharedArray, Span};
use luge_spec::nvme::CompletionEntry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes of doorbells in the double's memory.
const DOORBELL_BYTES: u32 = 0x4000;

/// Lowest bit of a command identifier that is none of the first eight slots. Flipped, it and those above make an
/// identifier of no command in flight; no driver could tell one of another command in flight from a right one.
const NO_SLOT: u16 = 1 << 3;

/// I/O queues of a controller.
pub(super) struct Queues {
    space: Arc<DmaSpace>,
    /// Memory that takes the place of the doorbells.
    memory: DmaMemory,
    doorbells: BTreeMap<u16, Doorbells>,
    pairs: BTreeMap<u16, Pair>,
    /// Completion queues that the controller may still write to.
    former: Vec<DmaMemory>,
}

/// Doorbells of a queue pair.
struct Doorbells {
    /// Doorbells that the driver stores to.
    theirs: SharedArray<u32>,
    /// Doorbells of the controller.
    real: SharedArray<u32>,
    /// Words from the tail to the head.
    stride: u32,
}

/// A queue pair.
struct Pair {
    /// Completion queue of the driver.
    theirs: Completed,
    /// Completion queue of the controller.
    ours: SharedArray<u64>,
    _memory: DmaMemory,
    head: u16,
    phase: bool,
    tail: u32,
    /// Tail that arrives late.
    late: Option<(Instant, u32)>,
    /// Completions that are to be posted, and when.
    out: VecDeque<(Instant, CompletionEntry)>,
}

impl Queues {
    pub(super) fn new(space: &Arc<DmaSpace>) -> Self {
        let memory = DmaMemory::allocate(&DmaSpace::new(), DOORBELL_BYTES.into(), PageSize::Base, None);
        let memory = memory.expect("a few pages");
        let (doorbells, pairs) = (BTreeMap::new(), BTreeMap::new());
        Self { space: space.clone(), memory, doorbells, pairs, former: Vec::new() }
    }

    /// Takes the place of the doorbells of a queue pair, `at` bytes behind the first doorbell.
    pub(super) fn doorbells(&mut self, at: u32, real: Span) -> Option<Span> {
        let span = piece_of(&self.memory, at, real.len())?;
        let (theirs, real) = (SharedArray::new(span)?, SharedArray::new(real)?);
        let stride = real.len() - 1;
        let id = u16::try_from(at / 4 / stride / 2).ok()?;
        self.doorbells.insert(id, Doorbells { theirs, real, stride });
        Some(span)
    }

    /// Moves a completion queue that is created to memory of the double.
    pub(super) fn create(&mut self, creation: Creation, reach: &Reach) -> Iova {
        let Some(theirs) = Completed::new(reach, creation.base, creation.entries) else {
            return Iova(creation.base);
        };
        let bytes = u32::from(creation.entries) * 16;
        let memory = DmaMemory::allocate(&self.space, bytes.into(), PageSize::Base, None).expect("a page");
        let span = piece_of(&memory, 0, bytes).expect("inside");
        let ours = SharedArray::new(span).expect("aligned");
        if let Some(doorbells) = self.doorbells.get(&creation.id) {
            doorbells.theirs.store(0, 0, Ordering::Relaxed);
            doorbells.theirs.store(doorbells.stride, 0, Ordering::Relaxed);
        }
        let (head, phase, tail, late, out) = (0, true, 0, None, VecDeque::new());
        let pair = Pair { theirs, ours, _memory: memory, head, phase, tail, late, out };
        self.former.extend(self.pairs.insert(creation.id, pair).map(|pair| pair._memory));
        span.iova()
    }

    /// Passes nothing on any more: the controller is about to be stopped.
    pub(super) fn stop(&mut self) {
        self.former.extend(std::mem::take(&mut self.pairs).into_values().map(|pair| pair._memory));
    }

    /// Gives back the memory of queues that a stopped controller does not know any more.
    pub(super) fn forget(&mut self) {
        self.former.clear();
    }

    /// Passes on what is there; returns whether there was anything.
    pub(super) fn pass(&mut self, faults: &mut Faults) -> bool {
        let now = Instant::now();
        let mut any = false;
        for (id, pair) in &mut self.pairs {
            let Some(doorbells) = self.doorbells.get(id) else { continue };
            any |= pair.pass_tail(doorbells, faults, now);
            any |= pair.take_completions(doorbells, faults, now);
            pair.post(doorbells, now);
        }
        any
    }
}

impl Pair {
    fn pass_tail(&mut self, doorbells: &Doorbells, faults: &mut Faults, now: Instant) -> bool {
        if let Some((_, tail)) = self.late.take_if(|(due, _)| *due <= now) {
            doorbells.real.store(0, tail, Ordering::Release);
        }
        // Acquire and Release: the entries are there before the controller looks for them.
        let tail = doorbells.theirs.load(0, Ordering::Acquire);
        if tail == self.tail {
            return false;
        }
        self.tail = tail;
        if faults.draw(Fault::DoorbellDropped) {
            return true;
        }
        self.late = faults.draw(Fault::DoorbellLate).then(|| (faults.late(), tail));
        if self.late.is_none() {
            doorbells.real.store(0, tail, Ordering::Release);
        }
        true
    }

    fn take_completions(&mut self, doorbells: &Doorbells, faults: &mut Faults, now: Instant) -> bool {
        let mut any = false;
        while let Some(entry) = self.next() {
            any = true;
            doorbells.real.store(doorbells.stride, self.head.into(), Ordering::Release);
            self.take(entry, faults, now);
        }
        any
    }

    /// Next completion of the controller.
    fn next(&mut self) -> Option<CompletionEntry> {
        let first = u32::from(self.head) * 2;
        // Acquire: the rest of the entry is there before its phase tag.
        let high = self.ours.load(first + 1, Ordering::Acquire);
        let entry = CompletionEntry::from_words([self.ours.load(first, Ordering::Relaxed), high]);
        if entry.status.phase() != self.phase {
            return None;
        }
        self.head = (self.head + 1) % self.theirs.entries;
        self.phase ^= self.head == 0;
        Some(entry)
    }

    fn take(&mut self, entry: CompletionEntry, faults: &mut Faults, now: Instant) {
        if faults.draw(Fault::CompletionDropped) {
            return;
        }
        if faults.draw(Fault::CompletionLate) {
            self.out.push_back((faults.late(), entry));
            return;
        }
        if faults.draw(Fault::CompletionTwice) {
            self.out.push_back((now, entry));
        }
        let flipped = if faults.draw(Fault::WrongIdentifier) { NO_SLOT << faults.detail(13) } else { 0 };
        let command_id = entry.command_id ^ flipped;
        self.out.push_back((now, CompletionEntry { command_id, ..entry }));
    }

    /// Posts the completions that are due, as far as there is room.
    fn post(&mut self, doorbells: &Doorbells, now: Instant) {
        let mut later = VecDeque::new();
        for (due, entry) in std::mem::take(&mut self.out) {
            let head = low_half(doorbells.theirs.load(doorbells.stride, Ordering::Acquire));
            if due > now || self.theirs.full(head) {
                later.push_back((due, entry));
            } else {
                self.theirs.post(entry.status.code(), entry);
            }
        }
        self.out = later;
    }
}
