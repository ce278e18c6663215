//! A queue pair, host side, with a prepared command for each slot: only its block, and its direction where that
//! changes, are new for a request. The command identifier is the slot.

use super::pages::Pages;
use crate::arena::Arena;
use crate::options::Options;
use crate::queue::{BATCH, Done, Notices, Queue, Transfer};
use luge_memory::{SharedArray, Span};
use luge_nvme::BareQueue;
use luge_spec::nvme::{IoOpcode, StatusCode, SubmissionEntry};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;

/// Word of a command with its first block.
const LBA: usize = 5;
/// Bits of the first word with the opcode.
const OPCODE: u64 = 0xff;
/// Bits of the first word that fuse commands.
const FUSE: u64 = 3 << 8;

/// Bit of a completion's second word with the phase tag.
const PHASE: u64 = 1 << 48;

/// Blocks of a namespace, in sectors of 512 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub(crate) namespace: u32,
    pub(crate) block_bytes: u32,
}

/// State of one request.
struct Slot {
    submitted: u64,
    writes: bool,
    in_flight: bool,
    data: Span,
}

/// A command, alone in its cache line.
#[repr(align(64))]
struct Command([u64; 8]);

/// A queue pair and its slots.
pub(crate) struct QueuePair {
    // Deleted before its memory goes, which the disk keeps.
    queue: BareQueue,
    submissions: SharedArray<[u64; 8]>,
    completions: SharedArray<[u64; 2]>,
    commands: Vec<Command>,
    slots: Vec<Slot>,
    /// Sectors of a block, as a power of two.
    shift: u32,
    mask: u16,
    tail: u16,
    rung: u16,
    head: u16,
    phase: u64,
    in_flight: usize,
}

impl QueuePair {
    /// Memory for the data of a queue.
    pub(crate) fn memory_bytes(options: &Options) -> u64 {
        u64::from(options.iodepth) * Pages::memory_bytes(options.bs)
    }

    pub(crate) fn new(queue: BareQueue, options: &Options, format: Format, memory: &mut Arena) -> Self {
        let pages: Vec<_> = (0..options.iodepth).map(|_| Pages::new(memory, options.bs)).collect();
        let command = |(slot, pages): (u16, &Pages)| prepare(slot, pages, options.bs, format);
        let state = |pages: &Pages| Slot { submitted: 0, writes: false, in_flight: false, data: pages.data };
        Self {
            submissions: queue.submissions(),
            completions: queue.completions(),
            commands: (0..).zip(&pages).map(command).collect(),
            slots: pages.iter().map(state).collect(),
            shift: (format.block_bytes / 512).ilog2(),
            mask: queue.entries() - 1,
            tail: 0,
            rung: 0,
            head: 0,
            phase: PHASE,
            in_flight: 0,
            queue,
        }
    }

    /// Whether the controller has the queue pair: no reset has ended it.
    pub(crate) fn is_running(&self) -> bool {
        self.queue.is_running()
    }

    /// Puts a slot's command for block 0 into the queue, with another opcode and its flags.
    pub(crate) fn submit_as(&mut self, slot: u16, opcode: u64) {
        let (state, Command(words)) =
            (&mut self.slots[usize::from(slot)], &mut self.commands[usize::from(slot)]);
        words[0] = words[0] & !(OPCODE | FUSE) | opcode;
        (state.submitted, state.in_flight) = (0, true);
        words[LBA] = 0;
        self.submissions.store(self.tail.into(), *words, Relaxed);
        self.tail = (self.tail + 1) & self.mask;
        self.in_flight += 1;
    }

    /// Takes the next completion, if there is one: slot and status.
    #[inline]
    fn next(&mut self) -> Option<(u16, u16)> {
        let word = self.completions.get_word::<1>(self.head.into())?;
        if word & PHASE != self.phase {
            return None;
        }
        self.head = (self.head + 1) & self.mask;
        if self.head == 0 {
            self.phase ^= PHASE;
        }
        #[expect(clippy::cast_possible_truncation, reason = "fields of 16 and 15 bits")]
        let fields = ((word >> 32) as u16, (word >> 49) as u16);
        Some(fields)
    }
}

/// A read of a slot, of block 0.
fn prepare(slot: u16, pages: &Pages, bytes: u32, format: Format) -> Command {
    let blocks_z = u16::try_from(bytes / format.block_bytes - 1).unwrap_or(u16::MAX);
    let entry = SubmissionEntry {
        command_id: slot,
        namespace: format.namespace,
        prp1: pages.prp1,
        prp2: pages.prp2,
        ..SubmissionEntry::io(IoOpcode::READ, 0, blocks_z, 0)
    };
    Command(entry.to_words())
}

impl Queue for QueuePair {
    fn depth(&self) -> u16 {
        u16::try_from(self.slots.len()).unwrap_or(u16::MAX)
    }

    fn data(&self, slot: u16) -> Span {
        self.slots[usize::from(slot)].data
    }

    fn sector(&self, slot: u16) -> u64 {
        self.commands[usize::from(slot)].0[LBA] << self.shift
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Doorbells are memory, and interrupts are not asked for.
    fn notices(&mut self) -> Notices {
        Notices::default()
    }

    #[inline]
    fn submit(&mut self, slot: u16, transfer: Transfer, now: u64) {
        let Transfer { writes, sector } = transfer;
        let (state, Command(words)) =
            (&mut self.slots[usize::from(slot)], &mut self.commands[usize::from(slot)]);
        if state.writes != writes {
            let opcode = if writes { IoOpcode::WRITE } else { IoOpcode::READ };
            words[0] = words[0] & !OPCODE | u64::from(opcode.0);
            state.writes = writes;
        }
        (state.submitted, state.in_flight) = (now, true);
        words[LBA] = sector >> self.shift;
        self.submissions.store(self.tail.into(), *words, Relaxed);
        self.tail = (self.tail + 1) & self.mask;
        self.in_flight += 1;
    }

    #[inline]
    fn publish(&mut self) -> bool {
        if self.rung == self.tail {
            return false;
        }
        self.rung = self.tail;
        // Both doorbells are in one cache line, and the controller looks at the tail.
        self.queue.ring_head(self.head);
        self.queue.ring_tail(self.tail);
        true
    }

    #[inline]
    fn reap(&mut self, done: &mut [Done; BATCH]) -> Result<usize, String> {
        let mut count = 0;
        for entry in done.iter_mut() {
            let Some((slot, status)) = self.next() else { break };
            let asked = self.slots.get_mut(usize::from(slot)).filter(|slot| slot.in_flight);
            let asked = asked.ok_or_else(|| unasked(slot))?;
            asked.in_flight = false;
            *entry = Done { slot, status, writes: asked.writes, submitted: asked.submitted };
            // The entry that its next request is going to be in.
            self.submissions.prefetch_to_write(u32::from(self.tail.wrapping_add(count) & self.mask));
            count += 1;
        }
        // Acquire: the data that the completions are about is there.
        fence(Acquire);
        self.in_flight -= usize::from(count);
        Ok(count.into())
    }

    fn status(status: u16) -> String {
        StatusCode(status & 0x7ff).to_string()
    }
}

#[cold]
fn unasked(slot: u16) -> String {
    format!("it completed command {slot}, which was not in flight")
}
