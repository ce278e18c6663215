//! Operations that only volumes do: write-same, compare-same, write-and-verify and write-and-compare.

use crate::rig::{BLOCK, COMPARE_AND_WRITE, Memory, Side, WRITE, bytes};
use luge_block::doubles::{Fault, Faulty, Narrow, Recorded, Scripted};
use luge_block::{
    Access, Blocks, CoreId, Device, Durability, FileDevice, Geometry, Lba, MemoryDevice, NullDevice,
    Operation, OperationLimits, Refusal, Shape, Status, Stepped, WriteSame,
};
use luge_memory::{DmaSpace, PageSize, Span};
use luge_volume::Volume;
use luge_volume::doubles::{Mirror, mount};
use std::sync::Arc;

const BLOCKS: u64 = 4096;

/// Blocks of the longest request that is not cut.
const WHOLE: u64 = 2048;

const SAME: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::Cache));
const SAME_ON_MEDIA: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::Media));
const SAME_UNMAP: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::UnmapCache));
const COMPARE_SAME: Operation = Operation::Stepped(Stepped::CompareSame);
const WRITE_AND_VERIFY: Operation = Operation::Stepped(Stepped::WriteAndVerify);
const WRITE_AND_COMPARE: Operation = Operation::Stepped(Stepped::WriteAndCompare);

fn disk() -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

/// A disk that takes seven blocks at once, in two pieces, and can neither verify nor write zeroes.
fn narrow() -> Arc<dyn Device> {
    let disk = disk();
    let limits = Geometry {
        transfer_blocks_max: 7,
        spans_max: 2,
        discard_blocks_max: 0,
        write_zeroes_blocks_max: 0,
        operations: OperationLimits::NONE,
        ..disk.geometry()
    };
    Arc::new(Narrow::new(disk, limits, 3))
}

fn file() -> Arc<dyn Device> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(BLOCKS * BLOCK as u64).unwrap();
    Arc::new(FileDevice::open(file.path(), Some(512), Access::ReadWrite).unwrap())
}

/// A mirror of two disks with other limits each.
fn mirror() -> Arc<Volume> {
    Arc::new(Volume::of_composite(Arc::new(Mirror::new([narrow(), disk()].map(volume)))))
}

fn volume(device: Arc<dyn Device>) -> Arc<Volume> {
    Arc::new(Volume::whole(device))
}

/// Volumes on all kinds of bases, and one in the middle of its device.
fn volumes() -> Vec<Arc<Volume>> {
    let part = Volume::whole(disk()).part(Lba(0), Blocks(BLOCKS)).unwrap();
    vec![volume(disk()), volume(narrow()), volume(file()), Arc::new(part), mirror()]
}

/// A block whose bytes differ from each other and from other blocks' of the tests.
fn one_block() -> Vec<u8> {
    (0..BLOCK).map(|at| u8::try_from(at * 7 % 253).unwrap()).collect()
}

/// Content of the blocks, read in pieces that every base takes.
fn content(side: &mut Side, memory: &Memory, blocks: std::ops::Range<u64>) -> Vec<u8> {
    let mut all = Vec::new();
    for lba in blocks.clone().step_by(1024) {
        let count = usize::try_from(1024.min(blocks.end - lba)).unwrap();
        let to = memory.with(2 << 20, &vec![0xee; count * BLOCK]);
        assert_eq!(side.run(Operation::Read, lba, &[to]), Status::Success);
        all.extend(bytes(to));
    }
    all
}

fn run(side: &mut Side, operation: Operation, blocks: std::ops::Range<u64>, data: &[Span]) -> Status {
    side.submit_blocks(99, operation, blocks, data).unwrap();
    match side.settle()[..] {
        [(99, status)] => status,
        ref other => panic!("one request ended as {other:?}"),
    }
}

#[test]
fn a_write_same_writes_its_block_to_all_blocks_and_to_no_other() {
    let (memory, block) = (Memory::new(), one_block());
    for volume in volumes() {
        let mut side = Side::new(0, &volume);
        for blocks in [0..1, 5..8, 60..70, 1..130, 4000..4096, 7..7 + WHOLE, 3..3 + WHOLE + 1, 0..4096] {
            let all = u32::try_from(blocks.end - blocks.start).unwrap();
            assert_eq!(run(&mut side, SAME, 0..BLOCKS, &[]), Status::Success, "zeroes");
            let (first, second) = memory.with(100, &block).split_at(123);
            assert_eq!(run(&mut side, SAME, blocks.clone(), &[first, second]), Status::Success, "{all}");
            let found = content(&mut side, &memory, 0..BLOCKS);
            for (lba, found) in (0..).zip(found.chunks(BLOCK)) {
                let expected = if blocks.contains(&lba) { &block[..] } else { &[0; BLOCK] };
                assert!(found == expected, "block {lba}, after a write of {blocks:?}");
            }
        }
    }
}

#[test]
fn a_write_same_of_zeroes_or_of_nothing_is_a_write_of_zeroes_where_the_base_has_one() {
    let memory = Memory::new();
    let zeroes = [memory.with(0, &[0; BLOCK])];
    let device = Scripted::new(Geometry::for_tests(), 100);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    for data in [&zeroes[..], &[]] {
        for (operation, expected) in
            [(SAME, Operation::WriteZeroes), (SAME_UNMAP, Operation::WriteZeroesUnmap)]
        {
            side.submit_blocks(1, operation, 8..16, data).unwrap();
            side.turn();
            let [Recorded { operation, lba, blocks, tag, .. }] = device.taken()[..] else { panic!() };
            assert_eq!(operation, expected);
            assert_eq!(lba, Lba(8));
            assert_eq!(blocks, 8);
            device.complete(tag, Status::Success);
            assert_eq!(side.settle(), [(1, Status::Success)]);
        }
    }
}

#[test]
fn zeroes_that_are_to_be_on_the_media_are_followed_by_a_flush() {
    let device = Scripted::new(Geometry::for_tests(), 100);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    for (zeroes, flush) in [
        (Status::Success, Some(Status::Success)),
        (Status::Success, Some(Status::MediaError)),
        (Status::MediaError, None),
    ] {
        side.submit_blocks(1, SAME_ON_MEDIA, 8..16, &[]).unwrap();
        side.turn();
        assert_eq!(device.taken()[0].operation, Operation::WriteZeroes);
        assert_eq!(device.complete_all(zeroes), 1);
        if let Some(status) = flush {
            (0..3).for_each(|_| side.turn());
            assert_eq!(device.taken()[0].operation, Operation::Flush);
            assert_eq!(side.ended, []);
            device.complete_all(status);
        }
        assert_eq!(side.settle(), [(1, flush.unwrap_or(zeroes))]);
        assert_eq!(device.taken().len(), 0);
    }
}

#[test]
fn a_long_write_of_zeroes_is_flushed_once_after_all_its_parts() {
    let geometry = Geometry { write_zeroes_blocks_max: 100, ..Geometry::for_tests() };
    let device = Scripted::new(geometry, 100);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    side.submit_blocks(1, SAME_ON_MEDIA, 0..250, &[]).unwrap();
    (0..5).for_each(|_| side.turn());
    let parts = device.taken();
    assert_eq!(parts.iter().map(|part| part.blocks).sum::<u32>(), 250);
    for part in &parts {
        assert_eq!(device.taken().iter().filter(|taken| taken.operation.is_flush()).count(), 0);
        device.complete(part.tag, Status::Success);
        (0..3).for_each(|_| side.turn());
    }
    let [Recorded { operation: Operation::Flush, .. }] = device.taken()[..] else {
        panic!("{:?}", device.taken())
    };
    device.complete_all(Status::Success);
    assert_eq!(side.settle(), [(1, Status::Success)]);
}

#[test]
fn a_write_same_to_the_media_writes_there() {
    let memory = Memory::new();
    let device = Scripted::new(Geometry::for_tests(), 100);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    side.submit_blocks(1, SAME_ON_MEDIA, 0..1, &[memory.with(0, &one_block())]).unwrap();
    (0..3).for_each(|_| side.turn());
    assert_eq!(device.taken()[0].operation, Operation::Write(Durability::Media));
    device.complete_all(Status::Success);
    assert_eq!(side.settle(), [(1, Status::Success)]);
}

#[test]
fn a_failure_in_the_middle_ends_a_request_and_nothing_more_of_it_is_done() {
    let memory = Memory::new();
    let fault = Fault { blocks: 3000..3001, per_mille: 1000, status: Status::MediaError };
    for device in [disk(), narrow()] {
        let device = Arc::new(Faulty::new(device, 1, std::slice::from_ref(&fault)));
        let mut side = Side::new(0, &volume(device));
        let block = [memory.with(0, &one_block())];
        assert_eq!(run(&mut side, SAME, 2990..3000, &block), Status::Success);
        assert_eq!(run(&mut side, SAME, 0..BLOCKS, &block), Status::MediaError);
        assert_eq!(run(&mut side, COMPARE_SAME, 2990..3010, &block), Status::MediaError);
        assert_eq!(run(&mut side, Operation::Verify, 0..BLOCKS, &[]), Status::MediaError);
        let data = [memory.with(0, &[7; 20 * BLOCK])];
        for operation in [WRITE_AND_VERIFY, WRITE_AND_COMPARE] {
            assert_eq!(side.run(operation, 2990, &data), Status::MediaError, "{operation}");
            assert_eq!(side.run(operation, 100, &data), Status::Success, "{operation}");
        }
        let found = content(&mut side, &memory, 3100..3200);
        assert!(found.iter().all(|&byte| byte == 0), "blocks behind the failure are as they were");
    }
}

#[test]
fn a_compare_same_finds_the_first_byte_that_differs_in_any_block() {
    let (memory, block) = (Memory::new(), one_block());
    for volume in volumes() {
        let mut side = Side::new(0, &volume);
        let pattern = [memory.with(0, &block)];
        assert_eq!(run(&mut side, SAME, 0..BLOCKS, &pattern), Status::Success);
        for length in [1, 64, 65, WHOLE, WHOLE + 1, BLOCKS] {
            assert_eq!(run(&mut side, COMPARE_SAME, 0..length, &pattern), Status::Success, "{length}");
        }
        for (lba, at) in [(0, 0), (63, 511), (64, 1), (BLOCKS - 1, 300)] {
            let mut other = block.clone();
            other[at] ^= 1;
            assert_eq!(side.run(WRITE, lba, &[memory.with(1024, &other)]), Status::Success);
            assert_eq!(run(&mut side, COMPARE_SAME, 0..BLOCKS, &pattern), Status::CompareFailed);
            let differs_at = side.graph.mismatch(1, 99).unwrap();
            assert_eq!(differs_at, at as u64, "block {lba}");
            assert_eq!(side.run(WRITE, lba, &pattern), Status::Success);
        }
    }
}

#[test]
fn a_write_and_verify_or_compare_writes_to_the_media_and_asks_it_afterwards() {
    let memory = Memory::new();
    let data = memory.with(0, &[5; 2 * BLOCK]);
    for (operation, read) in [(WRITE_AND_VERIFY, Operation::Read), (WRITE_AND_COMPARE, Operation::Read)] {
        for (written, status) in [(5, Status::Success), (6, Status::CompareFailed)] {
            let device = Scripted::new(Geometry::for_tests(), 100);
            let mut side = Side::new(0, &volume(Arc::new(device.clone())));
            side.submit(1, operation, 3, &[data]).unwrap();
            (0..3).for_each(|_| side.turn());
            let [write] = &device.taken()[..] else { panic!("a write") };
            assert_eq!(write.operation, Operation::Write(Durability::Media));
            assert_eq!(bytes(write.data[0]), [5; 2 * BLOCK]);
            device.complete_all(Status::Success);
            (0..3).for_each(|_| side.turn());
            let [back] = &device.taken()[..] else { panic!("a read") };
            assert_eq!(back.operation, read);
            back.data[0].fill(written);
            device.complete_all(Status::Success);
            let compares = operation == WRITE_AND_COMPARE;
            assert_eq!(side.settle(), [(1, if compares { status } else { Status::Success })]);
        }
    }
}

#[test]
fn a_long_write_and_compare_is_right_at_every_block() {
    let memory = Memory::new();
    let new: Vec<u8> = (0..300 * BLOCK).map(|at| u8::try_from(at / 100 % 255).unwrap()).collect();
    for volume in volumes() {
        let mut side = Side::new(0, &volume);
        for operation in [WRITE_AND_VERIFY, WRITE_AND_COMPARE] {
            assert_eq!(run(&mut side, SAME, 0..BLOCKS, &[]), Status::Success);
            let (first, rest) = memory.with(1, &new).split_at(40_000);
            let (second, third) = rest.split_at(77);
            assert_eq!(side.run(operation, 50, &[first, second, third]), Status::Success);
            let found = content(&mut side, &memory, 49..351);
            assert!(found == [&[0; BLOCK][..], &new, &[0; BLOCK]].concat(), "{operation}");
        }
    }
}

#[test]
fn a_verify_of_all_blocks_is_one_request() {
    for volume in volumes() {
        let mut side = Side::new(0, &volume);
        assert_eq!(run(&mut side, Operation::Verify, 0..BLOCKS, &[]), Status::Success);
        assert_eq!(volume.counters().reads, 1);
        assert_eq!(volume.counters().read_blocks, BLOCKS);
    }
}

#[test]
fn requests_in_steps_and_parts_count_once() {
    let (memory, volume) = (Memory::new(), volume(narrow()));
    let mut side = Side::new(0, &volume);
    let block = [memory.with(0, &one_block())];
    assert_eq!(run(&mut side, SAME, 0..BLOCKS, &block), Status::Success);
    assert_eq!(run(&mut side, SAME, 0..3, &block), Status::Success);
    assert_eq!(run(&mut side, SAME, 0..3, &[]), Status::Success);
    assert_eq!(volume.counters().writes, 3);
    assert_eq!(volume.counters().written_blocks, BLOCKS + 6);
}

#[test]
fn requests_without_the_memory_that_they_need_are_refused() {
    let memory = Memory::new();
    let mut side = Side::new(0, &volume(disk()));
    let data = |blocks: usize| memory.with(0, &vec![1; blocks * BLOCK]);
    let most = side_limits(&volume(disk())).compare_blocks_max;
    let invalid = Err(Refusal::Failed(Status::Invalid));
    for (operation, blocks, data) in [
        (SAME, 0..8, vec![data(2)]),
        (SAME, 0..8, vec![data(1).split_at(511).0]),
        (SAME, 0..0, vec![data(1)]),
        (SAME, 0..8, vec![data(1), Span::EMPTY]),
        (COMPARE_SAME, 0..8, vec![]),
        (COMPARE_SAME, 0..8, vec![data(8)]),
        (WRITE_AND_VERIFY, 0..8, vec![data(1)]),
        (WRITE_AND_COMPARE, 0..8, vec![]),
        (WRITE_AND_COMPARE, 0..u64::from(most) + 1, vec![data(most as usize + 1)]),
    ] {
        let length = blocks.end;
        assert_eq!(side.submit_blocks(1, operation, blocks, &data), invalid, "{operation} of {length}");
    }
    let refused = side.submit_blocks(1, SAME, 4090..4097, &[data(1)]);
    assert_eq!(refused, Err(Refusal::Failed(Status::OutOfRange)));
    let mut protected = Side::new(0, &Arc::new(volume(disk()).read_only_view()));
    for operation in [SAME, SAME_UNMAP, WRITE_AND_VERIFY, WRITE_AND_COMPARE] {
        let refused = protected.submit_blocks(1, operation, 0..1, &[data(1)]);
        assert_eq!(refused, Err(Refusal::Failed(Status::WriteProtected)), "{operation}");
    }
    assert_eq!(run(&mut protected, COMPARE_SAME, 0..1, &[memory.with(0, &[0; BLOCK])]), Status::Success);
}

fn side_limits(volume: &Volume) -> OperationLimits {
    volume.geometry().operations
}

#[test]
fn a_null_disk_takes_all_of_them() {
    let memory = Memory::new();
    let shape = Shape::new(512, Blocks(1 << 40)).unwrap();
    let mut side = Side::new(0, &volume(Arc::new(NullDevice::new(shape))));
    let block = [memory.with(0, &one_block())];
    for operation in [SAME, SAME_UNMAP, COMPARE_SAME, WRITE_AND_VERIFY, WRITE_AND_COMPARE] {
        assert_eq!(run(&mut side, operation, 0..1, &block), Status::Success, "{operation}");
    }
    assert_eq!(run(&mut side, SAME, 0..u32::MAX.into(), &[]), Status::Success);
    assert_eq!(run(&mut side, Operation::Verify, 0..u32::MAX.into(), &[]), Status::Success);
}

#[test]
fn blocks_as_large_as_the_buffer_of_a_step_are_worked_on_one_by_one() {
    const LARGE: usize = 64 << 10;
    let (memory, shape) = (Memory::new(), Shape::new(65536, Blocks(40)).unwrap());
    let disk = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    let mut side = Side::new(0, &volume(Arc::new(disk)));
    let block: Vec<u8> = (0..LARGE).map(|at| u8::try_from(at * 7 % 253).unwrap()).collect();
    let pattern = [memory.with(3, &block)];
    assert_eq!(run(&mut side, SAME, 1..39, &pattern), Status::Success);
    assert_eq!(run(&mut side, COMPARE_SAME, 1..39, &pattern), Status::Success);
    assert_eq!(run(&mut side, COMPARE_SAME, 1..40, &pattern), Status::CompareFailed);
    assert_eq!(side.graph.mismatch(1, 99), Some(1), "the first byte that is not zero");
    let data = memory.with(1 << 20, &vec![9; 16 * LARGE]);
    assert_eq!(run(&mut side, WRITE_AND_COMPARE, 20..36, &[data]), Status::Success);
    let read = memory.with(1 << 20, &vec![1; 20 * LARGE]);
    assert_eq!(run(&mut side, Operation::Read, 19..39, &[read]), Status::Success);
    let expected = [block.clone(), vec![9; 16 * LARGE], block.repeat(3)].concat();
    assert!(bytes(read) == expected);
}

#[test]
fn a_fence_waits_for_a_long_write_same_and_then_holds_others() {
    let memory = Memory::new();
    let block = [memory.with(0, &one_block())];
    let mut side = Side::new(0, &volume(disk()));
    side.submit_blocks(1, SAME, 0..BLOCKS, &block).unwrap();
    side.turn();
    let fence = side.graph.raise_fence(side.volume, Lba(10)..Lba(11)).unwrap();
    assert!(!side.graph.drain(side.volume), "the write is in flight");
    assert_eq!(side.submit_blocks(2, SAME, 100..101, &block), Err(Refusal::Full), "all are held");
    assert_eq!(side.settle(), [(1, Status::Success)]);
    assert!(side.graph.drain(side.volume));
    assert_eq!(side.submit_blocks(2, SAME, 0..BLOCKS, &block), Err(Refusal::Full));
    assert_eq!(side.submit_blocks(2, SAME, 0..10, &[]), Ok(()));
    assert_eq!(side.submit_blocks(3, SAME, 11..BLOCKS, &block), Ok(()));
    assert_eq!(side.settle().len(), 2);
    side.graph.lift_fence(side.volume, fence);
    assert_eq!(run(&mut side, SAME, 0..BLOCKS, &block), Status::Success);
}

#[test]
fn long_requests_of_a_volume_keep_no_other_volume_from_a_step() {
    let (memory, device) = (Memory::new(), narrow());
    let [greedy, modest] = [0, 2048]
        .map(|first| Arc::new(Volume::whole(Arc::clone(&device)).part(Lba(first), Blocks(2048)).unwrap()));
    let mut side = Side::new(0, &greedy);
    let modest = mount(&mut side.graph, CoreId(0), &modest).unwrap();
    let block = [memory.with(0, &one_block())];
    let mut long = 0;
    while side.submit_blocks(long, SAME, 0..2048, &block).is_ok() {
        long += 1;
    }
    side.volume = modest;
    let data = [memory.with(4096, &[0; 2 * BLOCK])];
    let served = (0..2000).find(|_| {
        let taken = side.submit(100, COMPARE_AND_WRITE, 7, &data).is_ok();
        side.turn();
        taken
    });
    assert!(served.is_some(), "{long} long requests keep all slots");
    assert!(side.graph.in_flight() > usize::from(long) / 2, "and they are not over yet");
    assert_eq!(side.settle().len(), usize::from(long) + 1);
}

#[test]
fn a_long_write_same_does_a_bounded_number_of_steps_in_a_turn() {
    let memory = Memory::new();
    let device = Scripted::new(Geometry { blocks: Blocks(1 << 20), ..Geometry::for_tests() }, 1000);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    side.submit_blocks(1, SAME, 0..1 << 20, &[memory.with(0, &one_block())]).unwrap();
    for _ in 0..100 {
        side.turn();
        assert!(device.taken().len() <= 8, "a step for each slot");
        let ended = device.complete_all(Status::Success);
        assert!(ended <= 2, "{ended} steps in a turn");
    }
    assert_eq!(side.graph.in_flight(), 1, "it goes on");
}

#[test]
fn a_compare_and_write_waits_for_a_long_write_same_of_another_core_and_holds_the_next_one() {
    let memory = Memory::new();
    let device = Scripted::new(Geometry::for_tests(), 100);
    let volume = volume(Arc::new(device.clone()));
    let [mut one, mut other] = [0, 1].map(|core| Side::new(core, &volume));
    let block = [memory.with(0, &one_block())];
    one.submit_blocks(1, SAME, 0..1024, &block).unwrap();
    one.turn();
    other.submit(2, COMPARE_AND_WRITE, 500, &[memory.with(4096, &[0; 2 * BLOCK])]).unwrap();
    for _ in 0..5 {
        one.turn();
        other.turn();
    }
    let of_core = |core| device.taken().iter().filter(|taken| taken.core == CoreId(core)).count();
    assert_eq!(of_core(1), 0, "the write is in flight");
    while of_core(0) > 0 {
        device.complete_all(Status::Success);
        (0..3).for_each(|_| one.turn());
    }
    assert_eq!(std::mem::take(&mut one.ended), [(1, Status::Success)]);
    for _ in 0..5 {
        one.turn();
        other.turn();
    }
    assert_eq!(of_core(1), 1);
    assert_eq!(one.submit_blocks(3, SAME, 400..600, &block), Err(Refusal::Full), "a block is locked");
    assert_eq!(one.submit_blocks(4, SAME, 0..500, &block), Ok(()));
}

#[test]
fn a_base_that_compares_does_not_tell_where_and_the_place_is_found_all_the_same() {
    let memory = Memory::new();
    let operations = OperationLimits { compare_blocks_max: 64, ..OperationLimits::NONE };
    let device = Scripted::new(Geometry { operations, ..Geometry::for_tests() }, 100);
    let mut side = Side::new(0, &volume(Arc::new(device.clone())));
    side.submit(7, COMPARE_AND_WRITE, 5, &[memory.with(0, &[1; 4 * BLOCK])]).unwrap();
    let next = |side: &mut Side| {
        (0..3).for_each(|_| side.turn());
        device.taken().first().map(|taken| taken.operation)
    };
    assert_eq!(next(&mut side), Some(Operation::Compare));
    device.complete_all(Status::CompareFailed);
    assert_eq!(next(&mut side), Some(Operation::Read));
    let found = device.taken()[0].data[0];
    found.fill(1);
    found.split_at(700).1.fill(2);
    device.complete_all(Status::Success);
    assert_eq!(side.settle(), [(7, Status::CompareFailed)]);
    assert_eq!(side.graph.mismatch(1, 7), Some(700));
}
