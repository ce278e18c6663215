//! Requests that others wait for: task management, and LUNs that go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Status};
use luge_core::Session;
use luge_spec::virtio::scsi::Response;
use luge_vhost::{Cancelled, CancelledAs, CommandReply, Drain, Ended, Scope};
use rig::UNANSWERED;
use rig::scsi::{Cmd, ScsiBench, address};
use std::sync::Arc;

/// A bench with LUNs 0 and 1 of target 0 and LUN 0 of target 1, all on one device.
struct Place {
    bench: ScsiBench,
    device: Scripted,
}

impl Place {
    fn new(room: usize) -> Self {
        let device = Scripted::new(Geometry::for_tests(), room);
        let unit = || Arc::new(device.clone()) as _;
        let luns = vec![(address(0, 0), unit()), (address(0, 1), unit()), (address(1, 0), unit())];
        Self { bench: ScsiBench::with(luns, 64, None), device }
    }

    /// Cancels requests; returns the waiter's token.
    fn cancel(&mut self, scope: Scope, end: CancelledAs) -> Waiter {
        let mut drain = Arc::new(Drain::default());
        match self.bench.session.cancel(scope, end, drain.clone()) {
            Cancelled::Waiting => {}
            Cancelled::Over(token) => drop(token),
            Cancelled::Full(_) => panic!("full"),
        }
        let is_over = Arc::get_mut(&mut drain).is_some();
        Waiter { drain, was_over: is_over }
    }

    /// Completes all that the device has, and makes the guest see it.
    fn complete(&mut self) {
        self.device.complete_all(Status::Success);
        self.bench.turn();
    }
}

struct Waiter {
    drain: Arc<Drain>,
    was_over: bool,
}

impl Waiter {
    fn is_over(&mut self) -> bool {
        Arc::get_mut(&mut self.drain).is_some()
    }
}

fn rings(bench: &ScsiBench) -> bool {
    let mut count = [0; 8];
    rustix::io::read(bench.relay.bell(), &mut count).is_ok()
}

#[test]
fn an_aborted_request_ends_as_such_when_its_memory_is_used_no_more_and_others_are_served() {
    let mut place = Place::new(8);
    let aborted = place.bench.send(&Cmd::read(0, 1, 512).tagged(7));
    let other = place.bench.send(&Cmd::read(1, 1, 512).tagged(8));
    place.bench.turn();
    assert!(place.bench.session.is_in_flight(address(0, 0), 7));
    assert!(!place.bench.session.is_in_flight(address(0, 1), 7));
    let mut waiter = place.cancel(Scope::Task { lun: address(0, 0), tag: 7 }, CancelledAs::Aborted);
    (0..3).for_each(|_| _ = place.bench.turn());
    assert!(!waiter.is_over(), "the device has the request");
    let tag = place.device.taken()[0].tag;
    place.device.complete(tag, Status::Success);
    place.bench.graph.commit();
    let session = &mut place.bench.session;
    place.bench.graph.poll(|run| session.finish(run));
    assert!(!waiter.is_over(), "the guest cannot see it yet");
    assert!(!rings(&place.bench));
    place.bench.publish();
    assert!(waiter.is_over());
    assert!(rings(&place.bench));
    let answer = place.bench.take_answer(&aborted).unwrap();
    assert_eq!(answer.response, Response::ABORTED);
    assert_eq!(answer.written, 12, "its header");
    place.complete();
    assert_eq!(place.bench.take_answer(&other).unwrap().response, Response::OK);
    let mut again = place.cancel(Scope::Task { lun: address(0, 0), tag: 7 }, CancelledAs::Aborted);
    assert!(again.was_over, "there is none any more");
    assert!(again.is_over());
}

#[test]
fn a_request_that_waits_in_the_ring_does_not_begin_and_later_ones_do() {
    let mut place = Place::new(8);
    let before = place.bench.send(&Cmd::read(0, 1, 512).tagged(1));
    let elsewhere = place.bench.send(&Cmd::read(1, 1, 512).tagged(1).to(address(0, 1)));
    let mut waiter = place.cancel(Scope::Lun(address(0, 0)), CancelledAs::Reset);
    assert!(!waiter.was_over);
    let after = place.bench.send(&Cmd::read(2, 1, 512).tagged(1));
    place.bench.turn();
    assert!(waiter.is_over());
    let answer = place.bench.take_answer(&before).unwrap();
    assert_eq!(answer.response, Response::RESET);
    assert_eq!(answer.residual, 512);
    assert_eq!(answer.data, [UNANSWERED; 512]);
    place.complete();
    let ended: Vec<_> = std::iter::from_fn(|| place.bench.driver.take_used()).map(|(head, _)| head).collect();
    assert_eq!(ended, [elsewhere.head, after.head]);
}

#[test]
fn a_request_without_room_does_not_begin_either() {
    let mut place = Place::new(1);
    let first = place.bench.send(&Cmd::synchronize_cache().tagged(1));
    let second = place.bench.send(&Cmd::synchronize_cache().tagged(2));
    let third = place.bench.send(&Cmd::synchronize_cache().tagged(3));
    (0..3).for_each(|_| _ = place.bench.turn());
    assert_eq!(place.device.taken().len(), 1);
    for tag in 1..=3 {
        assert!(place.bench.session.is_in_flight(address(0, 0), tag), "task {tag}");
    }
    assert!(place.bench.session.has_any(address(0, 0)));
    let mut waiter = place.cancel(Scope::Target(0), CancelledAs::Aborted);
    place.bench.turn();
    for sent in [second, third] {
        assert_eq!(place.bench.take_answer(&sent).unwrap().response, Response::ABORTED);
    }
    assert!(!waiter.is_over(), "the first one is in flight");
    place.complete();
    assert_eq!(place.bench.take_answer(&first).unwrap().response, Response::ABORTED);
    assert!(waiter.is_over());
    assert!(!place.bench.session.has_any(address(0, 0)));
    assert_eq!(place.bench.in_flight(), 0);
}

#[test]
fn scopes_concern_their_own() {
    for (scope, ended) in [
        (Scope::Lun(address(0, 1)), [false, true, false]),
        (Scope::Target(0), [true, true, false]),
        (Scope::Target(1), [false, false, true]),
        (Scope::All, [true; 3]),
        (Scope::Task { lun: address(0, 1), tag: 5 }, [false, true, false]),
        (Scope::Task { lun: address(0, 1), tag: 6 }, [false; 3]),
    ] {
        let mut place = Place::new(8);
        let luns = [address(0, 0), address(0, 1), address(1, 0)];
        let sent = luns.map(|lun| place.bench.send(&Cmd::read(0, 1, 512).tagged(5).to(lun)));
        place.bench.turn();
        let mut waiter = place.cancel(scope, CancelledAs::Reset);
        place.complete();
        assert!(waiter.is_over(), "{scope:?}");
        for (sent, ended) in sent.iter().zip(ended) {
            let response = if ended { Response::RESET } else { Response::OK };
            assert_eq!(place.bench.take_answer(sent).unwrap().response, response, "{scope:?}");
        }
    }
}

#[test]
fn requests_to_a_lun_that_goes_keep_their_own_status_and_new_ones_do_not_reach_it() {
    let mut place = Place::new(8);
    let before = place.bench.send(&Cmd::read(0, 1, 512));
    place.bench.turn();
    place.bench.luns.remove(0);
    place.bench.set_table();
    let mut waiter = place.cancel(Scope::Lun(address(0, 0)), CancelledAs::Nothing);
    let after = place.bench.send(&Cmd::read(1, 1, 512));
    (0..3).for_each(|_| _ = place.bench.turn());
    assert!(!waiter.is_over());
    assert_eq!(place.device.taken().len(), 1);
    assert!(place.bench.relayed().is_some(), "the target has another LUN: the device server answers");
    let tag = place.device.taken()[0].tag;
    place.device.complete(tag, Status::MediaError);
    place.bench.turn();
    assert!(waiter.is_over());
    let answer = place.bench.take_answer(&before).unwrap();
    assert_eq!(answer.response, Response::OK);
    assert_eq!(answer.sense_code().map(|[key, _, _]| key), Some(3));
    assert!(place.bench.take_answer(&after).is_none());
}

#[test]
fn a_relayed_request_that_is_cancelled_ends_as_such_when_the_thread_has_answered() {
    let mut place = Place::new(8);
    let sent = place.bench.send(&Cmd::inquiry(36).tagged(3));
    place.bench.turn();
    let (relayed, _) = place.bench.relayed().unwrap();
    let mut waiter = place.cancel(Scope::Lun(address(0, 0)), CancelledAs::Aborted);
    place.bench.turn();
    assert!(!waiter.is_over(), "the thread may write its data");
    let data = CommandReply::Done(Ended { data_in: vec![1; 36], ..Ended::default() });
    assert!(place.bench.reply(&relayed, &data));
    assert!(waiter.is_over());
    let answer = place.bench.take_answer(&sent).unwrap();
    assert_eq!(answer.response, Response::ABORTED);
    assert_eq!(answer.data, [UNANSWERED; 36]);
}

#[test]
fn more_cancellations_than_a_session_can_wait_for_are_given_back() {
    let mut place = Place::new(8);
    place.bench.send(&Cmd::read(0, 1, 512));
    place.bench.turn();
    let drain = Arc::new(Drain::default());
    let outcomes =
        (0..1000).map(|_| place.bench.session.cancel(Scope::All, CancelledAs::Nothing, drain.clone()));
    let waiting = outcomes.filter(|outcome| matches!(outcome, Cancelled::Waiting)).count();
    assert!((1..1000).contains(&waiting), "{waiting}");
    assert_eq!(Arc::strong_count(&drain), waiting + 1);
    place.complete();
    assert_eq!(Arc::strong_count(&drain), 1);
}

#[test]
fn a_session_that_is_to_leave_waits_for_no_chain_that_it_will_not_take() {
    let mut place = Place::new(8);
    place.bench.send(&Cmd::read(0, 1, 512));
    let mut waiter = place.cancel(Scope::All, CancelledAs::Reset);
    assert!(!waiter.was_over);
    place.bench.session.quiesce();
    place.bench.publish();
    assert!(waiter.is_over());
    assert_eq!(place.bench.in_flight(), 0);
}
