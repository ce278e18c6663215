//! Volumes made of volumes: mirrors whose legs fail, are slow or go, and nodes on nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod as_device;

use as_device::AsDevice;
use luge_block::doubles::{Check, Delayed, Failures, Fault, Faulty, Scripted};
use luge_block::{
    Blocks, CoreId, Device, Geometry, Lba, MemoryDevice, Operation, Refusal, Request, Shape, SizeClass,
    Status, Tag,
};
use luge_memory::{DmaSpace, PageSize};
use luge_seeded::fuzz;
use luge_volume::doubles::{Delay, Delaying, Failing, FailureCount, Mirror, mount};
use luge_volume::{Composite, Graph, Ticks, Volume, VolumeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const CORE: CoreId = CoreId(0);
const BLOCKS: u64 = 1000;

fn disk(space: &Arc<DmaSpace>) -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    Arc::new(MemoryDevice::new(space, shape, PageSize::Base, None).unwrap())
}

fn whole(device: Arc<dyn Device>) -> Arc<Volume> {
    Arc::new(Volume::whole(device))
}

fn composite(composite: impl Composite + 'static) -> Arc<Volume> {
    Arc::new(Volume::of_composite(Arc::new(composite)))
}

/// Checks by random requests that a volume does what they mean.
fn check(space: &Arc<DmaSpace>, volume: Arc<Volume>, seed: u64, failures: Failures) {
    Check { device: &AsDevice::new(volume), space, cores: 2, steps: 500, failures }.run(seed);
}

/// A device all of whose requests fail that have blocks.
fn broken(device: Arc<dyn Device>, seed: u64) -> Arc<dyn Device> {
    let all = Fault { blocks: 0..BLOCKS, per_mille: 1000, status: Status::MediaError };
    Arc::new(Faulty::new(device, seed, &[all]))
}

#[test]
fn a_mirror_does_what_requests_mean_while_its_legs_answer_in_any_order() {
    fuzz(|random| {
        let seed = random.number() >> 1;
        let space = DmaSpace::new();
        let leg = |seed| whole(Arc::new(Delayed::new(disk(&space), seed)));
        check(&space, composite(Mirror::new([leg(seed), leg(seed + 1)])), seed, Failures::None);
    });
}

#[test]
fn a_mirror_hides_a_leg_that_fails() {
    for (seed, bad) in (0..8).zip([0, 1].into_iter().cycle()) {
        let space = DmaSpace::new();
        let leg = |leg| whole(if leg == bad { broken(disk(&space), seed) } else { disk(&space) });
        let legs = [leg(0), leg(1)];
        let mirror = Arc::new(Mirror::new(legs.clone()));
        check(&space, Arc::new(Volume::of_composite(mirror.clone())), seed, Failures::None);
        assert!(mirror.is_lost(bad), "seed {seed}");
        assert!(!mirror.is_lost(1 - bad), "seed {seed}");
        assert!(legs[bad].counters().failed > 0, "seed {seed}: the failure is counted where it happened");
        assert_eq!(legs[1 - bad].counters().failed, 0, "seed {seed}");
    }
}

#[test]
fn nodes_on_nodes_and_parts_of_nodes_do_what_requests_mean() {
    for seed in 0..4 {
        let space = DmaSpace::new();
        let slow = |seed| {
            let disk = whole(Arc::new(Delayed::new(disk(&space), seed)));
            composite(Delaying::new(disk, Delay::of(Duration::from_micros(10))))
        };
        let inner = composite(Mirror::new([slow(seed), slow(seed + 10)]));
        let fine = composite(Failing::new(inner, FailureCount::default(), Status::MediaError));
        let part = Arc::new(fine.part(Lba(100), Blocks(600)).unwrap());
        let outer = composite(Mirror::new([part, whole(disk(&space))]));
        let top = Arc::new(outer.part(Lba(50), Blocks(500)).unwrap());
        check(&space, top, seed, Failures::None);
    }
}

#[test]
fn requests_that_fail_on_demand_are_tolerated_by_the_model_and_no_others() {
    let space = DmaSpace::new();
    let count = FailureCount::default();
    count.demand(50);
    let volume = composite(Failing::new(whole(disk(&space)), count, Status::MediaError));
    check(&space, volume.clone(), 1, Failures::Tolerated);
    check(&space, volume, 2, Failures::None);
}

fn panics<T>(work: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

/// Two scripted devices, and a graph.
struct Bench {
    graph: Graph,
    devices: [Scripted; 2],
}

impl Bench {
    fn new(room: usize) -> Self {
        let devices = [(); 2].map(|()| Scripted::new(Geometry::for_tests(), room));
        Self { graph: Graph::default(), devices }
    }

    fn legs(&self) -> [Arc<Volume>; 2] {
        self.devices.clone().map(|device| whole(Arc::new(device)))
    }

    fn mount(&mut self, volume: &Arc<Volume>) -> VolumeId {
        mount(&mut self.graph, CORE, volume).unwrap()
    }

    fn submit(&mut self, volume: VolumeId, slot: u16, operation: Operation) -> Result<(), Refusal> {
        let blocks = u32::from(operation != Operation::Flush);
        let request = Request { tag: Tag::new(1, slot), operation, lba: Lba(0), blocks, data: &[] };
        self.graph.volume(volume).unwrap().submit(&request)
    }

    /// A turn; returns the slots and statuses of the requests that ended.
    fn turn(&mut self) -> Vec<(u16, Status)> {
        let mut done = Vec::new();
        self.graph.commit();
        self.graph.poll(|run| done.extend(run.iter().map(|end| (end.tag().slot(), end.status()))));
        done
    }
}

#[test]
fn a_mirror_waits_for_both_legs_and_for_room_in_each() {
    let mut bench = Bench::new(1);
    let volume = composite(Mirror::new(bench.legs()));
    let id = bench.mount(&volume);
    bench.submit(id, 7, Operation::Discard).unwrap();
    bench.submit(id, 8, Operation::Discard).unwrap();
    assert_eq!(bench.turn(), []);
    assert_eq!(bench.devices[0].taken().len(), 1, "there is room for one");
    assert_eq!(bench.devices[0].complete_all(Status::Success), 1);
    assert_eq!(bench.turn(), [], "the other leg has it still");
    assert_eq!(bench.devices[1].complete_all(Status::Success), 1);
    assert_eq!(bench.turn(), [(7, Status::Success)]);
    for _ in 0..2 {
        bench.devices.iter().for_each(|device| _ = device.complete_all(Status::Success));
        bench.turn();
    }
    assert_eq!(bench.graph.in_flight(), 0);
}

#[test]
fn a_leg_that_is_pulled_is_lost_before_the_write_is_answered_and_both_lost_is_an_error() {
    let mut bench = Bench::new(8);
    let mirror = Arc::new(Mirror::new(bench.legs()));
    let volume = Arc::new(Volume::of_composite(mirror.clone()));
    let id = bench.mount(&volume);
    bench.submit(id, 1, Operation::Discard).unwrap();
    bench.turn();
    bench.devices[0].complete_all(Status::Gone);
    bench.devices[1].complete_all(Status::Success);
    assert_eq!(bench.turn(), [(1, Status::Success)]);
    assert!(mirror.is_lost(0));
    bench.submit(id, 2, Operation::Flush).unwrap();
    assert_eq!(bench.devices[0].taken().len(), 0, "a lost leg gets nothing");
    bench.turn();
    bench.devices[1].complete_all(Status::Gone);
    assert_eq!(bench.turn(), [(2, Status::Gone)]);
    assert_eq!(bench.submit(id, 3, Operation::Flush), Err(Refusal::Failed(Status::Gone)));
}

#[test]
fn a_node_sees_completions_before_those_above_and_each_volume_counts_its_own() {
    let mut bench = Bench::new(8);
    let legs = bench.legs();
    let mirror = composite(Mirror::new(legs.clone()));
    let part = Arc::new(mirror.part(Lba(8), Blocks(8)).unwrap());
    let id = bench.mount(&part);
    (0..3).for_each(|slot| bench.submit(id, slot, Operation::WriteZeroes).unwrap());
    bench.turn();
    assert!(bench.devices[0].taken().iter().all(|request| request.lba == Lba(8)), "the part begins there");
    bench.devices.iter().for_each(|device| assert_eq!(device.complete_all(Status::Success), 3));
    assert_eq!(bench.turn().len(), 3);
    for volume in [&part, &legs[0], &legs[1]] {
        assert_eq!(volume.counters().writes, 3);
    }
    assert_eq!(mirror.counters().writes, 0, "it was not on this graph");
}

#[test]
fn what_is_delayed_is_in_flight_until_its_time_and_asks_for_a_turn_then() {
    let mut bench = Bench::new(8);
    let (delay, wait) = (Delay::default(), Duration::from_millis(2));
    let [leg, _] = bench.legs();
    let volume = composite(Delaying::new(leg, delay.clone()));
    let id = bench.mount(&volume);
    delay.set(wait);
    (0..3).for_each(|slot| bench.submit(id, slot, Operation::Flush).unwrap());
    assert_eq!(bench.graph.wake_at(), None, "it waits for its part");
    assert!(bench.graph.needs_polling());
    bench.turn();
    let start = Ticks::now();
    bench.devices[0].complete_all(Status::Success);
    assert_eq!(bench.turn(), []);
    assert_eq!(bench.graph.in_flight(), 3, "held is in flight");
    assert!(!bench.graph.needs_polling(), "no channel has it");
    let due = bench.graph.wake_at().unwrap();
    assert!(due >= start + wait);
    while Ticks::now() < due {}
    assert_eq!(bench.turn(), [0, 1, 2].map(|slot| (slot, Status::Success)));
    assert_eq!(bench.graph.wake_at(), None);
}

#[test]
fn a_hold_lets_as_many_pass_as_it_is_told_and_asks_for_turns_until_it_ends() {
    let mut bench = Bench::new(8);
    let delay = Delay::default();
    let [leg, _] = bench.legs();
    let id = bench.mount(&composite(Delaying::new(leg, delay.clone())));
    delay.hold();
    (0..4).for_each(|slot| bench.submit(id, slot, Operation::Flush).unwrap());
    bench.turn();
    assert_eq!(bench.devices[0].complete_all(Status::Success), 4);
    assert_eq!(bench.turn(), []);
    assert_eq!(bench.graph.wake_at(), Some(Ticks::PAST));
    delay.let_pass(2);
    assert_eq!(bench.turn(), [0, 1].map(|slot| (slot, Status::Success)));
    assert_eq!(bench.turn(), []);
    delay.release();
    assert_eq!(bench.turn(), [2, 3].map(|slot| (slot, Status::Success)));
    assert_eq!(bench.graph.wake_at(), None);
}

#[test]
fn a_request_in_parts_needs_turns_while_what_is_beneath_its_node_has_no_room() {
    let geometry = Geometry { discard_blocks_max: 8, ..Geometry::for_tests() };
    let device = Scripted::new(geometry, 1);
    let mut graph = Graph::default();
    let leg = whole(Arc::new(device.clone()));
    let id = mount(&mut graph, CORE, &composite(Failing::new(leg, FailureCount::default(), Status::Gone)));
    let tag = Tag::new(1, 7);
    let discard = Request { tag, operation: Operation::Discard, lba: Lba(0), blocks: 16, data: &[] };
    graph.volume(id.unwrap()).unwrap().submit(&discard).unwrap();
    graph.commit();
    // As an SSD that is being reset.
    device.set_room(0);
    assert_eq!(device.complete_all(Status::Success), 1);
    let mut ended = 0;
    let mut turn = |graph: &mut Graph| {
        graph.commit();
        graph.poll(|run| ended += run.len());
        graph.commit();
    };
    (0..3).for_each(|_| turn(&mut graph));
    assert_eq!(device.taken().len(), 0, "the second part waits");
    assert!(graph.needs_polling());
    device.set_room(1);
    (0..3).for_each(|_| turn(&mut graph));
    assert_eq!(device.complete_all(Status::Success), 1);
    (0..2).for_each(|_| turn(&mut graph));
    assert_eq!(ended, 1);
    assert!(!graph.needs_polling());
}

#[test]
fn a_mirror_asks_for_turns_while_a_leg_has_no_room() {
    let mut bench = Bench::new(1);
    let id = bench.mount(&composite(Mirror::new(bench.legs())));
    bench.submit(id, 7, Operation::Discard).unwrap();
    assert_eq!(bench.graph.wake_at(), None, "both legs have it");
    bench.submit(id, 8, Operation::Discard).unwrap();
    assert_eq!(bench.graph.wake_at(), Some(Ticks::PAST));
}

#[test]
fn a_part_has_one_parent_and_goes_after_it() {
    let mut bench = Bench::new(8);
    let [leg, _] = bench.legs();
    let part = bench.mount(&leg);
    let node = || Delaying::new(leg.clone(), Delay::default()).open(CORE, &[part]);
    let id = bench.graph.add_node(node(), &[part]).ok().unwrap();
    assert!(panics(|| bench.graph.add_node(node(), &[part]).is_ok()), "it has a parent");
    assert!(panics(|| bench.graph.remove_volume(part)), "it is used");
    assert!(bench.graph.remove_node(id).is_some());
}

#[test]
fn a_completion_keeps_its_status_through_nodes_that_pass_it_on() {
    let mut bench = Bench::new(8);
    let [leg, _] = bench.legs();
    let inner = composite(Failing::new(leg, FailureCount::default(), Status::MediaError));
    let volume = composite(Delaying::new(inner, Delay::default()));
    let id = bench.mount(&volume);
    for status in [Status::Success, Status::NoSpace, Status::Aborted, Status::Gone] {
        bench.submit(id, 5, Operation::Flush).unwrap();
        bench.turn();
        bench.devices[0].complete_all(status);
        assert_eq!(bench.turn(), [(5, status)]);
    }
}

#[test]
fn a_completion_keeps_the_size_class_of_the_whole_request_through_nodes_and_parts() {
    let geometry = Geometry { discard_blocks_max: 8, ..Geometry::for_tests() };
    let devices = [(); 2].map(|()| Scripted::new(geometry, 100));
    let mut bench = Bench { graph: Graph::default(), devices };
    let inner = composite(Failing::new(
        composite(Mirror::new(bench.legs())),
        FailureCount::default(),
        Status::MediaError,
    ));
    let id = bench.mount(&composite(Delaying::new(inner, Delay::default())));
    for blocks in [1, 8, 9, 100] {
        let tag = Tag::new(1, 5);
        let discard = Request { tag, operation: Operation::Discard, lba: Lba(0), blocks, data: &[] };
        bench.graph.volume(id).unwrap().submit(&discard).unwrap();
        let mut ended = Vec::new();
        while bench.graph.in_flight() > 0 {
            bench.graph.commit();
            bench.devices.iter().for_each(|device| _ = device.complete_all(Status::Success));
            bench.graph.poll(|run| ended.extend(run.iter().map(|end| end.tag().size_class())));
        }
        assert_eq!(ended, [SizeClass::of(blocks)], "{blocks} blocks");
    }
}
