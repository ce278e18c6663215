//! Requests to a LUN whose volume stays full, beside those of other LUNs of the same queue.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Lba, Operation, Status};
use luge_core::{Armed, Session};
use luge_memory::GuestAddress;
use luge_spec::virtio::scsi::Response;
use luge_vhost::{Cancelled, CancelledAs, Drain, LunAddress, Scope};
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use luge_volume::ListId;
use rig::scsi::{Cmd, HEADER, RESPONSE, ScsiBench, SentCmd, address};
use std::sync::Arc;

const FULL: LunAddress = LunAddress { target: 0, lun: 0 };
const FREE: LunAddress = LunAddress { target: 7, lun: 200 };

/// Requests of a test to the LUN that is full: more than a batch.
const MANY: u32 = 100;

/// A LUN that takes no request until it is told, and one that is free, on one queue.
struct Place {
    bench: ScsiBench,
    full: Scripted,
    free: Scripted,
}

impl Place {
    fn new() -> Self {
        let (full, free) =
            (Scripted::new(Geometry::for_tests(), 0), Scripted::new(Geometry::for_tests(), 64));
        let luns = vec![(FULL, Arc::new(full.clone()) as _), (FREE, Arc::new(free.clone()) as _)];
        Self { bench: ScsiBench::with(luns, 1024, None), full, free }
    }

    /// A place where many requests to the full LUN wait, and one to the other LUN.
    fn parked() -> (Self, Vec<SentCmd>) {
        let mut place = Self::new();
        let parked = (0..MANY).map(|n| place.send_full(n)).collect();
        place.bench.send(&Cmd::read(0, 1, 512).to(FREE));
        place.turns(4);
        assert_eq!(place.free.taken().len(), 1);
        place.free.complete_all(Status::Success);
        place.turns(1);
        assert!(place.bench.driver.take_used().is_some());
        (place, parked)
    }

    fn send_full(&mut self, n: u32) -> SentCmd {
        self.bench.send(&Cmd::read(n, 1, 512).to(FULL).tagged(n.into()))
    }

    fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| _ = self.bench.turn());
    }

    /// Lets the full LUN serve everything, `room` requests at a time; returns the blocks that were read, in order.
    fn serve_all(&mut self, room: usize) -> Vec<u64> {
        let mut blocks = vec![];
        self.full.set_room(room);
        for _ in 0..10 * MANY {
            self.turns(1);
            blocks.extend(self.full.taken().iter().map(|request| request.lba.0));
            self.full.complete_all(Status::Success);
        }
        self.turns(1);
        blocks
    }

    fn used(&mut self) -> usize {
        std::iter::from_fn(|| self.bench.driver.take_used()).count()
    }

    /// Checks that requests were answered, and no others, and with that response.
    fn check_answers(&mut self, sent: &[SentCmd], response: Response) {
        let mut heads: Vec<_> =
            std::iter::from_fn(|| self.bench.driver.take_used()).map(|(head, _)| head.0).collect();
        heads.sort_unstable();
        assert_eq!(heads, sent.iter().map(|sent| sent.head.0).collect::<Vec<_>>());
        assert!(sent.iter().all(|sent| self.bench.answer(sent, 0).response == response));
    }

    fn cancel(&mut self, scope: Scope, end: CancelledAs) -> Arc<Drain> {
        let drain = Arc::new(Drain::default());
        match self.bench.session.cancel(scope, end, drain.clone()) {
            Cancelled::Waiting => {}
            Cancelled::Over(token) => drop(token),
            Cancelled::Full(_) => panic!("full"),
        }
        drain
    }
}

fn is_over(drain: &mut Arc<Drain>) -> bool {
    Arc::get_mut(drain).is_some()
}

#[test]
fn a_lun_that_stays_full_delays_no_other_lun_of_its_queue() {
    let mut place = Place::new();
    for round in 0..MANY {
        place.send_full(round);
        place.bench.send(&Cmd::read(round, 1, 512).to(FREE));
        place.bench.send(&Cmd::synchronize_cache().to(FULL));
        place.turns(3);
        assert_eq!(place.free.complete_all(Status::Success), 1, "round {round}");
        place.turns(1);
        assert_eq!(place.used(), 1, "round {round}");
    }
    assert_eq!(place.bench.in_flight(), 2 * MANY as usize);
    assert!(matches!(place.bench.session.arm(), Armed::Waiting));
}

#[test]
fn a_lun_with_room_that_takes_nothing_delays_no_other_lun_of_its_queue() {
    let mut place = Place::new();
    place.full.set_room(64);
    let volume = place.bench.luns[0].1.volume;
    place.bench.graph.raise_fence(volume, Lba(0)..Lba(1000)).ok().unwrap();
    assert!(place.bench.graph.drain(volume));
    (0..MANY).for_each(|n| _ = place.send_full(n));
    for round in 0..MANY {
        place.bench.send(&Cmd::read(round, 1, 512).to(FREE));
        place.turns(6);
        assert_eq!(place.free.complete_all(Status::Success), 1, "round {round}");
    }
    assert_eq!(place.full.taken().len(), 0);
}

#[test]
fn parked_requests_are_all_served_once_when_there_is_room_again() {
    for room in [1, 3, 64] {
        let (mut place, _) = Place::parked();
        let mut blocks = place.serve_all(room);
        blocks.sort_unstable();
        assert_eq!(blocks, (0..u64::from(MANY)).collect::<Vec<_>>(), "{room} at a time");
        assert_eq!(place.used(), MANY as usize);
        assert_eq!(place.bench.in_flight(), 0);
        assert!(matches!(place.bench.session.arm(), Armed::Quiet));
    }
}

#[test]
fn a_parked_request_that_is_no_read_or_write_is_served_too() {
    let mut place = Place::new();
    let flush = place.bench.send(&Cmd::synchronize_cache().to(FULL));
    place.bench.send(&Cmd::read(0, 1, 512).to(FREE));
    place.turns(2);
    assert_eq!(place.free.complete_all(Status::Success), 1);
    place.turns(1);
    assert_eq!(place.used(), 1);
    place.full.set_room(1);
    place.turns(2);
    assert_eq!(place.full.taken()[0].operation, Operation::Flush);
    place.full.complete_all(Status::Success);
    place.turns(1);
    assert_eq!(place.bench.take_answer(&flush).unwrap().response, Response::OK);
}

#[test]
fn a_stop_waits_for_parked_requests_and_they_end() {
    let (mut place, _) = Place::parked();
    place.bench.session.quiesce();
    place.turns(2);
    assert_eq!(place.bench.in_flight(), MANY as usize);
    assert_eq!(place.serve_all(64).len(), MANY as usize);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn a_parked_request_that_is_aborted_is_answered_although_there_is_no_room() {
    let (mut place, parked) = Place::parked();
    let tag = u64::from(MANY) - 1;
    assert!(place.bench.session.is_in_flight(FULL, tag));
    let mut waiter = place.cancel(Scope::Task { lun: FULL, tag }, CancelledAs::Aborted);
    assert!(!is_over(&mut waiter));
    place.turns(4);
    let answer = place.bench.take_answer(parked.last().unwrap()).unwrap();
    assert_eq!(answer.response, Response::ABORTED);
    assert_eq!(answer.residual, 512);
    assert!(is_over(&mut waiter));
    assert_eq!(place.used(), 0, "the others still wait");
    assert_eq!(place.serve_all(64).len(), MANY as usize - 1);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn a_reset_ends_all_parked_requests_of_the_lun_and_none_of_later() {
    let (mut place, parked) = Place::parked();
    let mut waiter = place.cancel(Scope::Lun(FULL), CancelledAs::Reset);
    let later = place.send_full(7);
    place.turns(8);
    assert!(is_over(&mut waiter));
    place.check_answers(&parked, Response::RESET);
    assert_eq!(place.serve_all(1), [7]);
    assert_eq!(place.bench.take_answer(&later).unwrap().response, Response::OK);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn parked_requests_of_a_lun_that_goes_do_not_keep_it_and_are_told_so() {
    let (mut place, parked) = Place::parked();
    place.bench.luns.retain(|(lun, _)| *lun != FULL);
    place.bench.set_table();
    let mut waiter = place.cancel(Scope::Lun(FULL), CancelledAs::Nothing);
    assert!(is_over(&mut waiter), "none has begun");
    place.turns(8);
    place.check_answers(&parked, Response::BAD_TARGET);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn a_parked_chain_that_is_made_available_again_breaks_the_ring() {
    let (mut place, parked) = Place::parked();
    place.bench.driver.push_head(parked[3].head.0);
    assert_eq!(place.serve_all(1).len(), MANY as usize, "what was taken is served");
    assert!(place.bench.counters.broken());
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn a_driver_that_changes_a_parked_chain_so_that_it_has_no_end_breaks_its_ring() {
    let (mut place, parked) = Place::parked();
    // The first descriptor is followed by itself: next, and the index of the head.
    let head = parked[0].head.0;
    let at = RigMemory::RINGS.0 + 16 * u64::from(head) + 12;
    place.bench.memory.write(GuestAddress(at), &[1, 0]);
    place.bench.memory.write(GuestAddress(at + 2), &head.to_le_bytes());
    let blocks = place.serve_all(64);
    assert_eq!(blocks.len(), MANY as usize - 1);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn requests_to_more_full_luns_than_can_be_parked_wait_and_are_served() {
    let full = Scripted::new(Geometry::for_tests(), 0);
    let luns = (0..80).map(|lun| (address(1, lun), Arc::new(full.clone()) as _)).collect();
    let mut bench = ScsiBench::with(luns, 1024, None);
    for lun in (0..80).chain(0..80) {
        bench.send(&Cmd::read(lun.into(), 1, 512).to(address(1, lun)));
    }
    (0..20).for_each(|_| _ = bench.turn());
    full.set_room(1);
    let mut served = 0;
    for _ in 0..10_000 {
        bench.turn();
        served += full.complete_all(Status::Success);
    }
    assert_eq!(served, 160);
    assert_eq!(bench.in_flight(), 0);
}

/// Sends a read to a LUN in a chain that is longer than a take walks: each byte but those of the data in a piece of its
/// own.
fn send_long(bench: &mut ScsiBench, lun: LunAddress, tag: u64) -> SentCmd {
    bench.send_as(&Cmd::read(3, 1, 512).to(lun).tagged(tag), |[out, _], [into, _]| {
        let header = (out..out + HEADER).map(|at| Piece::readable(at, 1));
        let response = (into..into + RESPONSE).map(|at| Piece::writable(at, 1));
        let data = [Piece::writable(into + RESPONSE, 512)];
        (header.chain(response).chain(data).collect(), Form::Indirect(table_of(out)))
    })
}

/// Place of the indirect table of the request whose header is there.
fn table_of(header_at: u64) -> GuestAddress {
    GuestAddress(RigMemory::FAR_DATA.0 + 4 * (header_at - RigMemory::DATA.0))
}

#[test]
fn a_long_chain_to_a_full_lun_delays_no_other_lun_of_its_queue() {
    let mut place = Place::new();
    let long = send_long(&mut place.bench, FULL, 1);
    for round in 0..4 {
        place.bench.send(&Cmd::read(round, 1, 512).to(FREE));
        place.turns(4);
        assert_eq!(place.free.complete_all(Status::Success), 1, "round {round}");
        place.turns(1);
        assert_eq!(place.used(), 1, "round {round}");
    }
    assert_eq!(place.bench.in_flight(), 1);
    place.full.set_room(64);
    place.turns(8);
    assert_eq!(place.full.complete_all(Status::Success), 1);
    place.turns(2);
    assert_eq!(place.bench.take_answer(&long).unwrap().response, Response::OK);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn long_chains_for_which_no_list_is_free_delay_no_other_lun_of_their_queue() {
    let mut place = Place::new();
    let volume = place.bench.luns[0].1.volume;
    let lists: Vec<ListId> =
        std::iter::from_fn(|| place.bench.graph.volume(volume).unwrap().reserve_list()).collect();
    let long = send_long(&mut place.bench, FREE, 1);
    place.bench.send(&Cmd::read(7, 1, 512).to(FREE));
    place.turns(4);
    assert_eq!(place.free.taken().iter().map(|request| request.lba.0).collect::<Vec<_>>(), [7]);
    lists.into_iter().for_each(|list| place.bench.graph.release_list(list));
    place.turns(8);
    assert_eq!(place.free.complete_all(Status::Success), 2);
    place.turns(2);
    assert_eq!(place.used(), 2);
    assert_eq!(place.bench.answer(&long, 0).response, Response::OK);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn a_long_chain_that_is_parked_and_aborted_is_answered_although_there_is_no_room() {
    let mut place = Place::new();
    let long = send_long(&mut place.bench, FULL, 77);
    place.turns(4);
    assert!(place.bench.session.is_in_flight(FULL, 77));
    let mut waiter = place.cancel(Scope::Task { lun: FULL, tag: 77 }, CancelledAs::Aborted);
    assert!(!is_over(&mut waiter));
    place.turns(8);
    assert_eq!(place.bench.take_answer(&long).unwrap().response, Response::ABORTED);
    assert!(is_over(&mut waiter));
    assert!(place.full.taken().is_empty());
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn a_long_chain_that_is_parked_is_told_so_when_its_lun_goes() {
    let mut place = Place::new();
    let long = send_long(&mut place.bench, FULL, 1);
    place.turns(4);
    place.bench.luns.retain(|(lun, _)| *lun != FULL);
    place.bench.set_table();
    let mut waiter = place.cancel(Scope::Lun(FULL), CancelledAs::Nothing);
    assert!(is_over(&mut waiter), "it has not begun");
    place.turns(8);
    assert_eq!(place.bench.take_answer(&long).unwrap().response, Response::BAD_TARGET);
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn long_and_short_chains_to_a_full_lun_are_all_served_once() {
    let mut place = Place::new();
    for n in 0..MANY {
        if n % 10 == 0 {
            send_long(&mut place.bench, FULL, n.into());
        }
        place.send_full(n);
    }
    place.bench.send(&Cmd::read(0, 1, 512).to(FREE));
    place.turns(30);
    assert_eq!(place.free.complete_all(Status::Success), 1, "it was not delayed");
    assert_eq!(place.serve_all(3).len(), MANY as usize + 10);
    assert_eq!(place.bench.in_flight(), 0);
}
