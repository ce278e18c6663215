//! Fences of a volume on one core.

#![expect(unsafe_code, reason = "a span that nobody looks into")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::Scripted;
use luge_block::{CoreId, Device, Geometry, Lba, Operation, Refusal, Request, Status, Tag};
use luge_memory::{Iova, Span};
use luge_volume::{Base, Graph, Volume, VolumeId};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

struct Bench {
    graph: Graph,
    device: Scripted,
    volume: VolumeId,
}

impl Bench {
    fn new() -> Self {
        let device = Scripted::new(Geometry::for_tests(), 100);
        let mut graph = Graph::default();
        let channel = graph.add_channel(device.open(CoreId(0)).unwrap()).ok().unwrap();
        let whole = Volume::whole(Arc::new(device.clone()));
        let volume = graph.add_volume(CoreId(0), &whole, Base::Channel(channel)).unwrap();
        Self { graph, device, volume }
    }

    fn discard(&mut self, blocks: Range<u32>) -> Result<(), Refusal> {
        self.submit(Operation::Discard, blocks)
    }

    fn submit(&mut self, operation: Operation, blocks: Range<u32>) -> Result<(), Refusal> {
        let tag = Tag::new(0, u16::try_from(blocks.start).unwrap());
        let lba = Lba(blocks.start.into());
        let request = Request { tag, operation, lba, blocks: blocks.end - blocks.start, data: &[] };
        self.graph.volume(self.volume).unwrap().submit(&request)
    }

    fn room(&mut self) -> usize {
        self.graph.volume(self.volume).unwrap().room()
    }

    fn end_all(&mut self) {
        self.graph.commit();
        self.device.complete_all(Status::Success);
        self.graph.poll(|_| {});
    }
}

#[test]
fn a_volume_takes_nothing_until_what_was_in_flight_has_ended_and_then_nothing_that_is_fenced() {
    let mut bench = Bench::new();
    bench.discard(0..8).unwrap();
    let fence = bench.graph.raise_fence(bench.volume, Lba(100)..Lba(200)).unwrap();
    assert!(!bench.graph.drain(bench.volume));
    assert_eq!(bench.room(), 0);
    for request in [300..301, 100..101] {
        assert_eq!(bench.discard(request), Err(Refusal::Full));
    }
    assert_eq!(bench.submit(Operation::Flush, 0..0), Err(Refusal::Full));
    bench.end_all();
    assert!(bench.graph.drain(bench.volume));
    assert!(bench.room() > 0);
    for held in [100..101, 199..200, 90..101, 199..300, 0..1024] {
        assert_eq!(bench.discard(held.clone()), Err(Refusal::Full), "{held:?}");
    }
    for taken in [99..100, 200..201, 0..100] {
        assert_eq!(bench.discard(taken.clone()), Ok(()), "{taken:?}");
    }
    assert_eq!(bench.submit(Operation::Flush, 0..0), Ok(()));
    assert_eq!(bench.discard(1024..1025), Err(Refusal::Failed(Status::OutOfRange)));
    bench.graph.lift_fence(bench.volume, fence);
    assert_eq!(bench.discard(100..200), Ok(()));
    bench.end_all();
}

#[test]
fn each_of_several_fences_holds_its_blocks_until_it_is_lifted() {
    let mut bench = Bench::new();
    let fences: Vec<_> = (0..8_u64)
        .map(|n| bench.graph.raise_fence(bench.volume, Lba(n * 10)..Lba(n * 10 + 5)).unwrap())
        .collect();
    assert!(bench.graph.raise_fence(bench.volume, Lba(0)..Lba(1)).is_err());
    assert!(bench.graph.drain(bench.volume));
    for (at, fence) in (0_u32..).step_by(10).zip(fences) {
        assert_eq!(bench.discard(at..at + 1), Err(Refusal::Full));
        bench.graph.lift_fence(bench.volume, fence);
        assert_eq!(bench.discard(at..at + 1), Ok(()));
    }
    bench.end_all();
}

#[test]
fn a_run_leaves_requests_to_be_looked_at_one_by_one_while_there_is_a_fence() {
    let mut bench = Bench::new();
    // SAFETY: nothing looks at the bytes of this span.
    let data = [unsafe { Span::new(NonNull::dangling(), Iova(0), 512) }];
    let read =
        Request { tag: Tag::new(0, 0), operation: Operation::Read, lba: Lba(0), blocks: 1, data: &data };
    let mut volume = bench.graph.volume(bench.volume).unwrap();
    assert!(volume.run().add(&read).is_some());
    let fence = bench.graph.raise_fence(bench.volume, Lba(100)..Lba(200)).unwrap();
    assert!(bench.graph.drain(bench.volume));
    let mut volume = bench.graph.volume(bench.volume).unwrap();
    assert!(volume.run().add(&read).is_none());
    bench.graph.lift_fence(bench.volume, fence);
    let mut volume = bench.graph.volume(bench.volume).unwrap();
    assert!(volume.run().add(&read).is_some());
}
