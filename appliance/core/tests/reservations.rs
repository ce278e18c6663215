//! Changes of reservations while two cores serve the volume.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{
    Blocks, Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Operation,
    OperationLimits, Refusal, Request, Status, Tag,
};
use luge_core::{
    Armed, Attachment, CoreHandle, Fence, Kick, Published, Session, SessionId, Tenant, Took, Work,
};
use luge_reservations::{
    Action, Change, Claim, Identity, Key, Listener, Nexus, NexusConfig, Notice, Port, Preempt,
    ReservationType,
};
use luge_volume::doubles::{Delay, Delaying};
use luge_volume::{Graph, Volume, VolumeId};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Blocks of each writer: its number is the first block by so many.
const AREA: u64 = 128;

/// A device whose writes take effect late: when it is polled for the so-many-th time after.
#[derive(Default)]
struct Late {
    polls: AtomicUsize,
    /// Areas whose requests are stuck.
    held: [AtomicBool; 4],
    /// Writes that have taken effect, for each area.
    effects: [AtomicU64; 4],
}

struct LateDevice(Arc<Late>);

struct LateChannel {
    late: Arc<Late>,
    taken: VecDeque<(Tag, Lba, usize)>,
    polls: usize,
}

impl Device for LateDevice {
    fn geometry(&self) -> Geometry {
        Geometry {
            block_bytes: 512,
            blocks: Blocks(4 * AREA),
            transfer_blocks_max: 8,
            turn_blocks_max: u32::MAX,
            spans_max: 8,
            atomic_blocks: 1,
            discard_blocks_max: 0,
            // Longer ones are cut, and their parts go on in later turns.
            write_zeroes_blocks_max: 8,
            optimal_blocks: 1,
            operations: OperationLimits::NONE,
            volatile_cache: false,
            read_only: false,
        }
    }

    fn open(&self, _core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let taken = VecDeque::with_capacity(LateChannel::DEPTH);
        Ok(Box::new(LateChannel { late: self.0.clone(), taken, polls: 0 }))
    }
}

impl LateChannel {
    /// More than all writers ever have in flight, so that what is stuck leaves room for others.
    const DEPTH: usize = 1024;
}

impl Channel for LateChannel {
    fn room(&self) -> usize {
        Self::DEPTH - self.taken.len()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        self.taken.push_back((request.tag, request.lba, self.polls));
        Ok(())
    }

    fn commit(&mut self) {}

    fn poll(&mut self, done: &mut Completions) {
        self.polls += 1;
        let Self { late, taken, polls } = self;
        let wait = late.polls.load(SeqCst);
        taken.retain(|&(tag, lba, since)| {
            let area = usize::try_from(lba.0 / AREA).unwrap();
            let stays = done.room() == 0 || late.held[area].load(SeqCst) || since + wait > *polls;
            if !stays {
                late.effects[area].fetch_add(1, SeqCst);
                done.push(tag, Status::Success).unwrap();
            }
            stays
        });
    }

    fn in_flight(&self) -> usize {
        self.taken.len()
    }
}

/// Counts of the sessions of one writer.
#[derive(Default)]
struct Seen {
    succeeded: AtomicU64,
    conflicts: AtomicU64,
    stopped: AtomicBool,
}

/// A session that writes all the time, short requests and long ones.
struct Writer {
    id: SessionId,
    volume: VolumeId,
    area: u64,
    seen: Arc<Seen>,
    /// Slots whose request is in flight, a bit for each.
    busy: u16,
    count: u32,
}

impl Writer {
    /// The first slot that is free.
    fn free(&self) -> Option<u16> {
        let slot = self.busy.trailing_ones();
        (slot < u16::BITS).then_some(u16::try_from(slot).unwrap())
    }

    fn submit(&mut self, graph: &mut Graph, slot: u16) -> Result<(), Refusal> {
        let blocks = if self.count.is_multiple_of(3) { 100 } else { 4 };
        let tag = Tag::new(self.id.0, slot);
        let (operation, lba) = (Operation::WriteZeroes, Lba(self.area * AREA));
        let mut volume = graph.volume(self.volume).unwrap();
        if volume.room() == 0 {
            return Err(Refusal::Full);
        }
        volume.submit(&Request { tag, operation, lba, blocks, data: &[] })
    }
}

impl Session for Writer {
    fn adopt(&mut self, id: SessionId) {
        self.id = id;
    }

    fn take(&mut self, graph: &mut Graph, _allowance: Work) -> Took {
        let mut taken = 0;
        while let Some(slot) = self.free().filter(|_| !self.seen.stopped.load(SeqCst)) {
            match self.submit(graph, slot) {
                Ok(()) => self.busy |= 1 << slot,
                Err(Refusal::Full) => break,
                Err(Refusal::Failed(status)) => {
                    assert_eq!(status, Status::ReservationConflict);
                    self.seen.conflicts.fetch_add(1, SeqCst);
                    self.count = self.count.wrapping_add(1);
                    break;
                }
            }
            self.count = self.count.wrapping_add(1);
            taken += 1;
        }
        if taken > 0 { Took::Work(Work::REQUEST.times(taken)) } else { Took::NoRoom }
    }

    fn finish(&mut self, done: &[Completion]) {
        assert!(done.iter().all(|end| end.succeeded()), "a request that was taken ends as it would");
        done.iter().for_each(|end| self.busy &= !(1 << end.tag().slot()));
        self.seen.succeeded.fetch_add(u64::try_from(done.len()).unwrap(), SeqCst);
    }

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        Armed::Waiting
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        None
    }

    fn needs_polling(&self) -> bool {
        true
    }

    fn in_flight(&self) -> usize {
        self.busy.count_ones() as usize
    }

    fn quiesce(&mut self) {
        self.seen.stopped.store(true, SeqCst);
    }
}

/// Notices to a nexus.
#[derive(Default)]
struct Heard(Mutex<Vec<Notice>>);

impl Listener for Heard {
    fn notify(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

/// An endpoint with one writer on each of its cores.
struct Endpoint {
    nexus: Nexus,
    heard: Arc<Heard>,
    attachments: Vec<Attachment>,
    sessions: Vec<(CoreHandle, SessionId)>,
    seen: Arc<Seen>,
    key: Key,
}

impl Endpoint {
    fn new(cores: &[CoreHandle], volume: &Arc<Volume>, number: u16) -> Self {
        let heard = Arc::new(Heard::default());
        let config = NexusConfig {
            identity: Some(Identity::nvme(number.into())),
            port: Port { target: 0, number },
            listener: heard.clone(),
        };
        let nexus = Nexus::new(volume.reservations(), config);
        let attachments: Vec<_> = cores.iter().map(|core| core.attach_as(volume, &nexus).unwrap()).collect();
        let seen = Arc::new(Seen::default());
        let sessions = attachments.iter().map(|attachment| {
            let (volume, seen) = (attachment.volume(), seen.clone());
            let writer = Writer { id: SessionId(0), volume, area: number.into(), seen, busy: 0, count: 0 };
            let tenant = Tenant::Owner(number.to_string().into());
            let id = attachment.core().add_session(Box::new(writer), &tenant).ok().unwrap();
            (attachment.core().clone(), id)
        });
        let sessions = sessions.collect();
        Self { nexus, heard, attachments, sessions, seen, key: Key(0xa0 + u64::from(number)) }
    }

    fn register(&self) {
        let register = Action::Register { claim: Claim::UnregisteredOrNew, key: Some(self.key) };
        self.nexus.act(register).unwrap();
    }

    fn acquire(&self, kind: ReservationType) {
        self.nexus.act(Action::Acquire { key: self.key, kind }).unwrap();
    }

    fn order(&self, victims: Key) -> Preempt {
        Preempt { key: self.key, victims, kind: KIND }
    }

    fn begin(&self, action: Action) -> Change {
        self.nexus.begin(action, Arc::new(|| {})).unwrap()
    }

    fn succeeded(&self) -> u64 {
        self.seen.succeeded.load(SeqCst)
    }

    fn conflicts(&self) -> u64 {
        self.seen.conflicts.load(SeqCst)
    }

    /// Ends the sessions; the slowest request decides when.
    fn stop_sessions(&mut self) {
        self.seen.stopped.store(true, SeqCst);
        self.sessions.drain(..).for_each(|(core, id)| drop(core.remove_session(id)));
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop_sessions();
        self.attachments.clear();
    }
}

const KIND: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// Two endpoints of one volume, whose completions come late and whose writes take effect late.
struct House {
    endpoints: Vec<Endpoint>,
    volume: Arc<Volume>,
    cores: Vec<CoreHandle>,
    late: Arc<Late>,
    delay: Delay,
}

impl House {
    fn new() -> Self {
        let cores: Vec<_> = [0, 1].map(|cpu| CoreHandle::spawn(CoreId(cpu)).unwrap()).into();
        let (late, delay) = (Arc::new(Late::default()), Delay::default());
        late.polls.store(3, SeqCst);
        let disk = Arc::new(Volume::whole(Arc::new(LateDevice(late.clone()))));
        let volume = Arc::new(Volume::of_composite(Arc::new(Delaying::new(disk, delay.clone()))));
        let endpoints = [1, 2].map(|number| Endpoint::new(&cores, &volume, number)).into();
        Self { endpoints, volume, cores, late, delay }
    }

    /// Holds the victim's requests in the device, or lets them go.
    fn hold(&self, held: bool) {
        self.late.held[1].store(held, SeqCst);
    }

    fn effects(&self, area: usize) -> u64 {
        self.late.effects[area].load(SeqCst)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.hold(false);
        self.delay.release();
        self.endpoints.clear();
        self.cores.iter().for_each(CoreHandle::stop);
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn after_a_preemption_that_aborts_no_write_of_the_victim_takes_effect() {
    let house = House::new();
    let [victim, other] = &house.endpoints[..] else { panic!() };
    victim.register();
    other.register();
    other.acquire(KIND);
    house.delay.set(Duration::from_micros(200));
    for round in 0..10 {
        let before = victim.succeeded();
        until("writes of the victim", || victim.succeeded() > before + 50);
        other.nexus.act(Action::PreemptAndAbort(other.order(victim.key))).unwrap();
        let (effects, progress, conflicts) = (house.effects(1), other.succeeded(), victim.conflicts());
        until("writes of the other", || other.succeeded() > progress + 100);
        until("conflicts of the victim", || victim.conflicts() > conflicts + 10);
        assert_eq!(house.effects(1), effects, "round {round}");
        victim.register();
    }
    assert_eq!(victim.heard.0.lock().unwrap().len(), 10);
    assert_eq!(other.heard.0.lock().unwrap().len(), 0);
    assert_eq!(other.conflicts(), 0);
}

#[test]
fn a_change_is_obeyed_by_every_core_when_it_is_over() {
    let house = House::new();
    let [victim, other] = &house.endpoints[..] else { panic!() };
    other.register();
    for _ in 0..20 {
        other.acquire(KIND);
        // What was taken before may still take effect.
        drop(Fence::raise(&victim.attachments, Lba(0)..Lba(0)).unwrap());
        let effects = house.effects(1);
        let progress = other.succeeded();
        until("writes of the other", || other.succeeded() > progress + 20);
        assert_eq!(house.effects(1), effects);
        other.nexus.act(Action::Release { key: other.key, kind: KIND }).unwrap();
        let before = victim.succeeded();
        until("writes of the victim", || victim.succeeded() > before);
    }
}

#[test]
fn a_change_is_over_only_when_each_core_has_begun_another_turn() {
    let house = House::new();
    let other = &house.endpoints[1];
    other.register();
    for core in &house.cores {
        let (gate, opened) = channel::<()>();
        let (reached, arrived) = channel();
        let core = core.clone();
        let held = std::thread::spawn(move || {
            let _back = core.call(move |_| {
                reached.send(()).unwrap();
                // The core is within a turn, as far as others can see.
                (opened.recv(), opened, reached)
            });
        });
        arrived.recv().unwrap();
        let change = other.begin(Action::Acquire { key: other.key, kind: KIND });
        let progress = other.succeeded();
        until("a turn of the other core", || other.succeeded() > progress + 100);
        assert!(!change.is_over(), "one core has not been asked yet");
        gate.send(()).unwrap();
        held.join().unwrap();
        until("the end of the change", || change.is_over());
    }
}

#[test]
fn only_a_preemption_that_aborts_waits_for_a_stuck_device() {
    let house = House::new();
    let [victim, other] = &house.endpoints[..] else { panic!() };
    victim.register();
    other.register();
    other.acquire(KIND);
    until("writes of the victim", || victim.succeeded() > 10);
    house.hold(true);
    let change = other.begin(Action::PreemptAndAbort(other.order(victim.key)));
    other.acquire(KIND);
    victim.register();
    assert!(!change.is_over(), "the victim's writes are in flight");
    other.nexus.act(Action::Preempt(other.order(victim.key))).unwrap();
    assert!(!change.is_over(), "the victim's writes are in flight");
    house.hold(false);
    until("the end of the first preemption", || change.is_over());
    until("conflicts of the victim", || victim.conflicts() > 10);
}

#[test]
fn others_go_on_while_a_victim_drains() {
    let mut house = House::new();
    let third = Endpoint::new(&house.cores, &house.volume, 3);
    house.endpoints.push(third);
    let [victim, other, third] = &house.endpoints[..] else { panic!() };
    [victim, other, third].into_iter().for_each(Endpoint::register);
    other.acquire(KIND);
    until("writes of the victim", || victim.succeeded() > 10);
    house.hold(true);
    let change = other.begin(Action::PreemptAndAbort(other.order(victim.key)));
    let (before, before_third) = (other.succeeded(), third.succeeded());
    until("writes of others", || other.succeeded() > before + 50 && third.succeeded() > before_third + 50);
    assert!(!change.is_over());
    house.hold(false);
    until("the end of the preemption", || change.is_over());
}

#[test]
fn a_victim_that_leaves_ends_the_wait_for_it_and_stays_preempted() {
    let mut house = House::new();
    let [victim, other] = &house.endpoints[..] else { panic!() };
    victim.register();
    other.register();
    other.acquire(KIND);
    until("writes of the victim", || victim.succeeded() > 10);
    house.hold(true);
    let changes: Vec<Change> = (0..10)
        .map(|_| {
            let change = other.begin(Action::PreemptAndAbort(other.order(victim.key)));
            victim.register();
            change
        })
        .collect();
    house.hold(false);
    drop(house.endpoints.remove(0));
    // Takes the numbers that the victim's volumes had.
    let again = Endpoint::new(&house.cores, &house.volume, 1);
    until("the end of all preemptions", || changes.iter().all(Change::is_over));
    until("writes of the one that came back", || again.succeeded() > 10);
    let other = &house.endpoints[0];
    other.nexus.act(Action::PreemptAndAbort(other.order(again.key))).unwrap();
    until("conflicts", || again.conflicts() > 10);
    house.endpoints.push(again);
}

#[test]
fn a_registration_outlives_its_nexus_and_is_found_again() {
    let mut house = House::new();
    let [first, other] = &house.endpoints[..] else { panic!() };
    first.register();
    first.acquire(ReservationType::WriteExclusive);
    until("conflicts", || other.conflicts() > 0);
    drop(house.endpoints.remove(0));
    let report = house.volume.reservations().report();
    assert_eq!(report.registrants[0].ports, []);
    assert!(report.registrants[0].holds);
    let again = Endpoint::new(&house.cores, &house.volume, 1);
    until("writes of the holder", || again.succeeded() > 10);
    assert_eq!(again.conflicts(), 0);
    assert_eq!(house.volume.reservations().report().registrants[0].ports.len(), 1);
    house.endpoints.push(again);
}
