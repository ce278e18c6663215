//! A ring that changes its queue under load, by way of plain data and over another mapping, as between two
//! processes.

#![expect(unsafe_code, reason = "a queue is dropped before its memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::{DmaSpace, GuestAddress, GuestMemory, GuestRegion, PeerMemory};
use luge_seeded::{Random, fuzz};
use luge_spec::vhost_user::inflight_bytes;
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory, inflight_file};
use luge_virtqueue::{
    Batch, Head, InflightRegion, Notifications, ResponseLast, RingError, RingLayout, RingState, SplitQueue,
};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const DATA: u64 = RigMemory::DATA.0;

/// Part of the data region for a chain, by its head.
const CHAIN_BYTES: u64 = 32;

/// A guest's driver, and the queue of the process that serves it now.
struct Scene {
    memory: RigMemory,
    driver: Driver,
    queue: SplitQueue,
    batch: Batch<ResponseLast<16, 1>>,
    /// File of the in-flight region, if the queue is tracked.
    inflight: Option<OwnedFd>,
    /// Chains that the driver waits for, and the number that each asks to be copied.
    asked: HashMap<Head, u64>,
    /// Chains that the queue has taken and not given back.
    held: Vec<Head>,
    requests: u64,
}

impl Scene {
    fn new(layout: RingLayout, notifications: Notifications, base: u16, inflight: Option<OwnedFd>) -> Self {
        let memory = RigMemory::standard();
        let driver = Driver::new(layout, notifications, base, &memory.table);
        // SAFETY: the queue lives as long as the batch.
        let mut queue =
            unsafe { SplitQueue::new(&layout, notifications, base, memory.table.clone()) }.unwrap();
        if let Some(file) = &inflight {
            queue.track(region(file, layout.size.get())).unwrap();
        }
        let (asked, held) = (HashMap::new(), Vec::new());
        Self { memory, driver, queue, batch: Batch::new(&layout), inflight, asked, held, requests: 0 }
    }

    /// Adds a chain that asks for a copy of a new number; nothing if the ring is full.
    fn ask(&mut self) {
        let at = DATA + CHAIN_BYTES * (self.requests % 1024);
        let pieces = [Piece::readable(at, 8), Piece::writable(at + 8, 8)];
        let Some(head) = self.driver.add(&pieces, Form::Direct) else { return };
        self.memory.write(GuestAddress(at), &self.requests.to_le_bytes());
        self.memory.write(GuestAddress(at + 8), &[0xff; 8]);
        assert_eq!(self.asked.insert(head, self.requests), None);
        self.requests += 1;
    }

    /// Takes some chains, and copies their numbers.
    fn take(&mut self, most: usize) {
        self.queue.take(&mut self.batch, most).unwrap();
        for at in 0..self.batch.len() {
            let chain = self.batch.chain(at).unwrap();
            let number: [u8; 8] = chain.readable[0].first().unwrap();
            chain.writable[0].write(&number);
            self.held.push(chain.head);
        }
    }

    /// Gives back `count` of the chains that are held, in any order.
    fn give_back(&mut self, count: usize, random: &mut Random) {
        for _ in 0..count {
            let head = self.held.swap_remove(random.below(self.held.len()));
            self.queue.complete(head, 8);
        }
        let _ = self.queue.publish();
    }

    /// Checks the answers that have come, each to a request that waits for it.
    fn check_answers(&mut self) {
        while let Some((head, _)) = self.driver.take_used() {
            let number = self.asked.remove(&head).expect("a chain that the driver waits for");
            let at = GuestAddress(DATA + CHAIN_BYTES * (number % 1024) + 8);
            assert_eq!(self.memory.bytes(at, 8), number.to_le_bytes());
        }
    }

    /// Some time of load.
    fn run(&mut self, random: &mut Random) {
        for _ in 0..random.below(50_u32) {
            (0..random.below(6_u32)).for_each(|_| self.ask());
            self.take(random.below(10));
            self.give_back(random.below(self.held.len() + 1), random);
            self.check_answers();
        }
    }

    /// Ends what was taken, and leaves the rest of the ring as it is; returns the state as text.
    fn stop(&mut self, random: &mut Random) -> String {
        self.give_back(self.held.len(), random);
        serde_json::to_string(&self.queue.state().unwrap()).unwrap()
    }

    /// Replaces the queue by one from a state, over mappings of its own.
    fn resume(&mut self, state: &str) {
        let state: RingState = serde_json::from_str(state).unwrap();
        // SAFETY: as in `new`.
        self.queue = unsafe { SplitQueue::resume(&state, mapped_again(&self.memory)) }.unwrap();
        self.batch = Batch::new(&state.layout().unwrap());
        assert_eq!(state.is_tracked, self.inflight.is_some());
        if let Some(file) = &self.inflight {
            self.queue.track(region(file, state.size)).unwrap();
        }
    }
}

fn region(file: &OwnedFd, size: u16) -> InflightRegion {
    let memory = PeerMemory::map(file, 0, inflight_bytes(size)).unwrap();
    InflightRegion::new(&Arc::new(memory), 0, size).unwrap()
}

fn mapped_again(memory: &RigMemory) -> Arc<GuestMemory> {
    let space = DmaSpace::new();
    let regions = memory.files.iter().map(|(layout, file)| GuestRegion::map(&space, *layout, file).unwrap());
    Arc::new(GuestMemory::new(regions).unwrap())
}

#[test]
fn a_ring_that_changes_its_queue_under_load_loses_no_request_and_answers_none_twice() {
    fuzz(|random| {
        let layout = RigMemory::ring(RigMemory::RINGS.0, 1 << random.between(1_u32, 7));
        let notifications = random.pick(&[Notifications::Flags, Notifications::EventIndex]);
        let inflight = random.once_in(2).then(|| inflight_file(1, layout.size.get()));
        // A ring that is tracked has both of its indices in memory.
        let base = if inflight.is_some() { 0 } else { random.between(0, u16::MAX) };
        let mut scene = Scene::new(layout, notifications, base, inflight);
        for _ in 0..8 {
            scene.run(random);
            let state = scene.stop(random);
            (0..random.below(6_u32)).for_each(|_| scene.ask());
            scene.resume(&state);
        }
        while !scene.asked.is_empty() {
            scene.take(64);
            scene.give_back(scene.held.len(), random);
            scene.check_answers();
        }
    });
}

fn small(notifications: Notifications) -> Scene {
    Scene::new(RigMemory::ring(RigMemory::RINGS.0, 8), notifications, 0, None)
}

#[test]
fn a_ring_has_no_state_while_a_chain_is_held_or_unpublished() {
    let mut scene = small(Notifications::Flags);
    scene.ask();
    assert!(scene.queue.state().is_some(), "a chain that waits is in the ring");
    scene.take(1);
    assert_eq!(scene.queue.state(), None, "held");
    scene.queue.complete(scene.held[0], 8);
    assert_eq!(scene.queue.state(), None, "not published");
    let _ = scene.queue.publish();
    let state = scene.queue.state().unwrap();
    assert_eq!(state.next_available, 1);
    assert_eq!(state.used_index, 1);
}

#[test]
fn the_next_queue_goes_by_the_state_and_not_by_a_used_index_that_the_guest_has_overwritten() {
    let mut scene = small(Notifications::Flags);
    scene.ask();
    scene.take(1);
    let state = scene.stop(&mut Random::new(1));
    scene.check_answers();
    let layout = RigMemory::ring(RigMemory::RINGS.0, 8);
    scene.memory.write(GuestAddress(layout.used.0 + 2), &7_u16.to_le_bytes());
    scene.resume(&state);
    scene.ask();
    scene.take(1);
    scene.give_back(1, &mut Random::new(1));
    scene.check_answers();
    assert!(scene.asked.is_empty(), "the answer is not where the driver looks");
}

#[test]
fn the_next_queue_interrupts_a_driver_that_may_wait_for_an_interrupt_of_the_one_before() {
    let mut scene = small(Notifications::EventIndex);
    // The interrupt for the first element was due, and maybe never sent; none is due for the second.
    scene.driver.want_interrupt_after(0);
    (0..2).for_each(|_| scene.ask());
    scene.take(1);
    let state = scene.stop(&mut Random::new(1));
    scene.resume(&state);
    scene.take(1);
    scene.queue.complete(scene.held.remove(0), 8);
    assert!(scene.queue.publish());
}

#[test]
fn a_state_that_cannot_be_is_refused() {
    let scene = small(Notifications::Flags);
    let state = scene.queue.state().unwrap();
    // SAFETY: the queue is dropped at once.
    let resume = |state: &RingState| unsafe { SplitQueue::resume(state, scene.memory.table.clone()) }.err();
    for size in [0, 3, 32_769] {
        assert_eq!(resume(&RingState { size, ..state }), Some(RingError::Size(size.into())));
    }
    assert!(matches!(resume(&RingState { used: 1 << 45, ..state }), Some(RingError::Memory { .. })));
    assert!(matches!(
        resume(&RingState { used: state.used + 1, ..state }),
        Some(RingError::Alignment { .. })
    ));
    assert_eq!(resume(&state), None);
}
