//! All operations together, on two cores with one volume, against a model of its content.

use crate::rig::{BLOCK, COMPARE_AND_WRITE, Memory, Side, WRITE, bytes};
use luge_block::doubles::{Delayed, Narrow};
use luge_block::{
    Blocks, CopyRange, Device, Durability, Geometry, Lba, MemoryDevice, Operation, OperationLimits, Refusal,
    Shape, Status, Stepped, Tag, WriteSame,
};
use luge_memory::{DmaSpace, PageSize, Span};
use luge_seeded::{Random, fuzz};
use luge_volume::{CopyRequest, Volume};
use std::ops::Range;
use std::sync::Arc;

const WRITE_SAME: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::Media));
const COMPARE_SAME: Operation = Operation::Stepped(Stepped::CompareSame);
const WRITE_AND_VERIFY: Operation = Operation::Stepped(Stepped::WriteAndVerify);
const WRITE_AND_COMPARE: Operation = Operation::Stepped(Stepped::WriteAndCompare);

const BLOCKS: usize = 200;
const SLOTS: u16 = 12;

/// The most blocks of a request, and bytes of its memory.
const MOST: usize = 40;
const MEMORY: u64 = (2 * MOST * BLOCK) as u64;

/// Request of a slot that has not ended.
struct Pending {
    operation: Asked,
    blocks: Range<usize>,
    sources: Vec<CopyRange>,
    memory: Span,
    /// Content that the blocks have afterwards; none where they are not changed.
    after: Option<Vec<u8>>,
    /// Status that it is to end with.
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Request(Operation),
    Copy,
}

impl Pending {
    /// Blocks that it reads, and whether it changes `blocks`.
    fn reads(&self) -> Vec<Range<usize>> {
        let range = |range: &CopyRange| {
            let first = usize::try_from(range.lba.0).unwrap();
            first..first + range.blocks as usize
        };
        let mut all: Vec<_> = self.sources.iter().map(range).collect();
        all.push(self.blocks.clone());
        all
    }

    /// Whether the outcome of one depends on the other.
    fn conflicts_with(&self, other: &Self) -> bool {
        let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        let reaches = |one: &Self, two: &Self| {
            one.after.is_some() && two.reads().iter().any(|read| overlap(read, &one.blocks))
        };
        reaches(self, other) || reaches(other, self)
    }
}

struct Run<'a> {
    random: &'a mut Random,
    memory: Memory,
    sides: [Side; 2],
    content: Vec<u8>,
    pending: Vec<Option<Pending>>,
}

impl Run<'_> {
    fn step(&mut self) {
        let slot = self.random.below(SLOTS);
        if self.pending[usize::from(slot)].is_none() {
            self.submit(slot);
        }
        let side = usize::from(self.random.below(2_u16));
        self.sides[side].turn();
        self.end();
    }

    fn submit(&mut self, slot: u16) {
        let asked = self.ask(slot);
        if self.pending.iter().flatten().any(|other| other.conflicts_with(&asked)) {
            return;
        }
        let side = &mut self.sides[usize::from(slot % 2)];
        let (lba, data) = (asked.blocks.start as u64, [asked.memory]);
        let blocks = lba..asked.blocks.end as u64;
        let data: &[Span] = if asked.memory.is_empty() { &[] } else { &data };
        let result = match asked.operation {
            Asked::Request(operation) => side.submit_blocks(slot, operation, blocks, data),
            Asked::Copy => side.copy(&CopyRequest {
                tag: Tag::new(1, slot),
                sources: &asked.sources,
                lba: Lba(lba),
                durability: Durability::Cache,
            }),
        };
        match result {
            Ok(()) => self.pending[usize::from(slot)] = Some(asked),
            Err(Refusal::Full) => {}
            Err(refusal) => {
                panic!("{:?} of {blocks:?} ended in {refusal:?}", asked.operation, blocks = asked.blocks)
            }
        }
    }

    /// A request by chance, with what it is to do.
    fn ask(&mut self, slot: u16) -> Pending {
        let count = self.random.between(1, MOST);
        let first = self.random.below(BLOCKS - count + 1);
        let blocks = first..first + count;
        let here = self.content[first * BLOCK..(first + count) * BLOCK].to_vec();
        let new = self.random.bytes(count * BLOCK);
        let at = u64::from(slot) * MEMORY;
        let request = |operation, memory, after, status| Pending {
            operation: Asked::Request(operation),
            blocks: blocks.clone(),
            sources: Vec::new(),
            memory,
            after,
            status,
        };
        let equal = !self.random.once_in(3);
        let status = if equal { Status::Success } else { Status::CompareFailed };
        let mut compared = here;
        if !equal {
            let place = self.random.below(compared.len());
            compared[place] ^= 1;
        }
        match self.random.below(10_u32) {
            0 => request(Operation::Read, self.memory.with(at, &new), None, Status::Success),
            1 => request(WRITE, self.memory.with(at, &new), Some(new), Status::Success),
            2 => request(Operation::Compare, self.memory.with(at, &compared), None, status),
            3 => request(Operation::Verify, Span::EMPTY, None, Status::Success),
            4 => {
                let both = [compared, new.clone()].concat();
                let after = equal.then_some(new);
                request(COMPARE_AND_WRITE, self.memory.with(at, &both), after, status)
            }
            5 => {
                let memory = self.memory.with(at, &new);
                request(WRITE_AND_VERIFY, memory, Some(new), Status::Success)
            }
            6 => {
                let memory = self.memory.with(at, &new);
                request(WRITE_AND_COMPARE, memory, Some(new), Status::Success)
            }
            7 => {
                let one = if equal { new[..BLOCK].to_vec() } else { vec![0; BLOCK] };
                request(WRITE_SAME, self.memory.with(at, &one), Some(one.repeat(count)), Status::Success)
            }
            8 => {
                let one = &self.content[first * BLOCK..][..BLOCK];
                let equal = self.content[first * BLOCK..][..count * BLOCK] == one.repeat(count);
                let status = if equal { Status::Success } else { Status::CompareFailed };
                request(COMPARE_SAME, self.memory.with(at, one), None, status)
            }
            _ => self.ask_copy(blocks),
        }
    }

    /// A copy to some blocks, of blocks beside them.
    fn ask_copy(&mut self, blocks: Range<usize>) -> Pending {
        let (mut left, mut sources, mut after) = (blocks.len(), Vec::new(), Vec::new());
        let space = if blocks.start >= MOST { 0..blocks.start } else { blocks.end..BLOCKS };
        while left > 0 {
            let count = self.random.between(1, left.min(space.len()));
            let first = space.start + self.random.below(space.len() - count + 1);
            sources.push(CopyRange { lba: Lba(first as u64), blocks: u32::try_from(count).unwrap() });
            after.extend_from_slice(&self.content[first * BLOCK..(first + count) * BLOCK]);
            left -= count;
        }
        let (operation, memory, status) = (Asked::Copy, Span::EMPTY, Status::Success);
        Pending { operation, blocks, sources, memory, after: Some(after), status }
    }

    fn end(&mut self) {
        let ended: Vec<_> = self.sides.iter_mut().flat_map(|side| side.ended.drain(..)).collect();
        for (slot, status) in ended {
            let pending = self.pending[usize::from(slot)].take().expect("a request ends once");
            assert_eq!(status, pending.status, "{:?} of {:?}", pending.operation, pending.blocks);
            let place = pending.blocks.start * BLOCK..pending.blocks.end * BLOCK;
            if let Some(after) = &pending.after {
                self.content[place.clone()].copy_from_slice(after);
            }
            if pending.operation == Asked::Request(Operation::Read) {
                assert!(bytes(pending.memory) == self.content[place], "blocks {:?}", pending.blocks);
            }
        }
    }
}

/// A disk that takes little at once, with completions in any order.
fn device(random: &mut Random) -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(BLOCKS as u64)).unwrap();
    let disk = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    let disk = Arc::new(Delayed::new(Arc::new(disk), random.number()));
    let limits = Geometry {
        // A compare-and-write of the most blocks is one write.
        transfer_blocks_max: random.between(u32::try_from(MOST).unwrap(), 64),
        spans_max: random.between(1, 4),
        operations: OperationLimits::NONE,
        ..disk.geometry()
    };
    Arc::new(Narrow::new(disk, limits, random.between(2, 20)).refusing(100, random.number()))
}

#[test]
fn all_operations_on_two_cores_do_what_they_mean() {
    fuzz(|random| {
        let volume = Arc::new(Volume::whole(device(random)));
        let sides = [0, 1].map(|core| Side::new(core, &volume));
        let pending = (0..SLOTS).map(|_| None).collect();
        let mut run = Run { random, memory: Memory::new(), sides, content: vec![0; BLOCKS * BLOCK], pending };
        for _ in 0..300 {
            run.step();
        }
        for _ in 0..2000 {
            run.sides.iter_mut().for_each(Side::turn);
            run.end();
        }
        assert!(run.pending.iter().all(Option::is_none), "all requests have ended");
    });
}
