//! A load on a channel that knows what each read has to return.
//!
//! Each slot has blocks of its own, and one request at a time: a write of new data, or a read. After a write that did
//! not succeed the blocks may have the old or the new data, until the next write succeeds.

use crate::scripted::memory::piece_of;
use luge_block::{Channel, Completions, Durability, Lba, Operation, Request, Status, Tag};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_seeded::Random;
use std::sync::Arc;

/// Bytes of a request; its memory is a page away from the next one's.
const BYTES: u32 = 2048;
const PITCH: u64 = 8192;

/// Numbers of requests that have ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Succeeded.
    pub good: u64,
    /// Ended by a reset.
    pub aborted: u64,
    /// Ended because the controller has gone.
    pub gone: u64,
}

/// A load on a channel.
pub struct VerifiedLoad {
    channel: Box<dyn Channel>,
    _memory: DmaMemory,
    slots: Vec<Slot>,
    random: Random,
    blocks: u32,
    tally: Tally,
}

/// A request's place: its blocks, memory and state.
struct Slot {
    lba: Lba,
    span: Span,
    /// Seed of the blocks' data, where it is known.
    content: Option<u64>,
    state: SlotState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Idle,
    Reading,
    Writing(u64),
}

impl VerifiedLoad {
    /// Load of `depth` requests at a time on blocks of `block_bytes` from `first`.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn new(channel: Box<dyn Channel>, space: &Arc<DmaSpace>, place: Place, seed: u64) -> Self {
        let Place { first, depth, block_bytes } = place;
        let memory = DmaMemory::allocate(space, u64::from(depth) * PITCH, PageSize::Base, None);
        let memory = memory.expect("a few pages");
        let blocks = (BYTES / block_bytes).max(1);
        let slot = |slot: u16| Slot {
            lba: Lba(first.0 + u64::from(slot) * u64::from(blocks)),
            // Every other buffer is one that bounces.
            span: piece_of(&memory, u32::from(slot) * 8192 + u32::from(slot % 2), blocks * block_bytes)
                .expect("inside"),
            content: None,
            state: SlotState::Idle,
        };
        let slots = (0..depth).map(slot).collect();
        Self { channel, _memory: memory, slots, random: Random::new(seed), blocks, tally: Tally::default() }
    }

    /// Submits new requests where there is room, commits and polls.
    ///
    /// # Panics
    /// If a read returns other data than was written, or a request ends that is not in flight.
    pub fn turn(&mut self) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].state == SlotState::Idle && self.channel.room() > 0 {
                self.submit(slot);
            }
        }
        self.channel.commit();
        self.poll();
    }

    /// Polls without new requests; returns the number in flight.
    ///
    /// # Panics
    /// As [`Self::turn`] does.
    pub fn drain(&mut self) -> usize {
        self.channel.commit();
        self.poll();
        self.channel.in_flight()
    }

    /// Numbers of requests that have ended.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn submit(&mut self, index: usize) {
        let seed = self.random.number();
        let slot = &mut self.slots[index];
        let reads = slot.content.is_some() && seed.is_multiple_of(2);
        let (operation, state, data) = match reads {
            true => (Operation::Read, SlotState::Reading, !slot.content.unwrap_or_default()),
            false => (Operation::Write(Durability::Cache), SlotState::Writing(seed), seed),
        };
        // Memory of a read has other bytes than it has to return.
        slot.span.write(&bytes(data, slot.span.len()));
        let tag = Tag::new(0, u16::try_from(index).expect("few slots"));
        let request = Request { tag, operation, lba: slot.lba, blocks: self.blocks, data: &[slot.span] };
        match self.channel.submit(&request) {
            Ok(()) => slot.state = state,
            Err(luge_block::Refusal::Failed(_)) => self.tally.gone += 1,
            Err(luge_block::Refusal::Full) => {}
        }
    }

    fn poll(&mut self) {
        let mut done = Completions::default();
        self.channel.poll(&mut done);
        for completion in done.as_slice() {
            self.end(usize::from(completion.tag().slot()), completion.status());
        }
    }

    fn end(&mut self, index: usize, status: Status) {
        let slot = &mut self.slots[index];
        let state = std::mem::replace(&mut slot.state, SlotState::Idle);
        assert!(state != SlotState::Idle, "slot {index} ended twice");
        match status {
            Status::Success => self.tally.good += 1,
            Status::Aborted => self.tally.aborted += 1,
            Status::Gone => self.tally.gone += 1,
            other => unreachable!("slot {index} ended with {other:?}"),
        }
        match state {
            SlotState::Writing(seed) => slot.content = (status == Status::Success).then_some(seed),
            _ if status == Status::Success => {
                let mut found = vec![0; slot.span.len() as usize];
                slot.span.read(&mut found);
                let written = bytes(slot.content.expect("known"), slot.span.len());
                assert!(found == written, "slot {index} reads other data than was written");
            }
            _ => {}
        }
    }
}

/// Blocks of a load.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First block.
    pub first: Lba,
    /// Number of requests at a time.
    pub depth: u16,
    /// Bytes of a block.
    pub block_bytes: u32,
}

/// Data of a seed.
fn bytes(seed: u64, len: u32) -> Vec<u8> {
    Random::new(seed).bytes(len as usize)
}
