//! Volumes by seed: each is a device like any other, and none touches the blocks of another.

#![expect(unsafe_code, reason = "spans of this test's own memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod as_device;

use as_device::AsDevice;
use luge_block::doubles::{Check, Delayed, Failures};
use luge_block::{
    Blocks, CoreId, Device, Durability, Lba, MemoryDevice, Operation, Refusal, Request, Shape, Status, Tag,
};
use luge_memory::{DmaMemory, DmaSpace, PageSize};
use luge_seeded::Random;
use luge_volume::{Base, Graph, Volume, VolumeId};
use std::ops::Range;
use std::sync::Arc;

const BLOCK_BYTES: u32 = 512;

fn disk(space: &Arc<DmaSpace>, blocks: u64) -> Arc<dyn Device> {
    let shape = Shape::new(BLOCK_BYTES, Blocks(blocks)).unwrap();
    Arc::new(MemoryDevice::new(space, shape, PageSize::Base, None).unwrap())
}

#[test]
fn a_volume_does_what_requests_mean() {
    let space = DmaSpace::new();
    for (seed, first, blocks) in [(1, 0, 1000), (2, 999, 1), (3, 17, 300)] {
        let device = Arc::new(Delayed::new(disk(&space, 1000), seed));
        let part = AsDevice::new(Arc::new(Volume::whole(device).part(Lba(first), Blocks(blocks)).unwrap()));
        Check { device: &part, space: &space, cores: 2, steps: 800, failures: Failures::None }.run(seed);
    }
}

/// Parts of a disk, in order, with gaps between some of them.
fn parts(random: &mut Random, blocks: u64) -> Vec<Range<u64>> {
    let (mut parts, mut at) = (Vec::new(), 0);
    while at < blocks {
        let end = (at + random.between(1, 60)).min(blocks);
        parts.push(at..end);
        at = end + random.below(3);
    }
    parts
}

/// One core's graph with all parts of a disk on one channel, and one part more: all of it.
struct Bench {
    graph: Graph,
    ids: Vec<VolumeId>,
    whole: VolumeId,
    memory: DmaMemory,
}

/// A request without memory.
fn request(operation: Operation, lba: u64, blocks: u32) -> Request<'static> {
    Request { tag: Tag::default(), operation, lba: Lba(lba), blocks, data: &[] }
}

impl Bench {
    fn new(space: &Arc<DmaSpace>, device: &Arc<dyn Device>, parts: &[Range<u64>]) -> Self {
        let whole = Volume::whole(device.clone());
        let mut graph = Graph::default();
        let channel = Base::Channel(graph.add_channel(device.open(CoreId(0)).unwrap()).ok().unwrap());
        let mut add = |volume: &Volume| graph.add_volume(CoreId(0), volume, channel).unwrap();
        let part =
            |range: &Range<u64>| whole.part(Lba(range.start), Blocks(range.end - range.start)).unwrap();
        let ids = parts.iter().map(|range| add(&part(range))).collect();
        let whole = add(&whole);
        let memory = DmaMemory::allocate(space, 1 << 20, PageSize::Base, None).unwrap();
        Self { graph, ids, whole, memory }
    }

    /// Runs a request, given without its memory, which holds `fill`; returns its status.
    fn run(&mut self, id: VolumeId, asked: Request<'_>, fill: u8) -> Status {
        // SAFETY: the request has ended before `memory` goes.
        let span = unsafe { self.memory.span(0, asked.blocks * BLOCK_BYTES) }.unwrap();
        let data: &[_] = if asked.operation.moves_data() { &[span] } else { &[] };
        if asked.operation.changes_data() {
            span.fill(fill);
        }
        let request = Request { data, ..asked };
        if let Err(refusal) = self.graph.volume(id).unwrap().submit(&request) {
            let Refusal::Failed(status) = refusal else { panic!("an idle channel is full") };
            return status;
        }
        self.graph.commit();
        let mut status = None;
        while status.is_none() {
            self.graph.poll(|run| status = Some(run[0].status()));
        }
        status.unwrap()
    }

    fn content(&mut self, blocks: u32) -> Vec<u8> {
        assert_eq!(self.run(self.whole, request(Operation::Read, 0, blocks), 0), Status::Success);
        let mut bytes = vec![0; (blocks * BLOCK_BYTES) as usize];
        // SAFETY: nothing is in flight.
        unsafe { self.memory.span(0, blocks * BLOCK_BYTES) }.unwrap().read(&mut bytes);
        bytes
    }
}

/// Checks that requests to a part, at its edges and beyond, change its own blocks only.
fn only_its_own_blocks_change(seed: u64) {
    const BLOCKS: u32 = 600;
    let (space, mut random) = (DmaSpace::new(), Random::new(seed));
    let parts = parts(&mut random, u64::from(BLOCKS));
    let mut bench = Bench::new(&space, &disk(&space, u64::from(BLOCKS)), &parts);
    let mut expected = vec![0; (BLOCKS * BLOCK_BYTES) as usize];
    for step in 0..400 {
        let part = random.below(parts.len());
        let size = parts[part].end - parts[part].start;
        // Often past the end, sometimes by far.
        let lba = if random.once_in(20) { random.number() } else { random.below(size + 2) };
        let blocks = random.between(1, 40);
        let (operation, fill) = match random.below(3_u32) {
            0 => (Operation::WriteZeroes, 0),
            1 => (Operation::Discard, 0),
            _ => (Operation::Write(Durability::Cache), u8::try_from(step % 255 + 1).unwrap()),
        };
        let inside = lba.checked_add(u64::from(blocks)).is_some_and(|end| end <= size);
        let status = bench.run(bench.ids[part], request(operation, lba, blocks), fill);
        assert_eq!(status == Status::Success, inside, "seed {seed:#x} step {step}: {status:?}");
        if inside {
            let first = usize::try_from(parts[part].start + lba).unwrap() * BLOCK_BYTES as usize;
            expected[first..][..(blocks * BLOCK_BYTES) as usize].fill(fill);
        }
        assert!(bench.content(BLOCKS) == expected, "seed {seed:#x} step {step}: {operation:?} at {lba}");
    }
}

#[test]
fn parts_never_touch_each_other_s_blocks() {
    (0..8).for_each(only_its_own_blocks_change);
}
