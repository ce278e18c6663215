//! In-flight regions as earlier processes and other back-ends leave them, and as nobody should.

#![expect(unsafe_code, reason = "a queue is dropped before its memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod pair;

use luge_memory::{PeerMemory, Span};
use luge_seeded::{Random, fuzz};
use luge_spec::vhost_user::{DescriptorState, INFLIGHT_VERSION, InflightHeader, inflight_bytes};
use luge_virtqueue::rig::{Form, Piece, inflight_file};
use luge_virtqueue::{Fault, Head, InflightError, InflightRegion};
use pair::{DATA, NEXT, Pair, raw};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

const SIZE: u16 = 8;

/// The in-flight region of one queue.
struct Region(Arc<PeerMemory>);

impl Region {
    fn fresh() -> Self {
        Self(Arc::new(PeerMemory::map(inflight_file(1, SIZE), 0, inflight_bytes(SIZE)).unwrap()))
    }

    fn part(&self) -> InflightRegion {
        InflightRegion::new(&self.0, 0, SIZE).unwrap()
    }

    fn bytes(&self, offset: u64, len: u32) -> Span {
        // SAFETY: every test keeps its region until it ends.
        unsafe { self.0.span(offset, len) }.unwrap()
    }

    fn header(&self) -> InflightHeader {
        InflightHeader::read_from_bytes(&self.bytes(0, 16).first::<16>().unwrap()).unwrap()
    }

    fn set_header(&self, last_batch_head: u16, used_idx: u16) {
        self.set(&InflightHeader {
            features: 0.into(),
            version: INFLIGHT_VERSION.into(),
            desc_num: SIZE.into(),
            last_batch_head: last_batch_head.into(),
            used_idx: used_idx.into(),
        });
    }

    fn set(&self, header: &InflightHeader) {
        self.bytes(0, 16).write(header.as_bytes());
    }

    fn state(&self, head: u16) -> DescriptorState {
        let state = self.bytes(16 + 16 * u64::from(head), 16);
        DescriptorState::read_from_bytes(&state.first::<16>().unwrap()).unwrap()
    }

    fn mark(&self, head: u16, counter: u64, next: u16) {
        let state =
            DescriptorState { inflight: 1, padding: [0; 5], next: next.into(), counter: counter.into() };
        self.bytes(16 + 16 * u64::from(head), 16).write(state.as_bytes());
    }

    fn marked(&self) -> Vec<u16> {
        (0..SIZE).filter(|&head| self.state(head).inflight != 0).collect()
    }
}

/// A pair whose driver has made chains with heads 0, 1, 2 and so on available.
fn waiting(chains: u16) -> Pair {
    let mut pair = Pair::small();
    for head in 0..chains {
        assert_eq!(pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct), Some(Head(head)));
    }
    pair
}

/// The heads that a queue takes, in batches of two.
fn taken(pair: &mut Pair) -> Vec<u16> {
    let mut heads = Vec::new();
    loop {
        pair.queue.take(&mut pair.batch, 2).unwrap();
        if pair.batch.is_empty() {
            return heads;
        }
        for at in 0..pair.batch.len() {
            heads.push(pair.batch.chain(at).unwrap().head.0);
        }
    }
}

#[test]
fn a_chain_is_marked_while_the_device_has_it_and_the_region_says_so_as_specified() {
    let (region, mut pair) = (Region::fresh(), waiting(3));
    pair.queue.track(region.part()).unwrap();
    assert_eq!(region.header().version, INFLIGHT_VERSION);
    assert_eq!(region.header().desc_num, SIZE);
    assert_eq!(taken(&mut pair), [0, 1, 2]);
    assert_eq!(region.marked(), [0, 1, 2]);
    let counters: Vec<u64> = (0..3).map(|head| region.state(head).counter.get()).collect();
    assert_eq!(counters, [0, 1, 2]);
    pair.queue.complete_all([(Head(2), 0), (Head(0), 0)].into_iter());
    assert_eq!(region.marked(), [0, 1, 2], "the driver does not see them yet");
    let _ = pair.queue.publish();
    assert_eq!(region.header().last_batch_head, 0);
    assert_eq!(region.state(0).next, 2, "the one completed before it");
    assert_eq!(region.marked(), [1]);
    assert_eq!(region.header().used_idx, 2);
}

#[test]
fn chains_in_flight_are_taken_first_in_the_order_of_their_counters_then_those_behind_them() {
    let (region, mut pair) = (Region::fresh(), waiting(5));
    region.set_header(0, 0);
    [(0, 9), (1, 7), (2, 8)].into_iter().for_each(|(head, counter)| region.mark(head, counter, 0));
    pair.queue.track(region.part()).unwrap();
    assert_eq!(pair.queue.resubmits(), 3);
    assert_eq!(pair.queue.next_available(), 3);
    assert_eq!(taken(&mut pair), [1, 2, 0, 3, 4]);
    assert_eq!(pair.queue.resubmits(), 0);
    assert_eq!(region.state(3).counter, 10);
}

#[test]
fn a_core_does_not_sleep_while_chains_of_an_earlier_process_wait() {
    let (region, mut pair) = (Region::fresh(), waiting(1));
    region.set_header(0, 0);
    region.mark(0, 0, 0);
    pair.queue.track(region.part()).unwrap();
    assert!(pair.queue.arm(), "it waits");
    assert_eq!(taken(&mut pair), [0]);
    assert!(!pair.queue.arm(), "it was taken");
}

#[test]
fn a_batch_that_was_published_is_not_taken_again_whichever_of_its_marks_are_left() {
    for cleared in 0..=2 {
        let (region, mut pair) = (Region::fresh(), waiting(4));
        pair.queue.complete_all([(Head(1), 0), (Head(3), 0)].into_iter());
        let _ = pair.queue.publish();
        region.set_header(3, 0);
        for head in [0, 1, 2, 3] {
            region.mark(head, head.into(), if head == 3 { 1 } else { 0 });
        }
        for head in [1, 3].into_iter().take(cleared) {
            region.bytes(16 + 16 * head, 1).write(&[0]);
        }
        let mut next = pair.restarted();
        next.queue.track(region.part()).unwrap();
        assert_eq!(taken(&mut next), [0, 2], "{cleared} marks were cleared");
        assert_eq!(region.header().used_idx, 2);
    }
}

#[test]
fn a_fresh_region_in_the_middle_of_a_rings_life_is_none_of_an_earlier_process() {
    let mut pair = Pair::new(SIZE, luge_virtqueue::Notifications::Flags, 500);
    let region = Region::fresh();
    pair.queue.track(region.part()).unwrap();
    assert_eq!(pair.queue.next_available(), 500);
    assert_eq!(region.header().used_idx, 500);
    pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    assert_eq!(pair.take(), 1);
    let mut next = pair.restarted();
    next.queue.track(region.part()).unwrap();
    assert_eq!(taken(&mut next), [0], "chain 0 was in flight");
}

#[test]
fn a_region_that_another_back_end_never_gave_the_rings_index_loses_no_chain() {
    let mut pair = Pair::new(SIZE, luge_virtqueue::Notifications::Flags, 500);
    pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    let region = Region::fresh();
    region.set_header(0, 0);
    region.mark(0, 0, 0);
    pair.queue.track(region.part()).unwrap();
    assert_eq!(taken(&mut pair), [0]);
}

#[test]
fn marks_of_a_ring_that_was_made_anew_are_forgotten() {
    let (region, mut pair) = (Region::fresh(), Pair::small());
    region.set_header(5, 77);
    (0..SIZE).for_each(|head| region.mark(head, head.into(), 0));
    pair.queue.track(region.part()).unwrap();
    assert_eq!(region.marked(), [0; 0]);
    assert_eq!(pair.queue.next_available(), 0);
    pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    assert_eq!(taken(&mut pair), [0]);
}

#[test]
fn a_ring_may_have_fewer_descriptors_than_the_region_and_not_more() {
    let region = Region::fresh();
    let mut small = Pair::new(4, luge_virtqueue::Notifications::Flags, 0);
    small.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    small.queue.track(region.part()).unwrap();
    assert_eq!(taken(&mut small), [0]);
    let mut large = Pair::new(16, luge_virtqueue::Notifications::Flags, 0);
    let refusal = large.queue.track(Region::fresh().part());
    assert_eq!(refusal, Err(InflightError::Size { region: SIZE, ring: 16 }));
}

#[test]
fn a_region_that_cannot_be_is_refused_and_left_as_it_is() {
    let header = |version: u16, features: u64, desc_num: u16| InflightHeader {
        features: features.into(),
        version: version.into(),
        desc_num: desc_num.into(),
        ..InflightHeader::default()
    };
    let cases = [
        (header(2, 0, SIZE), InflightError::Layout { version: 2, features: 0 }),
        (header(1, 1, SIZE), InflightError::Layout { version: 1, features: 1 }),
        (header(1, 0, SIZE - 1), InflightError::Size { region: SIZE - 1, ring: SIZE }),
    ];
    for (header, refusal) in cases {
        let (region, mut pair) = (Region::fresh(), waiting(1));
        region.set(&header);
        assert_eq!(pair.queue.track(region.part()), Err(refusal));
        assert_eq!(region.header(), header);
    }
}

#[test]
fn more_chains_in_flight_than_the_driver_waits_for_are_refused() {
    let (region, mut pair) = (Region::fresh(), waiting(2));
    region.set_header(0, 0);
    (0..3).for_each(|head| region.mark(head, 0, 0));
    let refusal = pair.queue.track(region.part());
    assert_eq!(refusal, Err(InflightError::TooMany { inflight: 3, outstanding: 2 }));
    assert_eq!(region.marked(), [0, 1, 2]);
}

#[test]
fn links_that_leave_the_ring_are_refused_and_those_in_a_circle_end() {
    for (next, expected) in [(SIZE, Err(InflightError::Head(SIZE))), (2, Ok(()))] {
        let (region, mut pair) = (Region::fresh(), waiting(6));
        pair.queue.complete_all((0..3).map(|head| (Head(head), 0)));
        let _ = pair.queue.publish();
        region.set_header(2, 0);
        region.mark(2, 0, next);
        let mut next = pair.restarted();
        assert_eq!(next.queue.track(region.part()), expected);
    }
}

#[test]
fn a_part_that_is_not_in_the_region_or_not_aligned_is_refused() {
    let file = inflight_file(2, SIZE);
    let map = |offset, len| Arc::new(PeerMemory::map(&file, offset, len).unwrap());
    let bytes = inflight_bytes(SIZE);
    let part = |offset, len, index| InflightRegion::new(&map(offset, len), index, SIZE).err();
    assert_eq!(part(0, 2 * bytes, 1), None);
    assert_eq!(part(0, 2 * bytes, 2), Some(InflightError::Shape));
    assert_eq!(part(0, 2 * bytes, u16::MAX), Some(InflightError::Shape));
    assert_eq!(part(0, bytes - 1, 0), Some(InflightError::Shape));
    assert_eq!(part(4, bytes, 0), Some(InflightError::Shape));
}

#[test]
fn a_chain_at_fault_is_found_at_fault_again() {
    let (region, mut pair) = (Region::fresh(), Pair::small());
    pair.queue.track(region.part()).unwrap();
    pair.driver.write_descriptor(0, raw(DATA, 0, NEXT, 0));
    pair.driver.push_head(0);
    assert_eq!(pair.take_one().fault, Some(Fault::Steps));
    let mut next = pair.restarted();
    next.queue.track(region.part()).unwrap();
    assert_eq!(next.take_one().fault, Some(Fault::Steps));
}

#[test]
fn whatever_is_in_a_region_every_chain_taken_is_one_of_the_ring_and_is_taken_once() {
    fuzz(|random| {
        let (region, mut pair) = (Region::fresh(), waiting(SIZE));
        let small = |random: &mut Random| random.below(SIZE + 2);
        let any = random.between(0, u16::MAX);
        region.set_header(small(random), if random.once_in(4) { any } else { small(random) });
        for head in 0..SIZE {
            if random.once_in(2) {
                let counter = random.pick(&[0, 1, 2, u64::MAX]);
                region.mark(head, counter, small(random));
            }
        }
        pair.driver.set_available_index(small(random));
        if pair.queue.track(region.part()).is_err() {
            return;
        }
        let mut again = Vec::new();
        while pair.queue.resubmits() > 0 {
            pair.queue.take(&mut pair.batch, 3).unwrap();
            again.extend((0..pair.batch.len()).map(|at| pair.batch.chain(at).unwrap().head.0));
        }
        let taken = again.len();
        assert!(again.iter().all(|&head| head < SIZE));
        again.sort_unstable();
        again.dedup();
        assert_eq!(again.len(), taken);
        assert_eq!(region.marked(), again, "what is taken is marked, and nothing else");
        // A queue that keeps chains keeps its memory mapped, and the files of that.
        pair.queue.complete_all(again.into_iter().map(|head| (Head(head), 0)));
    });
}
