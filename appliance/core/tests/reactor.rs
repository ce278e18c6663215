//! The reactor with a session and a device made for the purpose.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{
    Blocks, Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Operation,
    OperationLimits, Refusal, Request, Status, Tag,
};
use luge_core::{Armed, CoreHandle, Kick, Published, Session, SessionId, Tenant, Took, Work};
use luge_volume::{Graph, Volume, VolumeId};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DEPTH: usize = 32;

/// A device that completes requests while `open` is set, and counts its channels.
#[derive(Default)]
struct Gate {
    shut: Arc<AtomicBool>,
    channels: Arc<AtomicUsize>,
}

struct GateChannel {
    shut: Arc<AtomicBool>,
    channels: Arc<AtomicUsize>,
    taken: VecDeque<Tag>,
}

impl Device for Gate {
    fn geometry(&self) -> Geometry {
        Geometry {
            block_bytes: 512,
            blocks: Blocks(1024),
            transfer_blocks_max: 8,
            turn_blocks_max: u32::MAX,
            spans_max: 8,
            atomic_blocks: 1,
            discard_blocks_max: 0,
            write_zeroes_blocks_max: 0,
            optimal_blocks: 1,
            operations: OperationLimits::NONE,
            volatile_cache: false,
            read_only: false,
        }
    }

    fn open(&self, _core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        self.channels.fetch_add(1, SeqCst);
        Ok(Box::new(GateChannel {
            shut: self.shut.clone(),
            channels: self.channels.clone(),
            taken: VecDeque::with_capacity(DEPTH),
        }))
    }
}

impl Channel for GateChannel {
    fn room(&self) -> usize {
        DEPTH - self.taken.len()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        self.taken.push_back(request.tag);
        Ok(())
    }

    fn commit(&mut self) {}

    fn poll(&mut self, done: &mut Completions) {
        while !self.shut.load(SeqCst) && done.room() > 0 {
            let Some(tag) = self.taken.pop_front() else { return };
            done.push(tag, Status::Success).unwrap();
        }
    }

    fn in_flight(&self) -> usize {
        self.taken.len()
    }
}

impl Drop for GateChannel {
    fn drop(&mut self) {
        self.channels.fetch_sub(1, SeqCst);
    }
}

/// The test's side of its session.
#[derive(Default)]
struct Ring {
    waiting: AtomicUsize,
    finished: AtomicUsize,
    published: AtomicUsize,
    armed: AtomicBool,
}

struct TestSession {
    ring: Arc<Ring>,
    volume: VolumeId,
    kick: Kick,
    id: SessionId,
    in_flight: usize,
    quiet: bool,
}

impl TestSession {
    fn new(volume: VolumeId) -> (Box<Self>, Arc<Ring>, OwnedFd) {
        let kick = eventfd(0, EventfdFlags::empty()).unwrap();
        let theirs = kick.try_clone().unwrap();
        let ring = Arc::new(Ring::default());
        let session = Self {
            ring: ring.clone(),
            volume,
            kick: Kick::new(kick).unwrap(),
            id: SessionId(0),
            in_flight: 0,
            quiet: false,
        };
        (Box::new(session), ring, theirs)
    }
}

impl Session for TestSession {
    fn adopt(&mut self, id: SessionId) {
        self.id = id;
    }

    fn take(&mut self, graph: &mut Graph, _allowance: Work) -> Took {
        let mut volume = graph.volume(self.volume).unwrap();
        let waiting = self.ring.waiting.load(SeqCst);
        let room = volume.room().min(waiting).min(4);
        let take = if self.quiet { 0 } else { room };
        for _ in 0..take {
            let tag = Tag::new(self.id.0, 7);
            let request = Request { tag, operation: Operation::Flush, lba: Lba(0), blocks: 0, data: &[] };
            volume.submit(&request).unwrap();
            self.ring.waiting.fetch_sub(1, SeqCst);
            self.in_flight += 1;
        }
        match (waiting, take) {
            (0, _) => Took::Nothing,
            (_, 0) => Took::NoRoom,
            _ => Took::Work(Work::REQUEST.times(take)),
        }
    }

    fn finish(&mut self, done: &[Completion]) {
        assert!(done.iter().all(|c| c.tag().session() == self.id.0 && c.tag().slot() == 7));
        self.in_flight -= done.len();
        self.ring.finished.fetch_add(done.len(), SeqCst);
    }

    fn publish(&mut self) -> Published {
        self.ring.published.store(self.ring.finished.load(SeqCst), SeqCst);
        Published::All
    }

    fn arm(&mut self) -> Armed {
        self.ring.armed.store(true, SeqCst);
        if self.ring.waiting.load(SeqCst) == 0 { Armed::Quiet } else { Armed::Waiting }
    }

    fn disarm(&mut self) {
        self.ring.armed.store(false, SeqCst);
    }

    fn kick(&self) -> Option<&Kick> {
        Some(&self.kick)
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn quiesce(&mut self) {
        self.quiet = true;
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn tenant() -> Tenant {
    Tenant::Owner("test".into())
}

fn core() -> CoreHandle {
    CoreHandle::spawn(CoreId(0)).unwrap()
}

#[test]
fn every_request_comes_back_to_the_session_that_made_it() {
    let core = core();
    let volume = Arc::new(Volume::whole(Arc::new(Gate::default())));
    let attachment = core.attach(&volume).unwrap();
    let rings: Vec<_> = (0..3)
        .map(|i| {
            let (session, ring, kick) = TestSession::new(attachment.volume());
            ring.waiting.store(1000 * (i + 1), SeqCst);
            (core.add_session(session, &tenant()).unwrap_or_else(|_| unreachable!()), ring, kick)
        })
        .collect();
    for (i, (id, ring, _kick)) in rings.iter().enumerate() {
        wait_until("all published", || ring.published.load(SeqCst) == 1000 * (i + 1));
        core.remove_session(*id);
    }
    assert_eq!(volume.counters().flushes, 6000);
    drop(attachment);
    core.stop();
}

#[test]
fn a_session_leaves_its_core_only_when_nothing_of_it_is_in_flight() {
    let core = core();
    let gate = Gate::default();
    let shut = gate.shut.clone();
    shut.store(true, SeqCst);
    let volume = Arc::new(Volume::whole(Arc::new(gate)));
    let attachment = core.attach(&volume).unwrap();
    let (session, ring, _kick) = TestSession::new(attachment.volume());
    ring.waiting.store(3, SeqCst);
    let id = core.add_session(session, &tenant()).unwrap_or_else(|_| unreachable!());
    wait_until("taken", || ring.waiting.load(SeqCst) == 0);
    let remover = {
        let core = core.clone();
        std::thread::spawn(move || core.remove_session(id).in_flight())
    };
    // The core answers while the remover waits: it does not wait itself.
    (0..100).for_each(|_| core.call(|_| ()));
    assert!(!remover.is_finished());
    shut.store(false, SeqCst);
    assert_eq!(remover.join().unwrap(), 0);
    assert_eq!(ring.finished.load(SeqCst), 3);
    drop(attachment);
    core.stop();
}

#[test]
fn a_sleeping_core_wakes_for_a_kick_and_for_a_task() {
    let core = core();
    let volume = Arc::new(Volume::whole(Arc::new(Gate::default())));
    let attachment = core.attach(&volume).unwrap();
    let (session, ring, kick) = TestSession::new(attachment.volume());
    let id = core.add_session(session, &tenant()).unwrap_or_else(|_| unreachable!());
    for round in 1..=50 {
        let slept = core.stats().sleeps();
        wait_until("asleep", || ring.armed.load(SeqCst) && core.stats().asleep());
        assert!(core.stats().poll_window_us() > 0);
        ring.waiting.fetch_add(1, SeqCst);
        rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
        wait_until("served", || ring.published.load(SeqCst) == round);
        wait_until("asleep again", || ring.armed.load(SeqCst));
        core.call(|_| ());
        wait_until("it slept", || core.stats().sleeps() > slept);
    }
    core.remove_session(id);
    drop(attachment);
    core.stop();
}

#[test]
fn volumes_of_one_device_share_its_channel_until_the_last_has_gone() {
    let core = core();
    let gate = Gate::default();
    let channels = gate.channels.clone();
    let whole = Arc::new(Volume::whole(Arc::new(gate)));
    let part = Arc::new(whole.part(Lba(8), Blocks(8)).unwrap());
    let (first, second) = (core.attach(&whole).unwrap(), core.attach(&part).unwrap());
    assert_eq!(channels.load(SeqCst), 1);
    drop(first);
    assert_eq!(channels.load(SeqCst), 1);
    drop(second);
    assert_eq!(channels.load(SeqCst), 0);
    core.stop();
}

/// A device that opens no channel before it is told to, and then refuses the first `refusals`.
struct Slow {
    gate: Gate,
    told: Mutex<Receiver<()>>,
    opening: AtomicUsize,
    refusals: AtomicUsize,
}

impl Slow {
    fn new(refusals: usize) -> (Arc<Self>, Sender<()>) {
        let (tell, told) = channel();
        let (gate, told) = (Gate::default(), Mutex::new(told));
        let (opening, refusals) = (AtomicUsize::new(0), AtomicUsize::new(refusals));
        (Arc::new(Self { gate, told, opening, refusals }), tell)
    }
}

impl Device for Slow {
    fn geometry(&self) -> Geometry {
        self.gate.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        self.opening.fetch_add(1, SeqCst);
        self.told.lock().unwrap().recv().unwrap();
        if self.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(OpenError::NoQueue { device: "slow".into(), core: 0, queues: 0, users: vec![] });
        }
        self.gate.open(core)
    }
}

#[test]
fn a_device_that_is_slow_to_open_holds_up_only_those_that_want_it() {
    let core = core();
    let (slow, tell) = Slow::new(0);
    let (wanted, channels) = (Arc::new(Volume::whole(slow.clone())), slow.gate.channels.clone());
    let attachments: Vec<_> = std::thread::scope(|scope| {
        let wanting: Vec<_> = (0..3).map(|_| scope.spawn(|| core.attach(&wanted).unwrap())).collect();
        wait_until("opening", || slow.opening.load(SeqCst) == 1);
        for _ in 0..3 {
            drop(core.attach(&Arc::new(Volume::whole(Arc::new(Gate::default())))).unwrap());
        }
        assert_eq!(channels.load(SeqCst), 0, "nobody has it yet");
        tell.send(()).unwrap();
        wanting.into_iter().map(|attached| attached.join().unwrap()).collect()
    });
    assert_eq!(slow.opening.load(SeqCst), 1, "they share what the first has opened");
    drop(attachments);
    assert_eq!(channels.load(SeqCst), 0);
    core.stop();
}

#[test]
fn who_waits_for_a_device_that_refuses_the_first_tries_it_too() {
    let core = core();
    let (slow, tell) = Slow::new(1);
    let wanted = Arc::new(Volume::whole(slow.clone()));
    let attached: Vec<_> = std::thread::scope(|scope| {
        let wanting: Vec<_> = (0..2).map(|_| scope.spawn(|| core.attach(&wanted))).collect();
        wait_until("opening", || slow.opening.load(SeqCst) == 1);
        (0..2).for_each(|_| tell.send(()).unwrap());
        wanting.into_iter().map(|attached| attached.join().unwrap()).collect()
    });
    assert_eq!(attached.iter().filter(|attached| attached.is_ok()).count(), 1);
    drop(attached);
    core.stop();
}

#[test]
fn sessions_share_a_device_that_has_room_for_one_batch_only() {
    let core = core();
    let gate = Gate::default();
    let (shut, whole) = (gate.shut.clone(), Arc::new(Volume::whole(Arc::new(gate))));
    let attachment = core.attach(&whole).unwrap();
    shut.store(true, SeqCst);
    // As many sessions as it takes to use up the device's room in every turn, each with work for ever.
    let sessions: Vec<_> = (0..2 * DEPTH / 4)
        .map(|_| {
            let (session, ring, kick) = TestSession::new(attachment.volume());
            ring.waiting.store(usize::MAX / 2, SeqCst);
            (core.add_session(session, &tenant()).unwrap_or_else(|_| unreachable!()), ring, kick)
        })
        .collect();
    shut.store(false, SeqCst);
    for (_, ring, _) in &sessions {
        wait_until("each is served", || ring.published.load(SeqCst) > 100);
    }
    sessions.iter().for_each(|(_, ring, _)| ring.waiting.store(0, SeqCst));
    sessions.iter().for_each(|(id, ..)| drop(core.remove_session(*id)));
    drop(attachment);
    core.stop();
}

#[test]
fn a_cpu_that_is_not_there_is_an_error_that_names_it() {
    let error = CoreHandle::spawn(CoreId(1023)).err().unwrap().to_string();
    assert!(error.contains("CPU 1023") && error.contains("-m"), "{error}");
}
