//! Nothing allocates on a core while requests are done in steps, and blocks are locked on two cores.

#![expect(unsafe_code, reason = "a span of this test's own memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{
    Blocks, CopyRange, CoreId, Device, Durability, Lba, MemoryDevice, Operation, Request, Shape, Stepped,
    Tag, WriteSame,
};
use luge_measure::{CountingAllocator, allocations};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_volume::doubles::mount;
use luge_volume::{CopyRequest, Graph, RANGES_MAX, Volume, VolumeId};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Operations with a number of blocks; the longest ones are cut.
const REQUESTS: [(Operation, u32); 10] = [
    (Operation::Compare, 8),
    (Operation::Verify, 8),
    (Operation::Verify, 4000),
    (Operation::CompareAndWrite(Durability::Cache), 8),
    (Operation::Read, 8),
    (SAME, 8),
    (SAME, 4000),
    (Operation::Stepped(Stepped::CompareSame), 4000),
    (Operation::Stepped(Stepped::WriteAndVerify), 8),
    (Operation::Stepped(Stepped::WriteAndCompare), 8),
];

const SAME: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::Media));

fn submit(graph: &mut Graph, volume: VolumeId, operation: Operation, blocks: u32, memory: Span) -> usize {
    let memory = [memory.split_at(u32::try_from(operation.memory_of(blocks)).unwrap() * 512).0];
    let data: &[Span] = if operation.moves_data() { &memory } else { &[] };
    let request = Request { tag: Tag::new(0, 0), operation, lba: Lba(5), blocks, data };
    usize::from(graph.volume(volume).unwrap().submit(&request).is_ok())
}

fn copy(graph: &mut Graph, volume: VolumeId, sources: &[CopyRange]) -> usize {
    let copy = CopyRequest { tag: Tag::new(0, 0), sources, lba: Lba(1000), durability: Durability::Cache };
    usize::from(graph.volume(volume).unwrap().submit_copy(&copy).is_ok())
}

#[test]
fn requests_in_steps_and_locks_allocate_nothing() {
    let space = DmaSpace::new();
    let shape = Shape::new(512, Blocks(4096)).unwrap();
    let disk: Arc<dyn Device> = Arc::new(MemoryDevice::new(&space, shape, PageSize::Base, None).unwrap());
    let volume = Arc::new(Volume::whole(disk));
    let memory = DmaMemory::allocate(&space, 1 << 16, PageSize::Base, None).unwrap();
    // SAFETY: the memory is dropped after the graphs.
    let data = unsafe { memory.span(0, 1 << 16) }.unwrap();
    // A block of zeroes would be a write of zeroes.
    data.fill(1);
    let sources = vec![CopyRange { lba: Lba(700), blocks: 1 }; RANGES_MAX];
    let mut cores = [0, 1].map(|core| {
        let mut graph = Graph::default();
        let volume = mount(&mut graph, CoreId(core), &volume).unwrap();
        (graph, volume)
    });
    let (mut taken, mut ended) = (0, 0);
    let before = allocations();
    for round in 0..5000 {
        for (graph, volume) in &mut cores {
            if round < 400 {
                for (operation, blocks) in REQUESTS {
                    taken += submit(graph, *volume, operation, blocks, data);
                }
                taken += copy(graph, *volume, &sources);
            }
            graph.commit();
            ended += graph.poll(|_| {});
        }
    }
    let after = allocations();
    assert_eq!(after, before, "allocations and releases");
    assert!(taken > 50, "{taken} requests were taken");
    assert_eq!(ended, taken);
}
