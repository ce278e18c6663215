//! Guest memory is there for as long as a request uses it, also if the session goes first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, MemoryDevice, Shape};
use luge_core::{Session, Took, Work};
use luge_memory::{DmaSpace, GuestMemory, PageSize};
use rig::{Ask, Bench};
use std::sync::{Arc, Weak};

fn bench() -> Bench {
    let shape = Shape::new(512, Blocks(64)).unwrap();
    Bench::new(Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap()))
}

fn memory(bench: &Bench) -> Weak<GuestMemory> {
    Arc::downgrade(&bench.queue.memory.table)
}

#[test]
fn a_session_that_is_dropped_with_requests_in_flight_leaves_their_memory() {
    let mut bench = bench();
    let memory = memory(&bench);
    (0..3).for_each(|sector| _ = bench.send(&Ask::read(sector, 512)));
    assert!(matches!(bench.session.take(&mut bench.graph, Work::QUANTUM), Took::Work(_)));
    assert_eq!(bench.session.in_flight(), 3);
    let Bench { queue, session, mut graph, .. } = bench;
    drop((queue, session));
    assert!(memory.upgrade().is_some());
    // The device copies to the guest only now.
    graph.commit();
    let mut ended = 0;
    graph.poll(|run| ended += run.len());
    assert_eq!(ended, 3);
}

#[test]
fn a_session_without_requests_in_flight_leaves_nothing() {
    let mut bench = bench();
    let memory = memory(&bench);
    (0..3).for_each(|sector| _ = bench.ask(&Ask::read(sector, 512)));
    drop(bench);
    assert!(memory.upgrade().is_none());
}

#[test]
fn a_guest_that_breaks_its_ring_keeps_no_memory_mapped() {
    let mut bench = bench();
    let memory = memory(&bench);
    let sent = bench.send(&Ask::read(0, 512));
    bench.queue.driver.push_head(sent.head.0);
    bench.send(&Ask::read(1, 512));
    (0..10).for_each(|_| _ = bench.turn());
    assert!(bench.counters.broken());
    assert_eq!(bench.session.in_flight(), 0);
    drop(bench);
    assert!(memory.upgrade().is_none());
}
