//! Interrupts: one for many completions, and none lost; shadow doorbells, and what an idle core needs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Status};
use luge_core::{Armed, Call, Session, Ticks};
use luge_memory::GuestAddress;
use luge_nvme_target::{Coalescing, QueueId, Service, ShadowDoorbells, ShadowLayout};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::{Bench, PAGE, Setup, memory, read};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

const DATA: u64 = RigMemory::DATA.0;
const FAR: u64 = RigMemory::FAR_DATA.0;

/// Eventfd of a vector, as the host's side sees it.
struct Vector(OwnedFd);

impl Vector {
    fn new() -> Self {
        Self(eventfd(0, EventfdFlags::NONBLOCK).unwrap())
    }

    fn call(&self) -> Call {
        Call::new(self.0.try_clone().unwrap()).unwrap()
    }

    /// Number of interrupts since the last look.
    fn count(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }
}

/// A bench with a vector, on a device that the test plays.
struct Played {
    bench: Bench,
    device: Scripted,
    vector: Vector,
}

impl Played {
    fn new(coalescing: Coalescing) -> Self {
        let (vector, device) = (Vector::new(), Scripted::new(Geometry::for_tests(), 64));
        let setup = Setup { interrupt: Some(vector.call()), coalescing, ..Setup::default() };
        let bench = Bench::with(vec![Volume::whole(Arc::new(device.clone()))], setup);
        Self { bench, device, vector }
    }

    /// Sends commands, which the device has then.
    fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.bench.queues[0].push(read(0, 1, DATA));
        }
        self.bench.queues[0].ring();
        self.bench.turns();
    }

    /// Completes one command, and makes a turn.
    fn complete_one(&mut self) {
        let tag = self.device.taken()[0].tag;
        assert!(self.device.complete(tag, Status::Success));
        self.bench.turn();
    }

    /// Makes turns until there is an interrupt, which must be within a time; returns whether there was one.
    fn is_interrupted(&mut self, most: Duration) -> bool {
        let end = Ticks::now() + most;
        while Ticks::now() < end {
            self.bench.graph.begin_turn(Ticks::now());
            self.bench.turn();
            if self.vector.count() > 0 {
                return true;
            }
        }
        false
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_host_that_consumes_what_it_was_interrupted_for_is_interrupted_for_each_command() {
    let mut played = Played::new(Coalescing::default());
    for _ in 0..100 {
        played.send(1);
        played.complete_one();
        assert_eq!(played.vector.count(), 1);
        assert!(played.bench.take().is_some());
    }
}

#[test]
fn a_host_that_has_not_looked_yet_is_not_interrupted_again_at_once() {
    let mut played = Played::new(Coalescing::default());
    played.send(32);
    played.bench.graph.begin_turn(Ticks::now());
    (0..32).for_each(|_| played.complete_one());
    let interrupts = played.vector.count();
    assert!((1..16).contains(&interrupts), "{interrupts} for 32 completions");
}

#[test]
fn a_host_that_has_not_looked_yet_is_interrupted_again_where_interrupts_do_not_adapt() {
    let mut played = Played::new(Coalescing::default());
    played.bench.session.interrupt_at_once();
    played.send(32);
    played.bench.graph.begin_turn(Ticks::now());
    (0..32).for_each(|_| played.complete_one());
    assert_eq!(played.vector.count(), 32);
}

#[test]
fn what_a_host_did_not_see_in_its_last_look_interrupts_it_after_the_doorbell() {
    let mut played = Played::new(Coalescing::default());
    played.send(2);
    played.complete_one();
    assert_eq!(played.vector.count(), 1);
    // The host looks, finds one, and no more; then comes another; then the host stores the doorbell.
    assert!(played.bench.queues[0].peek().is_some());
    played.bench.queues[0].consume();
    assert!(played.bench.queues[0].peek().is_none());
    played.complete_one();
    let head = played.bench.queues[0].head();
    played.bench.queues[0].ring_head_with(head);
    assert!(played.is_interrupted(SECOND));
}

#[test]
fn a_host_that_stores_no_doorbell_is_interrupted_all_the_same() {
    let mut played = Played::new(Coalescing::default());
    played.send(2);
    played.complete_one();
    assert_eq!(played.vector.count(), 1);
    played.complete_one();
    assert!(played.is_interrupted(SECOND));
    assert!(!played.is_interrupted(Duration::from_millis(2)), "once");
}

#[test]
fn a_core_does_not_sleep_while_an_interrupt_waits() {
    let mut played = Played::new(Coalescing::default());
    played.send(2);
    played.complete_one();
    played.complete_one();
    if played.vector.count() == 1 {
        assert_eq!(played.bench.session.arm(), Armed::Waiting);
        assert!(played.bench.session.wake_at().is_some());
    }
    assert!(played.bench.take().is_some());
    assert!(played.bench.take().is_some());
    played.bench.turn();
    assert_eq!(played.bench.session.arm(), Armed::Quiet, "the host has seen all");
}

#[test]
fn coalesced_completions_interrupt_together_or_after_the_time() {
    let time = Duration::from_millis(5);
    let mut played = Played::new(Coalescing { completions: 4, time });
    played.send(8);
    played.bench.graph.begin_turn(Ticks::now());
    (0..3).for_each(|_| played.complete_one());
    assert_eq!(played.vector.count(), 0);
    played.complete_one();
    assert_eq!(played.vector.count(), 1, "the fourth");
    while played.bench.take().is_some() {}
    let start = Ticks::now();
    played.bench.graph.begin_turn(start);
    played.bench.turn();
    played.complete_one();
    assert_eq!(played.vector.count(), 0);
    assert!(played.is_interrupted(SECOND));
    assert!(Ticks::now().since(start) >= time);
}

#[test]
fn another_interrupt_tells_of_completions_that_the_one_before_may_not_have() {
    let mut played = Played::new(Coalescing::default());
    played.send(1);
    played.complete_one();
    let other = Vector::new();
    assert!(played.bench.session.replace_interrupt(Some(other.call())).is_some());
    assert_eq!(other.count(), 1);
    assert!(played.bench.take().is_some());
    played.bench.turn();
    let last = Vector::new();
    assert!(played.bench.session.replace_interrupt(Some(last.call())).is_some());
    assert_eq!(last.count(), 0, "nothing to tell");
}

/// Shadow doorbells at FAR, and event indices in the page after them.
fn far_doorbells(bench: &Bench) -> ShadowDoorbells {
    let layout = ShadowLayout { doorbells: GuestAddress(FAR), events: GuestAddress(FAR + PAGE) };
    ShadowDoorbells::find(layout, 4096, &bench.memory.table).unwrap()
}

/// A bench whose host uses them.
fn shadowed() -> Bench {
    let mut bench = Bench::new(memory(64));
    let shadow = far_doorbells(&bench);
    assert!(bench.session.replace_doorbells(Some(shadow)).is_none());
    bench
}

/// Offsets of the doorbells of the queues with identifier 1.
fn tail_of(bench: &Bench) -> u64 {
    bench.doorbells.tail_offset(QueueId(1))
}

fn head_of(bench: &Bench) -> u64 {
    bench.doorbells.head_offset(QueueId(1))
}

fn word(bench: &Bench, at: u64) -> u32 {
    u32::from_ne_bytes(bench.memory.bytes(GuestAddress(at), 4).try_into().unwrap())
}

fn set_word(bench: &Bench, at: u64, value: u32) {
    bench.memory.write(GuestAddress(at), &value.to_ne_bytes());
}

#[test]
fn shadow_doorbells_count_instead_of_the_registers() {
    let mut bench = shadowed();
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert!(bench.queues[0].peek().is_none(), "a register is no doorbell any more");
    set_word(&bench, FAR + tail_of(&bench), 1);
    bench.turns();
    assert!(bench.queues[0].peek().is_some());
    bench.queues[0].consume();
    for round in 1..500_u32 {
        bench.queues[0].push(read(0, 1, DATA));
        set_word(&bench, FAR + tail_of(&bench), bench.queues[0].tail());
        bench.turns();
        assert!(bench.queues[0].peek().is_some(), "round {round}");
        bench.queues[0].consume();
        set_word(&bench, FAR + head_of(&bench), bench.queues[0].head());
    }
}

#[test]
fn shadow_doorbells_begin_with_the_values_of_the_registers_and_give_them_back() {
    let mut bench = Bench::new(memory(64));
    for _ in 0..5 {
        bench.queues[0].push(read(0, 1, DATA));
    }
    bench.queues[0].ring();
    bench.turns();
    assert!(bench.take().is_some());
    bench.turns();
    let shadow = far_doorbells(&bench);
    bench.session.replace_doorbells(Some(shadow));
    assert_eq!(word(&bench, FAR + tail_of(&bench)), 5);
    bench.turns();
    assert!(!bench.relay.take_invalid_doorbell());
    set_word(&bench, FAR + head_of(&bench), 5);
    bench.turn();
    bench.session.publish();
    assert!(bench.session.replace_doorbells(None).is_some());
    assert_eq!(bench.doorbells.load(head_of(&bench)), Some(5));
    assert_eq!(bench.doorbells.load(tail_of(&bench)), Some(5));
}

/// A driver that goes shuts the controller down, and its pages are given to others; the controller is not disabled.
#[test]
fn a_session_that_is_held_stores_no_event_index() {
    let mut bench = shadowed();
    bench.queues[0].push(read(0, 1, DATA));
    set_word(&bench, FAR + tail_of(&bench), 1);
    bench.turns();
    bench.queues[0].consume();
    set_word(&bench, FAR + head_of(&bench), 1);
    assert!(bench.session.hold());
    let events = [FAR + PAGE + tail_of(&bench), FAR + PAGE + head_of(&bench)];
    events.iter().for_each(|at| set_word(&bench, *at, 0x5a5a));
    assert_eq!(bench.session.arm(), Armed::Quiet);
    assert!(events.iter().all(|at| word(&bench, *at) == 0x5a5a));
    bench.session.resume();
    assert_eq!(bench.session.arm(), Armed::Quiet);
    assert!(events.iter().all(|at| word(&bench, *at) == 1));
}

/// Another owner of the pages may store what looks like a doorbell.
#[test]
fn a_session_that_is_held_does_not_look_for_the_doorbells_that_it_offers() {
    let mut bench = Bench::with(vec![], Setup { service: Service::Admin, ..Setup::default() });
    let shadow = far_doorbells(&bench);
    bench.session.replace_doorbells(Some(shadow));
    let tail = FAR + bench.doorbells.tail_offset(QueueId(0));
    let first = word(&bench, tail);
    assert!(bench.session.hold());
    set_word(&bench, tail, first + 1);
    bench.turns();
    set_word(&bench, tail, first);
    bench.session.resume();
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert!(bench.relay.next().is_some(), "the registers count");
}

/// The host may store a value between any two steps of the session.
#[test]
fn shadow_doorbells_that_are_found_again_keep_the_values_of_the_host() {
    let mut bench = shadowed();
    let words = [FAR + tail_of(&bench), FAR + head_of(&bench)];
    words.iter().for_each(|at| set_word(&bench, *at, 0xffff));
    let again = far_doorbells(&bench);
    assert!(bench.session.move_doorbells(again).is_some());
    assert!(words.iter().all(|at| word(&bench, *at) == 0xffff));
    bench.queues[0].push(read(0, 1, DATA));
    set_word(&bench, words[0], 1);
    set_word(&bench, words[1], 0);
    bench.turns();
    assert!(bench.queues[0].peek().is_some());
}

#[test]
fn a_register_that_was_stored_just_before_the_shadow_doorbells_counts() {
    let mut bench = Bench::new(memory(64));
    for _ in 0..3 {
        bench.queues[0].push(read(0, 1, DATA));
    }
    bench.queues[0].ring();
    let shadow = far_doorbells(&bench);
    bench.session.replace_doorbells(Some(shadow));
    bench.turns();
    assert_eq!(std::iter::from_fn(|| bench.take()).count(), 3);
}

#[test]
fn a_core_that_sleeps_asks_for_the_register_by_the_event_indices() {
    let mut bench = shadowed();
    bench.queues[0].push(read(0, 1, DATA));
    set_word(&bench, FAR + tail_of(&bench), 1);
    bench.turns();
    bench.queues[0].consume();
    set_word(&bench, FAR + head_of(&bench), 1);
    bench.turn();
    bench.session.publish();
    assert_eq!(bench.session.arm(), Armed::Quiet);
    assert_eq!(word(&bench, FAR + PAGE + tail_of(&bench)), 1, "event index of the tail");
    assert_eq!(word(&bench, FAR + PAGE + head_of(&bench)), 1, "event index of the head");
    bench.queues[0].push(read(0, 1, DATA));
    set_word(&bench, FAR + tail_of(&bench), 2);
    assert_eq!(bench.session.arm(), Armed::Waiting, "a store that comes before the event index");
}

#[test]
fn shadow_doorbells_that_are_not_there_are_none() {
    let bench = Bench::new(memory(64));
    for (doorbells, events) in [(0xdead_0000, FAR), (FAR, 0xdead_0000), (FAR + 8, FAR), (FAR, FAR + 2048)] {
        let layout = ShadowLayout { doorbells: GuestAddress(doorbells), events: GuestAddress(events) };
        let found = ShadowDoorbells::find(layout, 4096, &bench.memory.table);
        assert!(found.is_none(), "{doorbells:#x} {events:#x}");
    }
}

#[test]
fn hostile_shadow_doorbells_are_reported_and_change_nothing() {
    let mut bench = shadowed();
    set_word(&bench, FAR + tail_of(&bench), 0xffff);
    set_word(&bench, FAR + head_of(&bench), 0xffff);
    bench.turns();
    bench.session.publish();
    assert!(bench.relay.take_invalid_doorbell());
    bench.queues[0].push(read(0, 1, DATA));
    set_word(&bench, FAR + tail_of(&bench), 1);
    set_word(&bench, FAR + head_of(&bench), 0);
    bench.turns();
    assert!(bench.queues[0].peek().is_some());
}

#[test]
fn an_idle_session_asks_for_a_look_at_its_doorbells_within_a_tenth_of_a_millisecond() {
    let bench = Bench::new(memory(64));
    let now = Ticks::now();
    let wait = bench.session.wake_at().unwrap().since(now);
    assert!(wait >= Duration::from_micros(40), "{wait:?}");
    assert!(wait < Duration::from_millis(20), "{wait:?}");
}

#[test]
fn doorbells_beyond_the_last_queue_do_not_exist() {
    let bench = Bench::new(memory(64));
    assert!(bench.doorbells.store(0, 1));
    assert!(!bench.doorbells.store(bench.doorbells.bytes(), 1));
    assert!(!bench.doorbells.store(u64::MAX, 1));
    assert!(!bench.doorbells.store(2, 1), "not a whole doorbell");
    bench.doorbells.clear(QueueId(0));
    assert_eq!(bench.doorbells.load(0), Some(0));
}
