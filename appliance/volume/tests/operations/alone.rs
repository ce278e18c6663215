//! Operations on one core.

use crate::rig::{BLOCK, COMPARE_AND_WRITE, Memory, Side, WRITE, bytes};
use luge_block::doubles::{Fault, Faulty, Narrow, Scripted};
use luge_block::{
    Blocks, CopyRange, Device, Durability, Geometry, Kind, Lba, MemoryDevice, NullDevice, Operation, Refusal,
    Shape, Status, Tag,
};
use luge_memory::{DmaSpace, PageSize};
use luge_volume::{CopyRequest, Volume};
use std::sync::Arc;

fn disk() -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(4096)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

/// A disk that takes three blocks at once, in two pieces.
fn narrow() -> Arc<dyn Device> {
    let disk = disk();
    let limits = Geometry { transfer_blocks_max: 3, spans_max: 2, ..disk.geometry() };
    Arc::new(Narrow::new(disk, limits, 2))
}

fn volume(device: Arc<dyn Device>) -> Arc<Volume> {
    Arc::new(Volume::whole(device))
}

/// A side whose volume has this content at the start.
fn side(device: Arc<dyn Device>, memory: &Memory, content: &[u8]) -> Side {
    let mut side = Side::new(0, &volume(device));
    assert_eq!(side.run(WRITE, 0, &[memory.with(0, content)]), Status::Success);
    side
}

/// Blocks of which each has another byte.
fn pattern(blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK).map(|at| u8::try_from(at / BLOCK % 251).unwrap()).collect()
}

fn copy<'a>(sources: &'a [CopyRange], lba: u64) -> CopyRequest<'a> {
    CopyRequest { tag: Tag::new(1, 7), sources, lba: Lba(lba), durability: Durability::Cache }
}

fn range(lba: u64, blocks: u32) -> CopyRange {
    CopyRange { lba: Lba(lba), blocks }
}

#[test]
fn a_comparison_tells_the_first_byte_that_differs_wherever_it_is() {
    let (memory, content) = (Memory::new(), pattern(200));
    for device in [disk(), narrow()] {
        let mut side = side(device, &memory, &content);
        assert_eq!(side.run(Operation::Compare, 0, &[memory.with(0, &content)]), Status::Success);
        for at in [0, 1, 511, 512, 32 << 10, (32 << 10) - 1, 200 * BLOCK - 1] {
            let mut other = content.clone();
            other[at] ^= 0x80;
            let (first, second) = memory.with(0, &other).split_at(1000);
            assert_eq!(side.run(Operation::Compare, 0, &[first, second]), Status::CompareFailed);
            assert_eq!(side.graph.mismatch(1, 99), Some(at as u64));
        }
        assert_eq!(side.graph.mismatch(1, 98), None, "of another slot");
    }
}

#[test]
fn a_compare_and_write_writes_where_the_blocks_are_equal_and_nothing_elsewhere() {
    let (memory, content) = (Memory::new(), pattern(8));
    for device in [disk(), narrow()] {
        let mut side = side(device, &memory, &content);
        let both = [&content[BLOCK..3 * BLOCK], &[9; 2 * BLOCK]].concat();
        // A piece that begins in the half that is compared, and ends in the other one.
        let (first, rest) = memory.with(0, &both).split_at(700);
        let (second, third) = rest.split_at(900);
        assert_eq!(side.run(COMPARE_AND_WRITE, 1, &[first, second, third]), Status::Success);
        assert_eq!(side.run(COMPARE_AND_WRITE, 1, &[first, second, third]), Status::CompareFailed);
        assert_eq!(side.graph.mismatch(1, 99), Some(0));
        let read = memory.with(0, &[0; 4 * BLOCK]);
        assert_eq!(side.run(Operation::Read, 0, &[read]), Status::Success);
        let expected = [&content[..BLOCK], &[9; 2 * BLOCK], &content[3 * BLOCK..4 * BLOCK]].concat();
        assert!(bytes(read) == expected, "two blocks are written, and their neighbours are not");
    }
}

#[test]
fn a_copy_has_its_sources_in_their_order() {
    let (memory, content) = (Memory::new(), pattern(200));
    for device in [disk(), narrow()] {
        let mut side = side(device, &memory, &content);
        let sources = [range(100, 70), range(3, 1), range(100, 2), range(0, 9)];
        side.copy(&copy(&sources, 1000)).unwrap();
        assert_eq!(side.settle(), [(7, Status::Success)]);
        let expected: Vec<u8> = sources
            .iter()
            .flat_map(|range| {
                let first = usize::try_from(range.lba.0).unwrap() * BLOCK;
                content[first..first + range.blocks as usize * BLOCK].to_vec()
            })
            .chain([0; BLOCK])
            .collect();
        let read = memory.with(0, &vec![1; expected.len()]);
        assert_eq!(side.run(Operation::Read, 1000, &[read]), Status::Success);
        assert!(bytes(read) == expected);
    }
}

#[test]
fn a_copy_beyond_the_limits_or_onto_its_own_source_is_refused() {
    let volume = volume(disk());
    let limits = volume.geometry().operations.copy;
    assert_eq!(limits.ranges_max, 256);
    let mut side = Side::new(0, &volume);
    let most = limits.range_blocks_max;
    let many = vec![range(0, 1); 257];
    let refused: [(&[CopyRange], u64, Status); 9] = [
        (&[], 100, Status::Invalid),
        (&[range(0, 0)], 100, Status::Invalid),
        (&[range(0, most + 1)], 100, Status::Invalid),
        (&[range(0, most), range(0, 1)], most.into(), Status::Invalid),
        (&many, 2048, Status::Invalid),
        (&[range(50, 60), range(0, 1)], 100, Status::Invalid),
        (&[range(0, 1), range(160, 1)], 159, Status::Invalid),
        (&[range(4095, 2)], 100, Status::OutOfRange),
        (&[range(0, 2)], 4095, Status::OutOfRange),
    ];
    for (sources, lba, status) in refused {
        assert_eq!(side.copy(&copy(sources, lba)), Err(Refusal::Failed(status)), "{lba}: {sources:?}");
    }
    assert_eq!(side.copy(&copy(&[range(u64::MAX, 2)], 0)), Err(Refusal::Failed(Status::OutOfRange)));
    assert_eq!(side.copy(&copy(&[range(0, 2)], u64::MAX)), Err(Refusal::Failed(Status::OutOfRange)));
    assert_eq!(side.copy(&copy(&many[..256], 2048)), Ok(()));
    assert_eq!(side.copy(&copy(&[range(0, most)], most.into())), Ok(()));
    assert_eq!(side.settle().len(), 2);
    let mut protected = Side::new(0, &Arc::new(volume.read_only_view()));
    assert_eq!(protected.copy(&copy(&[range(0, 1)], 8)), Err(Refusal::Failed(Status::WriteProtected)));
}

#[test]
fn a_request_beyond_the_limits_or_without_its_memory_is_refused() {
    let (memory, volume) = (Memory::new(), volume(disk()));
    let limits = volume.geometry().operations;
    let mut side = Side::new(0, &volume);
    let data = |blocks: u32| vec![memory.with(0, &vec![0; blocks as usize * BLOCK])];
    let most = u64::from(limits.compare_and_write_blocks_max);
    let long = data(2 * limits.compare_and_write_blocks_max + 2);
    let refused = [
        side.submit_blocks(1, COMPARE_AND_WRITE, 0..most + 1, &long),
        side.submit_blocks(1, COMPARE_AND_WRITE, 0..2, &data(2)),
        side.submit_blocks(1, Operation::Compare, 0..2, &data(1)),
        side.submit_blocks(1, Operation::Compare, 0..u64::from(limits.compare_blocks_max) + 1, &data(2049)),
        side.submit_blocks(1, Operation::Compare, 0..0, &[]),
        side.submit_blocks(1, Operation::Compare, 0..1, &[]),
        side.submit_blocks(1, Operation::Verify, 0..0, &[]),
    ];
    for (case, result) in refused.into_iter().enumerate() {
        assert_eq!(result, Err(Refusal::Failed(Status::Invalid)), "case {case}");
    }
    for operation in [Operation::Compare, COMPARE_AND_WRITE] {
        let result = side.submit_blocks(1, operation, 4096..4097, &data(1));
        assert_eq!(result, Err(Refusal::Failed(Status::OutOfRange)), "{operation}");
    }
    let longest = data(2 * limits.compare_and_write_blocks_max);
    assert_eq!(side.run(COMPARE_AND_WRITE, 0, &longest), Status::Success);
}

#[test]
fn a_request_that_meets_a_media_error_ends_with_it() {
    let fault = Fault { blocks: 100..101, per_mille: 1000, status: Status::MediaError };
    let device = Arc::new(Faulty::new(narrow(), 1, &[fault]));
    let (memory, mut side) = (Memory::new(), Side::new(0, &volume(device)));
    side.submit_blocks(1, Operation::Verify, 0..100, &[]).unwrap();
    side.submit_blocks(2, Operation::Verify, 90..110, &[]).unwrap();
    side.submit(3, COMPARE_AND_WRITE, 100, &[memory.with(0, &[0; 2 * BLOCK])]).unwrap();
    side.copy(&copy(&[range(0, 1), range(99, 3)], 200)).unwrap();
    let mut ended = side.settle();
    ended.sort_unstable_by_key(|&(slot, _)| slot);
    let failed = Status::MediaError;
    assert_eq!(ended, [(1, Status::Success), (2, failed), (3, failed), (7, failed)]);
}

#[test]
fn a_request_in_steps_counts_once_with_its_kind() {
    let (memory, volume) = (Memory::new(), volume(narrow()));
    let mut side = Side::new(0, &volume);
    side.submit_blocks(1, Operation::Verify, 0..100, &[]).unwrap();
    side.submit(2, Operation::Compare, 0, &[memory.with(0, &[0; 10 * BLOCK])]).unwrap();
    side.submit(3, COMPARE_AND_WRITE, 100, &[memory.with(0, &[0; 2 * BLOCK])]).unwrap();
    side.copy(&copy(&[range(0, 5)], 200)).unwrap();
    let mut kinds = Vec::new();
    while side.graph.in_flight() > 0 {
        side.graph.commit();
        side.graph.poll(|run| kinds.extend(run.iter().map(|end| end.tag().kind() as u8)));
    }
    kinds.sort_unstable();
    let expected = [Kind::Compare, Kind::Compare, Kind::CompareAndWrite, Kind::Copy].map(|kind| kind as u8);
    assert_eq!(kinds, expected);
    let counters = volume.counters();
    assert_eq!(counters.reads, 2);
    assert_eq!(counters.read_blocks, 110);
    assert_eq!(counters.writes, 2);
    assert_eq!(counters.written_blocks, 6);
}

#[test]
fn a_null_disk_finds_everything_equal() {
    let (memory, shape) = (Memory::new(), Shape::new(512, Blocks(4096)).unwrap());
    let mut side = Side::new(0, &volume(Arc::new(NullDevice::new(shape))));
    for operation in [Operation::Compare, COMPARE_AND_WRITE] {
        let data = [memory.with(0, &pattern(8))];
        assert_eq!(side.run(operation, 0, &data), Status::Success, "{operation}");
    }
    side.submit_blocks(1, Operation::Verify, 0..2048, &[]).unwrap();
    assert_eq!(side.settle(), [(1, Status::Success)]);
}

#[test]
fn slots_are_shared_among_volumes_and_who_has_fewer_goes_first() {
    let device = Scripted::new(Geometry::for_tests(), 100);
    let whole = Volume::whole(Arc::new(device.clone()));
    let [one, other] = [0, 512].map(|first| Arc::new(whole.part(Lba(first), Blocks(512)).unwrap()));
    let mut side = Side::new(0, &one);
    let greedy = side.volume;
    let modest = luge_volume::doubles::mount(&mut side.graph, luge_block::CoreId(0), &other).unwrap();
    let mut taken = 0;
    while side.submit_blocks(taken, Operation::Verify, 0..8, &[]).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 8);
    let mut served = false;
    for _ in 0..8 {
        side.volume = modest;
        served |= side.submit_blocks(50, Operation::Verify, 0..8, &[]).is_ok();
        if served {
            break;
        }
        side.volume = greedy;
        assert_eq!(
            side.submit_blocks(60, Operation::Verify, 0..8, &[]),
            Err(Refusal::Full),
            "the other asked"
        );
        side.turn();
        assert!(device.complete_all(Status::Success) <= 4, "a few go on in a turn");
    }
    assert!(served);
    for _ in 0..20 {
        side.turn();
        device.complete_all(Status::Success);
    }
    assert_eq!(side.settle().len(), 9);
}

#[test]
fn the_steps_of_a_turn_have_no_more_blocks_than_a_core_moves_in_one() {
    let memory = Memory::new();
    let device = Scripted::new(Geometry { turn_blocks_max: 16, ..Geometry::for_tests() }, 100);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    side.submit_blocks(1, Operation::Verify, 0..256, &[]).unwrap();
    side.turn();
    assert_eq!(device.taken()[0].blocks, 8, "of a verify, which is in steps of any size, two in a turn");
    while device.complete_all(Status::Success) > 0 {
        side.turn();
    }
    assert_eq!(side.settle(), [(1, Status::Success)]);
    side.submit(2, COMPARE_AND_WRITE, 0, &[memory.with(0, &[0; 64 * BLOCK])]).unwrap();
    (0..3).for_each(|_| side.turn());
    assert_eq!(device.taken()[0].blocks, 32, "a compare-and-write is one step");
}
