//! Requests in parts on a device that a test plays.

#![expect(unsafe_code, reason = "spans that nobody looks into")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::{Narrow, Scripted};
use luge_block::{
    BlockRange, Blocks, CoreId, Device, Durability, Geometry, Kind, Lba, Operation, Refusal, Request,
    SizeClass, Status, Stepped, Tag, WriteSame,
};
use luge_memory::{Iova, Span};
use luge_volume::doubles::{Delay, Delaying, Failing, FailureCount};
use luge_volume::{Base, ChannelId, Composite, Graph, ListRequest, RANGES_MAX, SPANS_MAX, Volume, VolumeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

const CORE: CoreId = CoreId(0);
const WRITE: Operation = Operation::Write(Durability::Cache);
const DISCARD: Operation = Operation::Discard;

/// Slots of a level for requests of few spans.
const SLOTS: u16 = 64;

/// A device that takes two blocks at once, or one discarded.
fn tiny() -> Geometry {
    Geometry {
        transfer_blocks_max: 2,
        discard_blocks_max: 1,
        write_zeroes_blocks_max: 3,
        ..Geometry::for_tests()
    }
}

struct Bench {
    graph: Graph,
    device: Scripted,
    channel: ChannelId,
    whole: Volume,
}

impl Bench {
    /// Ends all requests to the device until the one in flight has ended; returns its tag.
    fn ended_tag(&mut self) -> Tag {
        let mut tags = Vec::new();
        while self.graph.in_flight() > 0 {
            self.graph.commit();
            self.device.complete_all(Status::Success);
            self.graph.poll(|run| tags.extend(run.iter().map(|end| end.tag())));
        }
        assert_eq!(tags.len(), 1);
        tags[0]
    }

    fn new(room: usize) -> Self {
        Self::with(tiny(), room)
    }

    fn with(geometry: Geometry, room: usize) -> Self {
        let device = Scripted::new(geometry, room);
        let mut graph = Graph::default();
        let channel = graph.add_channel(device.open(CORE).unwrap()).ok().unwrap();
        Self { graph, whole: Volume::whole(Arc::new(device.clone())), device, channel }
    }

    fn add(&mut self, volume: &Volume) -> VolumeId {
        self.graph.add_volume(CORE, volume, Base::Channel(self.channel)).unwrap()
    }

    fn add_whole(&mut self) -> VolumeId {
        let whole = Volume::whole(Arc::new(self.device.clone()));
        self.add(&whole)
    }

    fn submit(&mut self, id: VolumeId, slot: u16, asked: BlockRange) -> Result<(), Refusal> {
        let BlockRange { operation, lba, blocks } = asked;
        let data = [memory(blocks)];
        let data = if operation.moves_data() { data.as_slice() } else { &[] };
        let request = Request { tag: Tag::new(1, slot), operation, lba, blocks, data };
        self.graph.volume(id).unwrap().submit(&request)
    }

    fn submit_ranges(&mut self, id: VolumeId, slot: u16, ranges: &[BlockRange]) -> Result<(), Refusal> {
        self.graph.volume(id).unwrap().submit_ranges(Tag::new(1, slot), ranges)
    }

    /// A turn of a core; returns the slots and statuses of the requests that ended.
    fn turn(&mut self) -> Vec<(u16, Status)> {
        let mut done = Vec::new();
        self.graph.commit();
        self.graph.poll(|run| done.extend(run.iter().map(|end| (end.tag().slot(), end.status()))));
        done
    }

    /// Turns in which all parts end with `status`, until something ends; returns it, and the number of parts.
    fn turns(&mut self, status: Status) -> (Vec<(u16, Status)>, usize) {
        let mut parts = 0;
        for _ in 0..10_000 {
            let done = self.turn();
            if !done.is_empty() {
                return (done, parts);
            }
            parts += self.device.complete_all(status);
        }
        panic!("nothing ends");
    }

    /// Parts that the device has not ended: first block, and number of blocks.
    fn asked(&self) -> Vec<(u64, u32)> {
        self.device.taken().iter().map(|part| (part.lba.0, part.blocks)).collect()
    }
}

/// Memory of `blocks` blocks.
fn memory(blocks: u32) -> Span {
    span(blocks * 512)
}

fn span(len: u32) -> Span {
    // SAFETY: nothing looks at the bytes of these spans.
    unsafe { Span::new(NonNull::dangling(), Iova(0), len) }
}

fn range(operation: Operation, lba: u64, blocks: u32) -> BlockRange {
    BlockRange { operation, lba: Lba(lba), blocks }
}

#[test]
fn a_request_in_parts_has_one_completion_and_is_counted_once() {
    let mut bench = Bench::new(100);
    let part = bench.whole.part(Lba(100), Blocks(50)).unwrap();
    let id = bench.add(&part);
    bench.submit(id, 7, range(WRITE, 3, 7)).unwrap();
    assert_eq!(bench.graph.in_flight(), 1);
    assert_eq!(bench.turn(), []);
    assert_eq!(bench.asked(), [(103, 2), (105, 2), (107, 2), (109, 1)]);
    for _ in 0..3 {
        let tag = bench.device.taken()[0].tag;
        assert!(bench.device.complete(tag, Status::Success));
        assert_eq!(bench.turn(), []);
        assert_eq!(bench.graph.in_flight(), 1);
    }
    assert_eq!(bench.turns(Status::Success).0, [(7, Status::Success)]);
    assert_eq!(bench.graph.in_flight(), 0);
    let counters = part.counters();
    assert_eq!(counters.writes, 1);
    assert_eq!(counters.written_blocks, 7);
    assert_eq!(part.stats(CORE).outstanding(), 0);
}

#[test]
fn a_completion_of_parts_names_session_slot_volume_kind_and_size_of_the_request() {
    let mut bench = Bench::new(100);
    bench.add_whole();
    let id = bench.add_whole();
    bench.submit(id, 0xabcd, range(DISCARD, 0, 5)).unwrap();
    let tag = bench.ended_tag();
    assert_eq!(tag.session(), 1);
    assert_eq!(tag.slot(), 0xabcd);
    assert_eq!(tag.volume(), 1);
    assert_eq!(tag.kind(), Kind::Discard);
    assert_eq!(tag.size_class(), SizeClass::of(5), "not that of its parts");
    bench.submit_ranges(id, 0xabcd, &[range(DISCARD, 0, 5), range(DISCARD, 10, 12)]).unwrap();
    assert_eq!(bench.ended_tag().size_class(), SizeClass::of(17), "of all ranges together");
}

#[test]
fn spans_end_anywhere_and_parts_have_whole_blocks() {
    let mut bench = Bench::with(Geometry { spans_max: 3, ..Geometry::for_tests() }, 100);
    let id = bench.add_whole();
    let data: Vec<Span> = [100, 500, 300, 700, 448].map(span).into();
    let request = Request { tag: Tag::new(1, 1), operation: WRITE, lba: Lba(8), blocks: 4, data: &data };
    bench.graph.volume(id).unwrap().submit(&request).unwrap();
    bench.turn();
    let parts: Vec<Vec<u32>> =
        bench.device.taken().iter().map(|part| part.data.iter().map(Span::len).collect()).collect();
    assert_eq!(parts, [vec![100, 412], vec![88, 300, 636], vec![64, 448]]);
    assert_eq!(bench.asked(), [(8, 1), (9, 2), (11, 1)]);
    assert_eq!(bench.turns(Status::Success).0, [(1, Status::Success)]);
}

#[test]
fn a_write_of_the_atomic_size_is_not_cut_however_scattered_it_is() {
    let limits = Geometry { atomic_blocks: 8, spans_max: 2, ..Geometry::for_tests() };
    let device = Scripted::new(Geometry::for_tests(), 100);
    let narrow = Arc::new(Narrow::new(Arc::new(device.clone()), limits, 100));
    let volume = Volume::whole(narrow.clone());
    assert_eq!(volume.geometry().atomic_blocks, 8);
    let mut graph = Graph::default();
    let channel = graph.add_channel(narrow.open(CORE).unwrap()).ok().unwrap();
    let id = graph.add_volume(CORE, &volume, Base::Channel(channel)).unwrap();
    let mut bytes = [0_u8; 9 * 512];
    let host = NonNull::new(bytes.as_mut_ptr()).unwrap();
    // SAFETY: `bytes` outlives the requests.
    let whole = unsafe { Span::new(host, Iova(0), 9 * 512) };
    for (operation, blocks, parts) in [(WRITE, 1, 1), (WRITE, 8, 1), (WRITE, 9, 9), (Operation::Read, 8, 8)] {
        let data: Vec<Span> = (0..blocks * 2).map(|n| whole.slice(n * 256, 256).unwrap()).collect();
        // In as many pieces as there are bytes, where it is a block.
        let data = if blocks == 1 { (0..512).map(|n| whole.slice(n, 1).unwrap()).collect() } else { data };
        let request = Request { tag: Tag::new(1, 1), operation, lba: Lba(0), blocks, data: &data };
        graph.volume(id).unwrap().submit(&request).unwrap();
        let mut seen = 0;
        while graph.in_flight() > 0 {
            graph.commit();
            seen += device.complete_all(Status::Success);
            graph.poll(|_| {});
        }
        assert_eq!(seen, parts, "{operation:?} of {blocks} blocks");
    }
}

#[test]
fn a_request_with_a_block_in_more_spans_than_the_base_takes_changes_nothing_where_there_is_no_memory_for_it()
{
    let mut bench = Bench::with(Geometry { spans_max: 3, ..Geometry::for_tests() }, 100);
    let id = bench.add_whole();
    let mut submit = |lens: &[u32]| {
        let data: Vec<Span> = lens.iter().map(|&len| span(len)).collect();
        let request = Request { tag: Tag::new(1, 1), operation: WRITE, lba: Lba(0), blocks: 3, data: &data };
        bench.graph.volume(id).unwrap().submit(&request)
    };
    for lens in [[512, 512, 128, 128, 128, 128], [512, 500, 500, 8, 8, 8], [128, 128, 128, 128, 512, 512]] {
        assert_eq!(submit(&lens), Err(Refusal::Failed(Status::Invalid)), "{lens:?}");
    }
    for lens in [[512, 512, 128, 128, 256].as_slice(), &[512, 513, 128, 383], &[500, 500, 500, 36]] {
        assert_eq!(submit(lens), Ok(()), "{lens:?}");
    }
    bench.turn();
    assert_eq!(bench.asked().len(), 6, "two parts of each that was taken");
}

#[test]
fn no_more_is_told_to_be_atomic_than_is_never_cut() {
    for (atomic_blocks, transfer_blocks_max, told) in
        [(1, 256, 1), (64, 256, 64), (64, 16, 16), (4096, 4096, 128)]
    {
        let geometry = Geometry { atomic_blocks, transfer_blocks_max, ..Geometry::for_tests() };
        let bench = Bench::with(geometry, 1);
        assert_eq!(bench.whole.geometry().atomic_blocks, told);
    }
}

#[test]
fn after_the_first_failure_nothing_more_is_submitted_and_its_status_is_the_request_s() {
    let mut bench = Bench::new(4);
    let id = bench.add_whole();
    bench.submit(id, 3, range(WRITE, 0, 100)).unwrap();
    bench.turn();
    assert_eq!(bench.asked().len(), 4);
    let tag = bench.device.taken()[0].tag;
    for status in [Status::Success, Status::NoSpace, Status::MediaError] {
        assert!(bench.device.complete(tag, status));
    }
    assert_eq!(bench.turn(), []);
    assert_eq!(bench.asked().len(), 1, "the last one of those that had been submitted");
    assert_eq!(bench.turns(Status::Success).0, [(3, Status::NoSpace)]);
    assert_eq!(bench.graph.in_flight(), 0);
}

#[test]
fn a_request_waits_at_every_step_for_room_and_takes_its_time() {
    let mut bench = Bench::new(1);
    let id = bench.add_whole();
    bench.submit(id, 3, range(WRITE, 0, 10)).unwrap();
    assert_eq!(bench.submit(id, 4, range(WRITE, 0, 10)), Err(Refusal::Full));
    for part in 0..5_u64 {
        (0..3).for_each(|_| assert_eq!(bench.turn(), []));
        assert_eq!(bench.asked(), [(part * 2, 2)]);
        bench.device.set_room(0);
        bench.device.complete_all(Status::Success);
        (0..3).for_each(|_| drop(bench.turn()));
        assert_eq!(bench.asked(), []);
        bench.device.set_room(1);
    }
    assert_eq!(bench.graph.in_flight(), 0);
}

#[test]
fn a_reset_aborts_what_is_with_the_device_and_ends_the_request() {
    let mut bench = Bench::new(3);
    let id = bench.add_whole();
    bench.submit(id, 3, range(WRITE, 0, 100)).unwrap();
    bench.turn();
    // The device is halted: it takes nothing, and then ends what it has.
    bench.device.set_room(0);
    bench.turn();
    let (ended, parts) = bench.turns(Status::Aborted);
    assert_eq!(ended, vec![(3, Status::Aborted)]);
    assert_eq!(parts, 3);
    bench.device.set_room(3);
    bench.submit(id, 4, range(WRITE, 0, 4)).unwrap();
    assert_eq!(bench.turns(Status::Success).0, [(4, Status::Success)]);
}

#[test]
fn ranges_are_one_request() {
    let mut bench = Bench::new(100);
    let part = bench.whole.part(Lba(100), Blocks(50)).unwrap();
    let id = bench.add(&part);
    let zeroes = [
        range(Operation::WriteZeroes, 0, 4),
        range(Operation::WriteZeroesUnmap, 40, 10),
        range(Operation::WriteZeroes, 5, 1),
    ];
    bench.submit_ranges(id, 9, &zeroes).unwrap();
    bench.turn();
    assert_eq!(bench.asked(), [(100, 3), (103, 1), (140, 3), (143, 3), (146, 3), (149, 1), (105, 1)]);
    assert_eq!(bench.device.taken()[2].operation, Operation::WriteZeroesUnmap);
    assert_eq!(bench.turns(Status::Success).0, [(9, Status::Success)]);
    let counters = part.counters();
    assert_eq!(counters.writes, 1);
    assert_eq!(counters.written_blocks, 15);
    let many = vec![range(DISCARD, 0, 1); RANGES_MAX];
    let whole = bench.add_whole();
    bench.submit_ranges(whole, 1, &many).unwrap();
    let (ended, parts) = bench.turns(Status::Success);
    assert_eq!(ended, vec![(1, Status::Success)]);
    assert_eq!(parts, RANGES_MAX);
}

#[test]
fn ranges_of_which_one_is_wrong_change_nothing() {
    let mut bench = Bench::with(Geometry { discard_blocks_max: 0, ..tiny() }, 100);
    let part = bench.whole.part(Lba(100), Blocks(50)).unwrap();
    let (id, view) = (bench.add(&part), bench.add(&part.read_only_view()));
    let zeroes = |lba, blocks| range(Operation::WriteZeroes, lba, blocks);
    let fine = zeroes(0, 1);
    let wrong = [
        (zeroes(50, 1), Status::OutOfRange),
        (zeroes(49, 2), Status::OutOfRange),
        (zeroes(u64::MAX, u32::MAX), Status::OutOfRange),
        (zeroes(0, 50), Status::OutOfRange),
        (zeroes(0, 0), Status::Invalid),
        (range(WRITE, 0, 1), Status::Invalid),
        (range(DISCARD, 0, 1), Status::Unsupported),
    ];
    for (range, status) in wrong {
        assert_eq!(bench.submit_ranges(id, 1, &[fine, range]), Err(Refusal::Failed(status)), "{range:?}");
    }
    assert_eq!(bench.submit_ranges(view, 1, &[fine]), Err(Refusal::Failed(Status::WriteProtected)));
    assert_eq!(bench.submit_ranges(id, 1, &[]), Err(Refusal::Failed(Status::Invalid)));
    let too_many = vec![range(Operation::WriteZeroes, 0, 1); RANGES_MAX + 1];
    let whole = bench.add_whole();
    assert_eq!(bench.submit_ranges(whole, 1, &too_many), Err(Refusal::Failed(Status::Invalid)));
    bench.turn();
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.graph.in_flight(), 0);
}

#[test]
fn a_request_whose_memory_is_not_that_of_its_blocks_changes_nothing() {
    let mut bench = Bench::new(100);
    let id = bench.add_whole();
    for data in [vec![], vec![memory(9)], vec![memory(11)], vec![memory(10), span(0)]] {
        let request = Request { tag: Tag::new(1, 1), operation: WRITE, lba: Lba(0), blocks: 10, data: &data };
        let refused = bench.graph.volume(id).unwrap().submit(&request);
        assert_eq!(refused, Err(Refusal::Failed(Status::Invalid)), "{data:?}");
    }
    assert_eq!(bench.asked(), []);
}

#[test]
fn a_volume_that_has_all_slots_gets_no_more_while_another_one_wants_some() {
    let mut bench = Bench::new(1);
    let (greedy, other) = (bench.add_whole(), bench.add_whole());
    let long = range(DISCARD, 0, 10);
    // One part at a time goes to the device, so that room is there again for the next request.
    for slot in 0..SLOTS {
        bench.submit(greedy, slot, long).unwrap();
        bench.device.set_room(usize::from(slot) + 2);
    }
    assert_eq!(bench.submit(greedy, SLOTS, long), Err(Refusal::Full));
    assert_eq!(bench.submit(other, 100, long), Err(Refusal::Full));
    assert_eq!(bench.submit(other, 100, range(DISCARD, 0, 1)), Ok(()), "what needs no slot is taken");
    let (mut taken, mut asked) = (false, SLOTS);
    for _ in 0..200 {
        bench.device.set_room(1000);
        // The greedy one always asks first.
        while bench.submit(greedy, asked, long).is_ok() {
            assert!(taken, "a slot was free, and the other one waits");
            asked += 1;
        }
        taken |= bench.submit(other, 200, long).is_ok();
        bench.turn();
        bench.device.complete_all(Status::Success);
    }
    assert!(taken);
    assert!(asked > SLOTS, "nobody waits any more, and the greedy one goes on");
}

#[test]
fn a_volume_that_asks_no_more_keeps_nobody_from_slots() {
    let mut bench = Bench::new(1000);
    let (greedy, other) = (bench.add_whole(), bench.add_whole());
    (0..SLOTS).for_each(|slot| bench.submit(greedy, slot, range(DISCARD, 0, 2)).unwrap());
    assert_eq!(bench.submit(other, 0, range(DISCARD, 0, 2)), Err(Refusal::Full));
    while bench.graph.in_flight() > 0 {
        bench.turn();
        bench.device.complete_all(Status::Success);
    }
    assert_eq!(bench.submit(greedy, 0, range(DISCARD, 0, 2)), Ok(()));
}

#[test]
fn a_fence_waits_for_all_parts_of_what_was_taken() {
    let mut bench = Bench::new(1);
    let id = bench.add_whole();
    bench.submit(id, 1, range(WRITE, 0, 6)).unwrap();
    let fence = bench.graph.raise_fence(id, Lba(0)..Lba(2)).unwrap();
    let mut ended = Vec::new();
    while !bench.graph.drain(id) {
        assert_eq!(bench.submit(id, 2, range(WRITE, 500, 6)), Err(Refusal::Full));
        assert_eq!(bench.submit_ranges(id, 2, &[range(DISCARD, 500, 1)]), Err(Refusal::Full));
        ended.extend(bench.turns(Status::Success).0);
    }
    assert_eq!(ended, [(1, Status::Success)]);
    assert_eq!(bench.submit(id, 2, range(WRITE, 0, 6)), Err(Refusal::Full));
    let ranges = [range(DISCARD, 500, 1), range(DISCARD, 1, 2)];
    assert_eq!(bench.submit_ranges(id, 2, &ranges), Err(Refusal::Full));
    assert_eq!(bench.submit_ranges(id, 2, &ranges[..1]), Ok(()));
    assert_eq!(bench.turns(Status::Success).0, [(2, Status::Success)]);
    bench.graph.lift_fence(id, fence);
    assert_eq!(bench.submit(id, 3, range(WRITE, 0, 6)), Ok(()));
}

#[test]
fn a_volume_goes_only_after_all_parts_of_its_requests() {
    let mut bench = Bench::new(1);
    let id = bench.add_whole();
    bench.submit(id, 1, range(WRITE, 0, 6)).unwrap();
    bench.turn();
    bench.device.complete_all(Status::Success);
    bench.turn();
    assert!(catch_unwind(AssertUnwindSafe(|| bench.graph.remove_volume(id))).is_err());
    let mut bench = Bench::new(1);
    let id = bench.add_whole();
    bench.submit(id, 1, range(WRITE, 0, 6)).unwrap();
    bench.turns(Status::Success);
    bench.graph.remove_volume(id);
}

#[test]
fn a_part_that_ends_twice_is_a_mistake_that_is_not_passed_over() {
    let mut bench = Bench::new(100);
    let id = bench.add_whole();
    bench.submit(id, 1, range(WRITE, 0, 6)).unwrap();
    bench.turn();
    let part = bench.device.taken()[0].tag;
    bench.turns(Status::Success);
    let mut channel = bench.device.open(CORE).unwrap();
    let request = Request { tag: part, operation: Operation::Flush, lba: Lba(0), blocks: 0, data: &[] };
    channel.submit(&request).unwrap();
    channel.commit();
    bench.device.complete_all(Status::Success);
    assert!(catch_unwind(AssertUnwindSafe(|| bench.turn())).is_err());
}

#[test]
fn a_list_is_filled_submitted_and_free_again() {
    let mut bench = Bench::new(1000);
    let (id, other) = (bench.add_whole(), bench.add_whole());
    let request =
        |data| ListRequest { tag: Tag::new(1, 5), operation: WRITE, lba: Lba(0), blocks: 1000, data };
    let mut lists = Vec::new();
    while let Some(list) = bench.graph.volume(id).unwrap().reserve_list() {
        bench.graph.volume(id).unwrap().list(&list)[..1001].fill(span(512));
        lists.push(list);
    }
    assert_eq!(lists.len(), 2);
    assert!(bench.graph.volume(other).unwrap().reserve_list().is_none());
    let (first, second) = (lists.remove(0), lists.remove(0));
    let none = bench.graph.volume(id).unwrap().submit_list(first, &request(0..SPANS_MAX + 1));
    assert!(matches!(none, Err((Refusal::Failed(Status::Invalid), None))), "{none:?}");
    assert!(bench.graph.volume(id).unwrap().reserve_list().is_none(), "the other volume has a claim");
    let theirs = bench.graph.volume(other).unwrap().reserve_list().unwrap();
    bench.device.set_room(0);
    let full = bench.graph.volume(id).unwrap().submit_list(second, &request(1..1001));
    let Err((Refusal::Full, Some(second))) = full else { panic!("{full:?}") };
    bench.device.set_room(1000);
    assert!(bench.graph.volume(id).unwrap().submit_list(second, &request(1..1001)).is_ok());
    bench.graph.volume(other).unwrap().release_list(theirs);
    let (ended, parts) = bench.turns(Status::Success);
    assert_eq!(ended, vec![(5, Status::Success)]);
    assert_eq!(parts, 500);
    assert!(bench.graph.volume(other).unwrap().reserve_list().is_some());
}

/// A device for lists of the longest requests, a span for each block.
fn for_lists() -> Bench {
    Bench::with(Geometry { blocks: Blocks(SPANS_MAX as u64), ..tiny() }, 10)
}

impl Bench {
    /// Submits a request of `blocks` blocks whose list has `spans`.
    fn submit_list(&mut self, id: VolumeId, blocks: u32, spans: &[Span]) {
        let mut volume = self.graph.volume(id).unwrap();
        let list = volume.reserve_list().unwrap();
        volume.list(&list)[..spans.len()].copy_from_slice(spans);
        let (tag, data) = (Tag::new(1, 5), 0..spans.len());
        let request = ListRequest { tag, operation: WRITE, lba: Lba(0), blocks, data };
        assert!(volume.submit_list(list, &request).is_ok());
    }
}

#[test]
fn a_turn_checks_a_bounded_part_of_a_list() {
    let mut bench = for_lists();
    let id = bench.add_whole();
    bench.submit_list(id, SPANS_MAX.try_into().unwrap(), &[span(512); SPANS_MAX]);
    let mut turns = 0;
    while bench.device.taken().is_empty() {
        bench.turn();
        turns += 1;
        assert!(turns < 100, "the request is not submitted");
    }
    assert!(turns >= SPANS_MAX / 2048, "{SPANS_MAX} spans were checked in {turns} turns");
}

#[test]
fn a_list_that_is_not_the_memory_of_its_blocks_ends_before_the_device_has_a_part_of_it() {
    let good = vec![span(512); 3000];
    let longer = vec![span(512); 3001];
    let shorter = vec![span(512); 2999];
    let mut empty = good.clone();
    empty.push(span(0));
    let mut odd = good.clone();
    odd[2999] = span(511);
    let mut bench = for_lists();
    let id = bench.add_whole();
    for wrong in [longer, shorter, empty, odd] {
        bench.submit_list(id, 3000, &wrong);
        let (ended, parts) = bench.turns(Status::Success);
        assert_eq!(ended, vec![(5, Status::Invalid)]);
        assert_eq!(parts, 0);
        assert_eq!(bench.graph.in_flight(), 0);
    }
    bench.submit_list(id, 3000, &good);
    let (ended, parts) = bench.turns(Status::Success);
    assert_eq!(ended, vec![(5, Status::Success)]);
    assert_eq!(parts, 1500);
}

#[test]
fn a_list_of_many_pieces_is_for_reads_and_writes_only() {
    let mut bench = for_lists();
    let id = bench.add_whole();
    for operation in [
        Operation::Compare,
        Operation::CompareAndWrite(Durability::Cache),
        Operation::Stepped(Stepped::WriteSame(WriteSame::Cache)),
        Operation::Stepped(Stepped::CompareSame),
        Operation::Stepped(Stepped::WriteAndCompare),
    ] {
        let mut volume = bench.graph.volume(id).unwrap();
        let list = volume.reserve_list().unwrap();
        // Ten blocks in pieces that do not touch each other, more than an operation in steps has room for.
        volume.list(&list)[..640].fill(span(8));
        let request = ListRequest { tag: Tag::new(1, 5), operation, lba: Lba(0), blocks: 10, data: 0..640 };
        let refused = volume.submit_list(list, &request);
        assert!(matches!(refused, Err((Refusal::Failed(Status::Invalid), None))), "{operation}: {refused:?}");
    }
    let mut volume = bench.graph.volume(id).unwrap();
    let list = volume.reserve_list().unwrap();
    volume.list(&list)[..512].fill(span(1));
    let compare = ListRequest {
        tag: Tag::new(1, 5),
        operation: Operation::Compare,
        lba: Lba(0),
        blocks: 1,
        data: 0..512,
    };
    assert!(volume.submit_list(list, &compare).is_ok(), "fewer pieces");
}

#[test]
fn a_node_that_passes_requests_on_gets_them_whole_and_its_part_cuts_them() {
    let device = Scripted::new(tiny(), 100);
    let mut graph = Graph::default();
    let channel = graph.add_channel(device.open(CORE).unwrap()).ok().unwrap();
    let leg = Arc::new(Volume::whole(Arc::new(device.clone())));
    let leg_id = graph.add_volume(CORE, &leg, Base::Channel(channel)).unwrap();
    let failing = Failing::new(leg.clone(), FailureCount::default(), Status::MediaError);
    let node = graph.add_node(failing.open(CORE, &[leg_id]), &[leg_id]).ok().unwrap();
    let inner = Arc::new(Volume::of_composite(Arc::new(failing)));
    let inner_id = graph.add_volume(CORE, &inner, Base::Node(node)).unwrap();
    let delaying = Delaying::new(inner.clone(), Delay::default());
    let node = graph.add_node(delaying.open(CORE, &[inner_id]), &[inner_id]).ok().unwrap();
    let top = Volume::of_composite(Arc::new(delaying));
    let id = graph.add_volume(CORE, &top, Base::Node(node)).unwrap();
    let request = Request { tag: Tag::new(1, 5), operation: DISCARD, lba: Lba(0), blocks: 6, data: &[] };
    graph.volume(id).unwrap().submit(&request).unwrap();
    let ranges = [range(DISCARD, 10, 2), range(DISCARD, 20, 3)];
    graph.volume(id).unwrap().submit_ranges(Tag::new(1, 6), &ranges).unwrap();
    let mut ended = Vec::new();
    while graph.in_flight() > 0 {
        graph.commit();
        device.complete_all(Status::Success);
        graph.poll(|run| ended.extend(run.iter().map(|end| (end.tag().slot(), end.status()))));
    }
    ended.sort_by_key(|&(slot, _)| slot);
    assert_eq!(ended, [(5, Status::Success), (6, Status::Success)]);
    assert_eq!(top.counters().unmaps, 2);
    assert_eq!(leg.counters().unmaps, 3, "each range is a request to the node");
    assert_eq!(leg.counters().unmapped_blocks, 11);
}

/// A device whose data the core moves, so many blocks of long requests in a turn.
fn copying(turn_blocks_max: u32) -> Geometry {
    Geometry { transfer_blocks_max: 8, turn_blocks_max, ..Geometry::for_tests() }
}

#[test]
fn long_requests_of_a_device_whose_data_the_core_moves_share_a_few_blocks_of_each_turn() {
    let mut bench = Bench::with(copying(2), 64);
    let id = bench.add_whole();
    for slot in 0..3 {
        bench.submit(id, slot, range(WRITE, u64::from(slot) * 100, 64)).unwrap();
    }
    assert_eq!(bench.asked(), [(0, 2), (100, 2), (200, 2)], "the first part of each goes at once");
    bench.turn();
    bench.device.complete_all(Status::Success);
    for turn in 0..30 {
        bench.turn();
        let blocks: u32 = bench.asked().iter().map(|&(_, blocks)| blocks).sum();
        assert_eq!(blocks, 2, "in turn {turn}");
        bench.device.complete_all(Status::Success);
    }
}

#[test]
fn long_requests_of_a_device_whose_data_the_core_moves_go_on_in_turns() {
    let mut bench = Bench::with(copying(2), 64);
    let id = bench.add_whole();
    bench.submit(id, 0, range(WRITE, 0, 64)).unwrap();
    bench.submit(id, 1, range(WRITE, 100, 64)).unwrap();
    bench.turn();
    bench.device.complete_all(Status::Success);
    let mut next = || {
        bench.turn();
        let lba = bench.asked()[0].0;
        bench.device.complete_all(Status::Success);
        lba
    };
    assert_eq!([next(), next(), next(), next()], [102, 4, 104, 6]);
}

#[test]
fn a_request_within_the_blocks_of_a_turn_is_not_cut() {
    let mut bench = Bench::with(copying(4), 64);
    let id = bench.add_whole();
    bench.submit(id, 0, range(WRITE, 0, 4)).unwrap();
    assert_eq!(bench.asked(), [(0, 4)]);
}

#[test]
fn a_device_that_moves_the_data_itself_gets_many_parts_in_a_turn() {
    let mut bench = Bench::with(copying(u32::MAX), 64);
    let id = bench.add_whole();
    bench.submit(id, 0, range(WRITE, 0, 128)).unwrap();
    bench.turn();
    assert_eq!(bench.asked().len(), 16);
}
