//! A core's graph on devices that a test plays.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(unsafe_code, reason = "spans that nobody looks into")]

use luge_block::doubles::{Narrow, Scripted};
use luge_block::{
    Blocks, Completion, CoreId, Device, Durability, Geometry, Kind, Lba, NullDevice, Operation, Refusal,
    Request, Shape, Status, Tag,
};
use luge_memory::{Iova, Span};
use luge_volume::{Base, ChannelId, Counters, Graph, TimedOperation, Volume, VolumeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

const CORE: CoreId = CoreId(0);
const DISCARD: Operation = Operation::Discard;

/// A scripted device on a graph, and what is on the device.
struct Bench {
    graph: Graph,
    device: Scripted,
    channel: ChannelId,
    whole: Volume,
}

impl Bench {
    fn new(geometry: Geometry) -> Self {
        let device = Scripted::new(geometry, 4);
        let mut graph = Graph::default();
        let channel = graph.add_channel(device.open(CORE).unwrap()).ok().unwrap();
        Self { graph, whole: Volume::whole(Arc::new(device.clone())), device, channel }
    }

    fn add(&mut self, volume: &Volume) -> VolumeId {
        self.graph.add_volume(CORE, volume, Base::Channel(self.channel)).unwrap()
    }

    fn submit(&mut self, id: VolumeId, operation: Operation, lba: u64, blocks: u32) -> Result<(), Refusal> {
        let tag = Tag::new(1, u16::try_from(self.device.taken().len()).unwrap());
        let mut volume = self.graph.volume(id).ok_or(Refusal::Failed(Status::Gone))?;
        volume.submit(&Request { tag, operation, lba: Lba(lba), blocks, data: &[] })
    }

    /// Completes all that was committed; returns the completions.
    fn end_all(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        self.device.complete_all(Status::Success);
        self.graph.poll(|run| done.extend_from_slice(run));
        done
    }

    /// The first blocks of the requests that reached the device.
    fn reached(&self) -> Vec<u64> {
        self.device.taken().iter().map(|request| request.lba.0).collect()
    }
}

/// Counts of a volume, times aside.
fn counts(volume: &Volume) -> Counters {
    Counters { read_ticks: 0, write_ticks: 0, unmap_ticks: 0, ..volume.counters() }
}

#[test]
fn volumes_of_one_device_share_its_channel_and_its_doorbell() {
    let mut bench = Bench::new(Geometry::for_tests());
    let parts = [(0, 100), (100, 200), (1000, 24)].map(|(first, blocks)| {
        let part = bench.whole.part(Lba(first), Blocks(blocks)).unwrap();
        bench.add(&part)
    });
    parts.iter().for_each(|&part| bench.submit(part, DISCARD, 3, 5).unwrap());
    bench.graph.commit();
    assert_eq!(bench.reached(), [3, 103, 1003]);
    assert_eq!(bench.device.commits(), 1);
    bench.graph.commit();
    assert_eq!(bench.device.commits(), 1, "there was nothing to start");
    let tags: Vec<u16> = bench.end_all().iter().map(|completion| completion.tag().slot()).collect();
    assert_eq!(tags, [0, 1, 2]);
    assert_eq!(bench.graph.in_flight(), 0);
}

#[test]
fn a_request_that_leaves_its_volume_does_not_reach_the_device() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(100), Blocks(200)).unwrap();
    let id = bench.add(&part);
    for (lba, blocks) in [(200, 1), (199, 2), (0, 201), (u64::MAX, 1), (u64::MAX - 99, 100), (0, u32::MAX)] {
        let refused = bench.submit(id, DISCARD, lba, blocks);
        assert_eq!(refused, Err(Refusal::Failed(Status::OutOfRange)), "{lba} {blocks}");
    }
    assert!(bench.reached().is_empty());
    bench.submit(id, DISCARD, 0, 200).unwrap();
    bench.submit(id, DISCARD, 199, 1).unwrap();
    assert_eq!(bench.reached(), [100, 299]);
}

#[test]
fn a_flush_has_no_blocks_whatever_it_says() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(100), Blocks(200)).unwrap();
    let id = bench.add(&part);
    bench.submit(id, Operation::Flush, u64::MAX, 7).unwrap();
    assert_eq!(bench.device.taken()[0].operation, Operation::Flush);
}

#[test]
fn a_read_only_volume_refuses_every_change_before_the_device_sees_it() {
    let mut bench = Bench::new(Geometry { read_only: true, ..Geometry::for_tests() });
    let part = bench.whole.part(Lba(0), Blocks(8)).unwrap();
    let id = bench.add(&part);
    let write = Operation::Write(Durability::Cache);
    for change in [write, DISCARD, Operation::WriteZeroes, Operation::WriteZeroesUnmap] {
        let refused = bench.submit(id, change, 0, 1);
        assert_eq!(refused, Err(Refusal::Failed(Status::WriteProtected)), "{change:?}");
    }
    assert!(bench.reached().is_empty());
    bench.submit(id, Operation::Flush, 0, 0).unwrap();
}

#[test]
fn room_is_the_channel_s_and_what_it_refuses_is_not_counted() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(0), Blocks(8)).unwrap();
    let id = bench.add(&part);
    assert_eq!(bench.graph.volume(id).unwrap().room(), 4);
    (0..4).for_each(|_| bench.submit(id, DISCARD, 0, 2).unwrap());
    assert_eq!(bench.graph.volume(id).unwrap().room(), 0);
    assert_eq!(bench.graph.in_flight(), 4);
    assert_eq!(bench.submit(id, DISCARD, 0, 2), Err(Refusal::Full));
    assert_eq!(counts(&part), Counters { unmaps: 4, unmapped_blocks: 8, ..Counters::default() });
}

fn read(slot: u16, lba: u64, blocks: u32, data: &Span) -> Request<'_> {
    let data = std::slice::from_ref(data);
    Request { tag: Tag::new(1, slot), operation: Operation::Read, lba: Lba(lba), blocks, data }
}

#[test]
fn a_run_goes_on_behind_a_request_that_fails_and_stops_where_there_is_no_room() {
    // The device beneath takes less than it says: what the volume lets pass, it refuses.
    let less = Geometry { transfer_blocks_max: 2, ..Geometry::for_tests() };
    let device = Scripted::new(less, 4);
    let liar: Arc<dyn Device> =
        Arc::new(Narrow::new(Arc::new(device.clone()), Geometry::for_tests(), usize::MAX));
    let mut graph = Graph::default();
    let channel = graph.add_channel(liar.open(CORE).unwrap()).ok().unwrap();
    let part = Volume::whole(liar).part(Lba(100), Blocks(20)).unwrap();
    let id = graph.add_volume(CORE, &part, Base::Channel(channel)).unwrap();
    // SAFETY: nothing looks at the bytes of these spans.
    let [two, three] = [1024, 1536].map(|len| unsafe { Span::new(NonNull::dangling(), Iova(0), len) });
    let mut volume = graph.volume(id).unwrap();
    let mut run = volume.run();
    for slot in 0..7 {
        let (blocks, data) = if slot == 1 { (3, &three) } else { (2, &two) };
        run.add(&read(slot, slot.into(), blocks, data)).unwrap();
    }
    assert!(run.add(&read(9, 19, 2, &two)).is_none(), "past the end of the volume");
    assert!(run.add(&read(9, 0, 1, &two)).is_none(), "memory of more blocks");
    let mut refused = Vec::new();
    run.submit(|tag, refusal| refused.push((tag.slot(), refusal)));
    assert_eq!(refused, [(1, Refusal::Failed(Status::Invalid)), (5, Refusal::Full), (6, Refusal::Full)]);
    assert_eq!(device.taken().iter().map(|taken| taken.lba.0).collect::<Vec<_>>(), [100, 102, 103, 104]);
    assert_eq!(counts(&part), Counters { reads: 4, read_blocks: 8, ..Counters::default() });
    graph.commit();
    assert_eq!(device.commits(), 1);
}

#[test]
fn a_run_of_a_device_that_needs_no_time_is_counted_and_leaves_nothing_in_flight() {
    let null: Arc<dyn Device> = Arc::new(NullDevice::new(Shape::new(512, Blocks(64)).unwrap()));
    let mut graph = Graph::default();
    let channel = graph.add_channel(null.open(CORE).unwrap()).ok().unwrap();
    let part = Volume::whole(null).part(Lba(8), Blocks(20)).unwrap();
    let id = graph.add_volume(CORE, &part, Base::Channel(channel)).unwrap();
    // SAFETY: nothing looks at the bytes of this span.
    let two = unsafe { Span::new(NonNull::dangling(), Iova(0), 1024) };
    let mut volume = graph.volume(id).unwrap();
    let mut run = volume.run();
    assert!(run.ends_at_once(1));
    for slot in 0..3 {
        let write = Operation::Write(Durability::Cache);
        let operation = if slot == 1 { write } else { Operation::Read };
        run.add(&Request { operation, ..read(slot, slot.into(), 2, &two) }).unwrap();
    }
    let mut ended = Vec::new();
    let refusal =
        run.serve(|served| ended.extend(served.iter().map(|request| (request.tag.slot(), request.lba.0))));
    assert_eq!(refusal, None);
    assert_eq!(ended, [(0, 8), (1, 9), (2, 10)]);
    assert!(run.is_empty(), "none is done twice");
    drop(run);
    let expected = Counters { reads: 2, read_blocks: 4, writes: 1, written_blocks: 2, ..Counters::default() };
    assert_eq!(counts(&part), expected);
    assert_eq!(part.stats(CORE).outstanding(), 0);
    let count_of = |operation| part.latencies_where(|class| class.operation == operation).count();
    assert_eq!(count_of(TimedOperation::Read), 2);
    assert_eq!(count_of(TimedOperation::Write), 1);
    graph.commit();
    assert_eq!(graph.poll(|_| ()), 0, "they have no completions");
    assert_eq!(graph.in_flight(), 0);
}

#[test]
fn requests_of_a_device_that_takes_time_do_not_end_at_once() {
    let mut bench = Bench::new(Geometry::for_tests());
    let whole = bench.whole.part(Lba(0), Blocks(100)).unwrap();
    let id = bench.add(&whole);
    assert!(!bench.graph.volume(id).unwrap().run().ends_at_once(64));
}

#[test]
fn counters_tell_kinds_apart_and_add_up_over_the_cores() {
    let bench = Bench::new(Geometry::for_tests());
    let null: Arc<dyn Device> = Arc::new(NullDevice::new(Shape::new(512, Blocks(64)).unwrap()));
    let volume = Volume::whole(null.clone());
    for core in [CoreId(3), CoreId(5)] {
        let mut graph = Graph::default();
        let channel = graph.add_channel(null.open(core).unwrap()).ok().unwrap();
        let id = graph.add_volume(core, &volume, Base::Channel(channel)).unwrap();
        for operation in [DISCARD, Operation::Flush, Operation::WriteZeroes, Operation::WriteZeroesUnmap] {
            let request = Request { tag: Tag::default(), operation, lba: Lba(0), blocks: 3, data: &[] };
            graph.volume(id).unwrap().submit(&request).unwrap();
        }
    }
    let expected = Counters {
        unmaps: 2,
        unmapped_blocks: 6,
        flushes: 2,
        writes: 4,
        written_blocks: 12,
        ..Counters::default()
    };
    assert_eq!(counts(&volume), expected);
    assert_eq!(counts(&bench.whole), Counters::default());
}

#[test]
fn the_time_that_requests_take_is_measured_from_their_beginning_to_their_end() {
    let mut bench = Bench::new(Geometry::for_tests());
    let volume = bench.whole.part(Lba(0), Blocks(100)).unwrap();
    let id = bench.add(&volume);
    let wait = |ticks: u64| {
        let start = luge_volume::ticks();
        while luge_volume::ticks() - start < ticks {}
    };
    let start = luge_volume::ticks();
    bench.submit(id, DISCARD, 0, 1).unwrap();
    bench.submit(id, DISCARD, 1, 1).unwrap();
    wait(10_000);
    bench.graph.commit();
    bench.end_all();
    let (most, measured) = (2 * (luge_volume::ticks() - start), volume.counters().unmap_ticks);
    assert!((20_000..=most).contains(&measured), "{measured}, at most {most}");
    wait(10_000);
    bench.graph.commit();
    bench.submit(id, Operation::Flush, 0, 0).unwrap();
    bench.submit(id, Operation::WriteZeroes, 0, 1).unwrap();
    assert_eq!(volume.counters().unmap_ticks, measured, "nothing is outstanding");
}

#[test]
fn a_volume_that_is_gone_is_reached_no_more_and_the_others_go_on() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(100), Blocks(8)).unwrap();
    let (gone, stays) = (bench.add(&part), bench.add(&part));
    bench.graph.remove_volume(gone);
    assert!(bench.graph.volume(gone).is_none());
    assert_eq!(bench.submit(gone, DISCARD, 0, 1), Err(Refusal::Failed(Status::Gone)));
    bench.submit(stays, DISCARD, 0, 1).unwrap();
    let again = bench.add(&part);
    assert_eq!(again, gone, "its place is used again");
    bench.submit(again, DISCARD, 0, 1).unwrap();
}

#[test]
fn a_channel_goes_only_after_its_volumes_and_requests() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(0), Blocks(8)).unwrap();
    bench.add(&part);
    let channel = bench.channel;
    assert!(catch_unwind(AssertUnwindSafe(|| bench.graph.remove_channel(channel).is_some())).is_err());
    let mut bench = Bench::new(Geometry::for_tests());
    let id = bench.add(&part);
    bench.submit(id, DISCARD, 0, 1).unwrap();
    bench.graph.commit();
    bench.end_all();
    bench.graph.remove_volume(id);
    assert!(bench.graph.remove_channel(channel).is_some());
    assert!(bench.graph.remove_channel(channel).is_none(), "it is gone already");
}

#[test]
fn a_busy_device_does_not_keep_another_from_being_polled() {
    let null = Arc::new(NullDevice::new(Shape::new(512, Blocks(64)).unwrap()));
    let whole = Volume::whole(null.clone());
    let mut graph = Graph::default();
    let volumes = [(); 3].map(|()| {
        let channel = graph.add_channel(null.open(CORE).unwrap()).ok().unwrap();
        graph.add_volume(CORE, &whole, Base::Channel(channel)).unwrap()
    });
    let request = |session| Request {
        tag: Tag::new(session, 0),
        operation: Operation::Flush,
        lba: Lba(0),
        blocks: 0,
        data: &[],
    };
    graph.volume(volumes[2]).unwrap().submit(&request(2)).unwrap();
    // The others complete in every turn as much as one turn can take.
    for _ in 0..3 {
        for (session, &volume) in (0..).zip(&volumes[..2]) {
            let mut volume = graph.volume(volume).unwrap();
            while volume.submit(&request(session)).is_ok() {}
        }
        let mut polled = false;
        graph.poll(|run| polled |= run[0].tag().session() == 2);
        if polled {
            return;
        }
    }
    panic!("the third device was not polled in three turns");
}

#[test]
fn a_completion_names_the_session_the_slot_the_volume_the_kind_and_the_size() {
    let mut bench = Bench::new(Geometry::for_tests());
    let parts = [0, 100].map(|first| bench.whole.part(Lba(first), Blocks(8)).unwrap());
    let ids = parts.each_ref().map(|part| bench.add(part));
    bench.submit(ids[0], DISCARD, 0, 8).unwrap();
    bench.submit(ids[1], Operation::Flush, 0, 0).unwrap();
    bench.submit(ids[1], Operation::WriteZeroes, 0, 3).unwrap();
    bench.graph.commit();
    let done = bench.end_all();
    assert_eq!(done.iter().map(|end| end.tag().slot()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(
        done.iter().map(|end| end.tag().kind()).collect::<Vec<_>>(),
        [Kind::Discard, Kind::Flush, Kind::WriteZeroes]
    );
    assert_eq!(done.iter().map(|end| end.tag().size_class().index()).collect::<Vec<_>>(), [3, 0, 1]);
    assert!(done.iter().all(|end| end.tag().session() == 1), "{done:?}");
    assert_eq!(done[1].tag().volume(), done[2].tag().volume());
    assert_ne!(done[0].tag().volume(), done[1].tag().volume());
}

#[test]
fn a_read_only_view_refuses_what_changes_data_and_counts_with_its_volume() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(0), Blocks(8)).unwrap();
    let (volume, view) = (bench.add(&part), bench.add(&part.read_only_view()));
    for operation in [DISCARD, Operation::WriteZeroes, Operation::Write(Durability::Cache)] {
        assert_eq!(bench.submit(view, operation, 0, 1), Err(Refusal::Failed(Status::WriteProtected)));
    }
    bench.submit(view, Operation::Flush, 0, 0).unwrap();
    bench.submit(volume, DISCARD, 0, 1).unwrap();
    let Counters { flushes, unmaps, .. } = part.counters();
    assert_eq!(flushes, 1);
    assert_eq!(unmaps, 1);
}

#[test]
fn a_volume_goes_only_after_its_requests() {
    let mut bench = Bench::new(Geometry::for_tests());
    let part = bench.whole.part(Lba(0), Blocks(8)).unwrap();
    let (busy, idle) = (bench.add(&part), bench.add(&part));
    bench.submit(busy, Operation::Flush, 0, 0).unwrap();
    bench.graph.remove_volume(idle);
    assert!(catch_unwind(AssertUnwindSafe(|| bench.graph.remove_volume(busy))).is_err());
}

#[test]
fn a_completion_that_nobody_awaits_is_a_mistake_that_is_not_passed_over() {
    let ends = |tag| {
        let mut bench = Bench::new(Geometry::for_tests());
        let part = bench.whole.part(Lba(0), Blocks(8)).unwrap();
        bench.add(&part);
        let request = Request { tag, operation: Operation::Flush, lba: Lba(0), blocks: 0, data: &[] };
        // Past the volumes, as no session can.
        let mut channel = bench.device.open(CORE).unwrap();
        channel.submit(&request).unwrap();
        channel.commit();
        catch_unwind(AssertUnwindSafe(|| bench.end_all().len()))
    };
    let flush = |volume| Tag::new(0, 0).through(Tag::of_volume(volume), Kind::Flush);
    assert!(ends(flush(0)).is_err(), "volume 0 has begun nothing");
    assert!(ends(flush(1)).is_err(), "there is no volume 1");
}
