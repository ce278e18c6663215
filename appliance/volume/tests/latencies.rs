//! Latencies of requests, at times that a test sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::Scripted;
use luge_block::{Blocks, CoreId, Device, Geometry, Lba, Operation, Request, Status, Tag};
use luge_seeded::{Random, fuzz};
use luge_volume::{Base, Graph, Histogram, SlotTimes, Ticks, TimedOperation, Volume, VolumeId};
use std::collections::BTreeMap;
use std::sync::Arc;

const CORE: CoreId = CoreId(0);
const SLOTS: u16 = 32;
const SESSIONS: u16 = 2;

/// Volumes on a scripted device, sessions with 32 slots each, and a clock that the test sets.
struct Bench {
    graph: Graph,
    device: Scripted,
    volumes: Vec<(Volume, VolumeId)>,
}

impl Bench {
    fn new(volumes: u64) -> Self {
        let device = Scripted::new(Geometry::for_tests(), usize::from(SLOTS * SESSIONS));
        let mut graph = Graph::default();
        let base = Base::Channel(graph.add_channel(device.open(CORE).unwrap()).ok().unwrap());
        let whole = Volume::whole(Arc::new(device.clone()));
        let parts = (0..volumes).map(|n| {
            let part = whole.part(Lba(100 * n), Blocks(100)).unwrap();
            let id = graph.add_volume(CORE, &part, base).unwrap();
            (part, id)
        });
        let volumes = parts.collect();
        (0..SESSIONS).for_each(|session| graph.open_session(session, &mut SlotTimes::new(SLOTS.into())));
        Self { graph, device, volumes }
    }

    /// Begins a request to a volume at a time.
    fn begin(&mut self, volume: usize, tag: Tag, operation: Operation, now: u64) {
        self.graph.begin_turn(Ticks(now));
        let blocks = u32::from(!operation.is_flush());
        let request = Request { tag, operation, lba: Lba(0), blocks, data: &[] };
        self.graph.volume(self.volumes[volume].1).unwrap().submit(&request).unwrap();
        self.graph.commit();
    }

    /// Ends a request at a time.
    fn end(&mut self, tag: Tag, status: Status, now: u64) {
        assert!(self.device.complete(tag, status));
        self.graph.begin_turn(Ticks(now));
        assert_eq!(self.graph.poll(|_| ()), 1);
    }

    fn histogram(&self, volume: usize, operation: TimedOperation) -> Histogram {
        self.volumes[volume].0.latencies_where(|class| class.operation == operation)
    }
}

const ONE: Tag = Tag::new(0, 1);
const TWO: Tag = Tag::new(0, 2);
const DISCARD: Operation = Operation::Discard;

#[test]
fn a_request_takes_from_the_turn_that_took_it_to_the_turn_that_saw_it_end() {
    let mut bench = Bench::new(1);
    bench.begin(0, ONE, DISCARD, 10_000);
    bench.end(ONE, Status::Success, 17_345);
    let unmaps = bench.histogram(0, TimedOperation::Unmap);
    assert_eq!(unmaps.count(), 1);
    assert_eq!(unmaps.sum(), 7_345);
    assert_eq!(unmaps.quantile(500), 7_345);
    assert_eq!(bench.histogram(0, TimedOperation::Read).count(), 0);
}

#[test]
fn requests_that_begin_together_and_end_together_are_counted_by_their_kinds() {
    let mut bench = Bench::new(1);
    for (slot, operation) in [(1, Operation::WriteZeroes), (2, DISCARD), (3, DISCARD)] {
        bench.begin(0, Tag::new(0, slot), operation, 1_000);
    }
    bench.device.complete_all(Status::Success);
    bench.graph.begin_turn(Ticks(3_000));
    bench.graph.poll(|_| ());
    for (operation, count) in [(TimedOperation::Write, 1), (TimedOperation::Unmap, 2)] {
        let histogram = bench.histogram(0, operation);
        assert_eq!(histogram.count(), count, "{operation:?}");
        assert_eq!(histogram.sum(), count * 2_000, "{operation:?}");
    }
}

#[test]
fn requests_that_begin_apart_have_a_time_each_whichever_ends_first() {
    let mut bench = Bench::new(1);
    bench.begin(0, ONE, DISCARD, 1_000);
    bench.begin(0, TWO, DISCARD, 2_000);
    bench.end(TWO, Status::Success, 3_000);
    bench.end(ONE, Status::Success, 50_000);
    let unmaps = bench.histogram(0, TimedOperation::Unmap);
    assert_eq!(unmaps.shortest(), 1_000);
    assert_eq!(unmaps.longest(), 49_000);
}

#[test]
fn a_time_that_an_earlier_request_left_in_a_slot_is_not_taken_for_anothers() {
    let mut bench = Bench::new(1);
    bench.begin(0, ONE, DISCARD, 1_000);
    bench.begin(0, TWO, DISCARD, 2_000);
    bench.end(TWO, Status::Success, 3_000);
    bench.end(ONE, Status::Success, 4_000);
    bench.begin(0, TWO, DISCARD, 100_000);
    bench.begin(0, ONE, DISCARD, 100_500);
    bench.end(TWO, Status::Success, 101_000);
    bench.end(ONE, Status::Success, 101_000);
    let unmaps = bench.histogram(0, TimedOperation::Unmap);
    assert_eq!(unmaps.sum(), 1_000 + 3_000 + 1_000 + 500);
    assert_eq!(unmaps.longest(), 3_000);
}

#[test]
fn requests_that_fail_are_counted_and_those_that_are_refused_are_not() {
    let mut bench = Bench::new(1);
    bench.begin(0, ONE, Operation::Flush, 1_000);
    bench.end(ONE, Status::MediaError, 2_000);
    let beyond = Request { tag: ONE, operation: DISCARD, lba: Lba(100), blocks: 1, data: &[] };
    assert!(bench.graph.volume(bench.volumes[0].1).unwrap().submit(&beyond).is_err());
    assert_eq!(bench.histogram(0, TimedOperation::Flush).count(), 1);
    assert_eq!(bench.histogram(0, TimedOperation::Unmap).count(), 0);
}

#[test]
fn forgotten_extremes_begin_anew_and_nothing_else_does() {
    let mut bench = Bench::new(1);
    bench.begin(0, ONE, DISCARD, 1_000);
    bench.end(ONE, Status::Success, 2_000);
    bench.volumes[0].0.stats(CORE).latencies().forget_extremes();
    assert_eq!(bench.histogram(0, TimedOperation::Unmap).longest(), 0);
    bench.begin(0, ONE, DISCARD, 3_000);
    bench.end(ONE, Status::Success, 3_300);
    let unmaps = bench.histogram(0, TimedOperation::Unmap);
    assert_eq!(unmaps.count(), 2);
    assert_eq!(unmaps.shortest(), 300);
    assert_eq!(unmaps.longest(), 300);
}

/// A request in flight, as a model of a stopwatch sees it.
struct Begun {
    volume: usize,
    operation: TimedOperation,
    at: u64,
}

/// A bench with random requests, and the latencies that they should have.
struct Model {
    bench: Bench,
    now: u64,
    in_flight: BTreeMap<(u16, u16), Begun>,
    expected: Vec<(usize, TimedOperation, u64)>,
}

impl Model {
    fn begin(&mut self, random: &mut Random) {
        let (session, slot) = (random.below(SESSIONS), random.below(SLOTS));
        if self.in_flight.contains_key(&(session, slot)) {
            return;
        }
        let (asked, operation) = random.pick(&[
            (DISCARD, TimedOperation::Unmap),
            (Operation::Flush, TimedOperation::Flush),
            (Operation::WriteZeroes, TimedOperation::Write),
        ]);
        let volume = random.below(self.bench.volumes.len());
        self.bench.begin(volume, Tag::new(session, slot), asked, self.now);
        self.in_flight.insert((session, slot), Begun { volume, operation, at: self.now });
    }

    fn end(&mut self, random: &mut Random) {
        let Some(&(session, slot)) = self.in_flight.keys().nth(random.below(usize::from(SLOTS))) else {
            return;
        };
        self.bench.end(Tag::new(session, slot), Status::Success, self.now);
        let Begun { volume, operation, at } = self.in_flight.remove(&(session, slot)).unwrap();
        self.expected.push((volume, operation, self.now - at));
    }

    /// Sum of latencies by the counters, which know no single request.
    fn ticks(&self, volume: usize, operation: TimedOperation) -> Option<u64> {
        let counters = self.bench.volumes[volume].0.counters();
        match operation {
            TimedOperation::Read => Some(counters.read_ticks),
            TimedOperation::Write => Some(counters.write_ticks),
            TimedOperation::Unmap => Some(counters.unmap_ticks),
            TimedOperation::Flush => None,
        }
    }

    fn check(&self) {
        for volume in 0..self.bench.volumes.len() {
            for operation in [TimedOperation::Write, TimedOperation::Unmap, TimedOperation::Flush] {
                let of_it =
                    |&&(of, class, _): &&(usize, TimedOperation, u64)| of == volume && class == operation;
                let expected: Vec<u64> =
                    self.expected.iter().filter(of_it).map(|&(.., ticks)| ticks).collect();
                let found = self.bench.histogram(volume, operation);
                assert_eq!(found.count(), expected.len() as u64, "{operation:?}");
                assert_eq!(found.sum(), expected.iter().sum::<u64>(), "{operation:?}");
                if let Some(ticks) = self.ticks(volume, operation).filter(|_| self.in_flight.is_empty()) {
                    assert_eq!(found.sum(), ticks, "{operation:?}");
                }
                assert_eq!(found.shortest(), expected.iter().min().copied().unwrap_or(0), "{operation:?}");
                assert_eq!(found.longest(), expected.iter().max().copied().unwrap_or(0), "{operation:?}");
            }
        }
    }
}

#[test]
fn latencies_are_exact_in_whatever_order_requests_of_several_volumes_begin_and_end() {
    fuzz(|random| {
        let bench = Bench::new(random.between(1, 3));
        let mut model = Model { bench, now: 1, in_flight: BTreeMap::new(), expected: Vec::new() };
        let begins_often = random.once_in(2);
        for _ in 0..300 {
            // Turns in which nothing passes are as likely as those in which time does.
            model.now += if random.once_in(2) { 0 } else { random.below(100_000) };
            if begins_often == random.once_in(3) { model.end(random) } else { model.begin(random) }
        }
        model.check();
        while !model.in_flight.is_empty() {
            model.end(random);
        }
        model.check();
    });
}
