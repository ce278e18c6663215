//! Frequency at which the channels of a core are polled.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::Scripted;
use luge_block::{
    Channel, Completions, CoreId, Device, Geometry, Lba, OpenError, Operation, Refusal, Request, Status, Tag,
};
use luge_volume::{Base, Graph, Volume, VolumeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const CORE: CoreId = CoreId(0);
const CHANNELS: usize = 1000;

/// A scripted device whose polls are counted.
#[derive(Clone)]
struct Polled {
    device: Scripted,
    polls: Arc<AtomicUsize>,
}

impl Device for Polled {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(PolledChannel { channel: self.device.open(core)?, polls: self.polls.clone() }))
    }
}

struct PolledChannel {
    channel: Box<dyn Channel>,
    polls: Arc<AtomicUsize>,
}

impl Channel for PolledChannel {
    fn room(&self) -> usize {
        self.channel.room()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.channel.submit(request)
    }

    fn commit(&mut self) {
        self.channel.commit();
    }

    fn poll(&mut self, done: &mut Completions) {
        self.polls.fetch_add(1, Relaxed);
        self.channel.poll(done);
    }

    fn in_flight(&self) -> usize {
        self.channel.in_flight()
    }
}

/// A core with many devices, a volume on each.
struct Bench {
    graph: Graph,
    disks: Vec<(Polled, VolumeId)>,
}

impl Bench {
    fn new() -> Self {
        let mut graph = Graph::default();
        let disks = (0..CHANNELS).map(|_| {
            let device = Scripted::new(Geometry::for_tests(), 4);
            let device = Polled { device, polls: Arc::default() };
            let base = Base::Channel(graph.add_channel(device.open(CORE).unwrap()).ok().unwrap());
            let id = graph.add_volume(CORE, &Volume::whole(Arc::new(device.clone())), base).unwrap();
            (device, id)
        });
        let disks = disks.collect();
        Self { graph, disks }
    }

    fn submit(&mut self, disk: usize) {
        let request =
            Request { tag: Tag::new(1, 0), operation: Operation::Flush, lba: Lba(0), blocks: 0, data: &[] };
        self.graph.volume(self.disks[disk].1).unwrap().submit(&request).unwrap();
    }

    /// Takes turns; returns the number of requests that have ended.
    fn turns(&mut self, count: usize) -> usize {
        let turns = (0..count).map(|_| {
            self.graph.commit();
            self.graph.poll(|_| ())
        });
        turns.sum()
    }

    /// Polls of one disk, and of all.
    fn polls_of(&self, disk: usize) -> usize {
        self.disks[disk].0.polls.load(Relaxed)
    }

    fn polls(&self) -> usize {
        (0..CHANNELS).map(|disk| self.polls_of(disk)).sum()
    }
}

#[test]
fn a_turn_polls_the_channels_in_use_and_one_of_the_others() {
    let mut bench = Bench::new();
    [3, 400, 999].into_iter().for_each(|disk| bench.submit(disk));
    bench.turns(500);
    for disk in [3, 400, 999] {
        assert_eq!(bench.polls_of(disk), 500, "disk {disk}, which has a request");
    }
    assert!((4 * 500 - 3..=4 * 500).contains(&bench.polls()), "{} polls in 500 turns", bench.polls());
}

#[test]
fn a_channel_without_requests_is_polled_in_rotation_only() {
    let mut bench = Bench::new();
    bench.submit(7);
    bench.turns(1);
    bench.disks[7].0.device.complete_all(Status::Success);
    assert_eq!(bench.turns(CHANNELS), 1);
    let before = bench.polls();
    bench.turns(CHANNELS);
    assert_eq!(bench.polls() - before, CHANNELS, "one in each turn");
    assert!((0..CHANNELS).all(|disk| bench.polls_of(disk) >= 2), "each of them twice by now");
}

#[test]
fn a_request_to_a_channel_that_was_idle_is_committed_and_ends_at_once() {
    let mut bench = Bench::new();
    bench.turns(200);
    for disk in [0, 999, 0] {
        bench.submit(disk);
        assert_eq!(bench.turns(1), 0);
        bench.disks[disk].0.device.complete_all(Status::Success);
        assert_eq!(bench.turns(1), 1, "disk {disk}");
        bench.turns(200);
    }
}

#[test]
fn channels_whose_requests_end_take_none_of_the_others_out_of_the_turn() {
    let mut bench = Bench::new();
    (0..CHANNELS).for_each(|disk| bench.submit(disk));
    bench.turns(1);
    (0..CHANNELS).step_by(2).for_each(|disk| _ = bench.disks[disk].0.device.complete_all(Status::Success));
    assert_eq!(bench.turns(4), CHANNELS / 2);
    bench.turns(100);
    (1..CHANNELS).step_by(2).for_each(|disk| _ = bench.disks[disk].0.device.complete_all(Status::Success));
    assert_eq!(bench.turns(4), CHANNELS / 2);
}
