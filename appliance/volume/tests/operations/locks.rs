//! Blocks that are locked on several cores.

use crate::rig::{BLOCK, COMPARE_AND_WRITE, Memory, Side, WRITE};
use luge_block::doubles::{Recorded, Scripted};
use luge_block::{BlockRange, Blocks, Geometry, Lba, Operation, Refusal, Status, Tag};
use luge_volume::Volume;
use std::sync::Arc;

/// Two cores with a volume on a device that ends requests when it is told to.
struct Bench {
    device: Scripted,
    volume: Arc<Volume>,
    memory: Memory,
    sides: [Side; 2],
}

impl Bench {
    fn new() -> Self {
        let device = Scripted::new(Geometry::for_tests(), 100);
        let volume = Arc::new(Volume::whole(Arc::new(device.clone())));
        let sides = [0, 1].map(|core| Side::new(core, &volume));
        Self { device, volume, memory: Memory::new(), sides }
    }

    /// Lets a side submit a compare-and-write of a block that is zeroes.
    fn compare_and_write(&mut self, side: usize, lba: u64) -> Result<(), Refusal> {
        let data = self.memory.with(0, &[0; 2 * BLOCK]);
        self.sides[side].submit(7, COMPARE_AND_WRITE, lba, &[data])
    }

    fn write(&mut self, side: usize, lba: u64) -> Result<(), Refusal> {
        self.sides[side].submit(8, WRITE, lba, &[self.memory.with(4096, &[1; BLOCK])])
    }

    fn read(&mut self, side: usize, lba: u64) -> Result<(), Refusal> {
        self.sides[side].submit(9, Operation::Read, lba, &[self.memory.with(8192, &[1; BLOCK])])
    }

    /// Each side takes some turns.
    fn turns(&mut self) {
        for _ in 0..5 {
            self.sides.iter_mut().for_each(Side::turn);
        }
    }

    /// Requests of compare-and-writes that the device has.
    fn steps(&self) -> Vec<Recorded> {
        self.device.taken().into_iter().filter(|taken| is_step(taken.tag)).collect()
    }

    /// Ends the one step that the device has, of an operation. What a read reads is zeroes.
    fn end_step(&mut self, operation: Operation, status: Status) {
        let [step] = &self.steps()[..] else { panic!("one step, not {:?}", self.device.taken()) };
        assert_eq!(step.operation, operation);
        if step.operation.is_read() {
            step.data.iter().for_each(|span| span.fill(0));
        }
        assert!(self.device.complete(step.tag, status));
        self.turns();
    }

    fn ended(&mut self, side: usize) -> Vec<(u16, Status)> {
        std::mem::take(&mut self.sides[side].ended)
    }
}

fn is_step(tag: Tag) -> bool {
    tag.is_of_level(0) && tag.is_step()
}

#[test]
fn blocks_are_locked_when_what_was_in_flight_has_ended_on_all_cores() {
    let mut bench = Bench::new();
    bench.write(1, 100).unwrap();
    bench.read(0, 500).unwrap();
    bench.compare_and_write(0, 100).unwrap();
    bench.turns();
    assert_eq!(bench.steps().len(), 0, "two requests are in flight");
    bench.device.complete(Tag::new(1, 8), Status::Success);
    bench.turns();
    assert_eq!(bench.steps().len(), 0, "one request is in flight on the same core");
    bench.device.complete(Tag::new(1, 9), Status::Success);
    bench.turns();
    bench.end_step(Operation::Read, Status::Success);
    bench.end_step(WRITE, Status::Success);
    assert_eq!(bench.ended(0), [(9, Status::Success), (7, Status::Success)]);
}

#[test]
fn nobody_reads_or_writes_locked_blocks_and_all_others_are_served() {
    let mut bench = Bench::new();
    bench.compare_and_write(0, 100).unwrap();
    bench.turns();
    for operation in [Operation::Read, WRITE] {
        for side in [0, 1] {
            assert_eq!(bench.write(side, 100), Err(Refusal::Full), "core {side}");
            assert_eq!(bench.read(side, 100), Err(Refusal::Full), "core {side}");
            assert_eq!(bench.read(side, 99), Ok(()), "core {side}");
            assert_eq!(bench.write(side, 101), Ok(()), "core {side}");
            let discard = bench.sides[side].submit_blocks(10, Operation::Discard, 0..200, &[]);
            assert_eq!(discard, Err(Refusal::Full), "core {side}");
            let flush = bench.sides[side].submit_blocks(11, Operation::Flush, 0..1, &[]);
            assert_eq!(flush, Ok(()), "core {side}");
        }
        bench.end_step(operation, Status::Success);
    }
    assert_eq!(bench.ended(0), [(7, Status::Success)]);
    for side in [0, 1] {
        assert_eq!(bench.write(side, 100), Ok(()), "core {side}");
        assert_eq!(bench.read(side, 100), Ok(()), "core {side}");
    }
}

#[test]
fn of_two_that_ask_at_once_the_first_ticket_goes_first_and_the_other_after_it() {
    let mut bench = Bench::new();
    bench.compare_and_write(1, 100).unwrap();
    bench.compare_and_write(0, 100).unwrap();
    bench.sides[1].graph.commit();
    bench.sides[0].graph.commit();
    bench.turns();
    for side in [1, 0] {
        assert_eq!(bench.steps().len(), 1, "one has the blocks");
        assert_eq!(usize::from(bench.steps()[0].core.0), side);
        bench.end_step(Operation::Read, Status::Success);
        bench.end_step(WRITE, Status::Success);
        assert_eq!(bench.ended(side), [(7, Status::Success)]);
    }
}

#[test]
fn locks_on_different_blocks_are_held_at_the_same_time() {
    let mut bench = Bench::new();
    bench.compare_and_write(0, 100).unwrap();
    bench.compare_and_write(1, 101).unwrap();
    bench.turns();
    assert_eq!(bench.steps().len(), 2);
}

#[test]
fn a_failure_in_either_half_unlocks_the_blocks() {
    for (half, ends) in [(0, vec![Operation::Read]), (1, vec![Operation::Read, WRITE])] {
        let mut bench = Bench::new();
        bench.compare_and_write(0, 100).unwrap();
        bench.turns();
        for (index, operation) in ends.into_iter().enumerate() {
            bench.end_step(operation, if index == half { Status::Aborted } else { Status::Success });
        }
        assert_eq!(bench.ended(0), [(7, Status::Aborted)]);
        assert_eq!(bench.write(1, 100), Ok(()));
        assert_eq!(bench.write(0, 100), Ok(()));
    }
}

#[test]
fn a_volume_that_leaves_or_comes_while_others_ask_keeps_nobody_waiting() {
    let mut bench = Bench::new();
    bench.write(1, 0).unwrap();
    bench.compare_and_write(0, 100).unwrap();
    bench.turns();
    assert_eq!(bench.steps().len(), 0, "the write is in flight");
    bench.device.complete_all(Status::Success);
    bench.sides[1].graph.poll(|_| {});
    let [_, leaving] = &mut bench.sides;
    leaving.graph.remove_volume(leaving.volume);
    bench.sides[0].turn();
    let mut coming = Side::new(2, &bench.volume);
    let data = bench.memory.with(4096, &[1; BLOCK]);
    assert_eq!(coming.submit(1, WRITE, 100, &[data]), Err(Refusal::Full), "blocks that are asked for");
    assert_eq!(coming.submit(1, WRITE, 101, &[data]), Ok(()));
    bench.sides[1] = coming;
    bench.turns();
    bench.device.complete(Tag::new(1, 1), Status::Success);
    bench.turns();
    bench.end_step(Operation::Read, Status::Success);
    bench.end_step(WRITE, Status::Success);
    assert_eq!(bench.ended(0), [(7, Status::Success)]);
}

#[test]
fn only_volumes_with_common_blocks_obey_each_others_locks() {
    let mut bench = Bench::new();
    let parts = [0, 512].map(|first| Arc::new(bench.volume.part(Lba(first), Blocks(512)).unwrap()));
    let [mut below, mut above] = parts.each_ref().map(|part| Side::new(2, part));
    let mut view = Side::new(3, &Arc::new(parts[1].read_only_view()));
    let data = bench.memory.with(4096, &[0; 2 * BLOCK]);
    let one = data.split_at(512).0;
    below.submit(1, WRITE, 100, &[one]).unwrap();
    above.submit(7, COMPARE_AND_WRITE, 88, &[data]).unwrap();
    for _ in 0..5 {
        [&mut below, &mut above, &mut view].into_iter().for_each(Side::turn);
        bench.turns();
    }
    assert_eq!(bench.steps().len(), 1, "the write in the other part does not count");
    assert_eq!(below.submit(2, WRITE, 88, &[one]), Ok(()));
    assert_eq!(bench.write(0, 600), Err(Refusal::Full), "block 88 of the upper half");
    assert_eq!(bench.write(0, 601), Ok(()));
    assert_eq!(view.submit(2, Operation::Read, 88, &[one]), Err(Refusal::Full));
    assert_eq!(view.submit(2, Operation::Read, 89, &[one]), Ok(()));
}

#[test]
fn a_fence_waits_for_a_compare_and_write_that_waits_for_its_lock() {
    let mut bench = Bench::new();
    bench.write(1, 100).unwrap();
    bench.compare_and_write(0, 100).unwrap();
    bench.turns();
    let Side { graph, volume, .. } = &mut bench.sides[0];
    let fence = graph.raise_fence(*volume, Lba(100)..Lba(101)).unwrap();
    assert!(!graph.drain(*volume));
    bench.device.complete_all(Status::Success);
    bench.turns();
    bench.end_step(Operation::Read, Status::Success);
    bench.end_step(WRITE, Status::Success);
    let Side { graph, volume, .. } = &mut bench.sides[0];
    assert!(graph.drain(*volume));
    assert_eq!(bench.compare_and_write(0, 100), Err(Refusal::Full));
    let Side { graph, volume, .. } = &mut bench.sides[0];
    graph.lift_fence(*volume, fence);
    assert_eq!(bench.compare_and_write(0, 100), Ok(()));
}

#[test]
fn a_long_request_to_other_blocks_is_not_waited_for_and_one_to_the_same_is() {
    for (lba, waits) in [(200, false), (0, true)] {
        let mut bench = Bench::new();
        bench.device.set_room(2);
        let ranges = [0, 1, 2].map(|range| BlockRange {
            operation: Operation::Discard,
            lba: Lba(lba + 40 * range),
            blocks: 40,
        });
        let mut volume = bench.sides[1].graph.volume(bench.sides[1].volume).unwrap();
        volume.submit_ranges(Tag::new(1, 20), &ranges).unwrap();
        bench.turns();
        bench.device.set_room(100);
        bench.compare_and_write(0, 100).unwrap();
        for _ in 0..20 {
            bench.sides.iter_mut().for_each(Side::turn);
        }
        assert_eq!(bench.steps().is_empty(), waits, "discards from block {lba}");
        bench.device.complete_all(Status::Success);
        bench.turns();
    }
}

#[test]
fn a_guest_that_locks_a_block_without_end_keeps_nobody_from_it() {
    let mut bench = Bench::new();
    let (mut waiting, mut ended) = ([true; 2], 0);
    for turn in 0..200 {
        while bench.compare_and_write(0, 100).is_ok() {}
        for side in [0, 1] {
            waiting[side] = waiting[side] && (turn < 10 || bench.read(side, 100).is_err());
        }
        bench.sides.iter_mut().for_each(Side::turn);
        for step in bench.steps().iter().filter(|step| step.operation.is_read()) {
            step.data.iter().for_each(|span| span.fill(0));
        }
        bench.device.complete_all(Status::Success);
        ended += bench.ended(0).iter().filter(|(slot, _)| *slot == 7).count();
    }
    assert_eq!(waiting, [false; 2], "whether reads of each core still wait");
    assert!(ended > 8, "{ended} compare-and-writes ended");
}

#[test]
fn more_locks_than_a_volume_tells_apart_hold_all_its_blocks_and_end() {
    let mut bench = Bench::new();
    let mut many: Vec<Side> = (2..22).map(|core| Side::new(core, &bench.volume)).collect();
    for (lba, side) in (0..).step_by(20).zip(&mut many) {
        side.submit(7, COMPARE_AND_WRITE, lba, &[bench.memory.with(0, &[0; 2 * BLOCK])]).unwrap();
        side.graph.commit();
    }
    bench.turns();
    assert_eq!(bench.write(0, 1000), Err(Refusal::Full));
    let mut ended = 0;
    for _ in 0..100 {
        many.iter_mut().for_each(Side::turn);
        bench.turns();
        for step in bench.steps().iter().filter(|step| step.operation.is_read()) {
            step.data.iter().for_each(|span| span.fill(0));
        }
        bench.device.complete_all(Status::Success);
        ended += many.iter_mut().map(|side| side.ended.drain(..).count()).sum::<usize>();
    }
    assert_eq!(ended, 20);
    assert_eq!(bench.write(0, 1000), Ok(()));
}
