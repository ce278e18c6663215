//! Sessions that are called at times, and sessions that make requests.

use luge_block::{Completion, Lba, Operation, Request, Tag};
use luge_core::{Armed, Kick, Published, Session, SessionId, Tenant, Ticks, Took, Work};
use luge_volume::{Graph, VolumeId};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A call that a session asked for.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub due: Ticks,
    pub made: Ticks,
}

/// The calls of a session so far.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn all(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
}

/// Next call that a session asks for when it has been called.
enum Next {
    Nothing,
    Time(Ticks),
    After(Duration),
}

/// A session without a ring that asks to be called.
pub struct Timed {
    wake_at: Option<Ticks>,
    next: Next,
    calls: Calls,
}

impl Timed {
    /// Is called once.
    pub fn at(time: Ticks) -> (Self, Calls) {
        let calls = Calls::default();
        (Self { wake_at: Some(time), next: Next::Nothing, calls: calls.clone() }, calls)
    }

    /// Is called again and again, with a pause in between.
    pub fn every(pause: Duration) -> (Self, Calls) {
        let (session, calls) = Self::at(Ticks::PAST);
        (Self { next: Next::After(pause), ..session }, calls)
    }

    /// Asks for this time, and for no other.
    pub fn ask_at(&mut self, time: Option<Ticks>) {
        self.wake_at = time;
    }

    /// Asks for this time instead; returns the number of calls before.
    pub fn ask_instead(&mut self, time: Option<Ticks>) -> usize {
        self.ask_at(time);
        self.calls.count()
    }

    /// Asks for the same time again and again.
    pub fn repeat(&mut self, time: Ticks) {
        (self.wake_at, self.next) = (Some(time), Next::Time(time));
    }
}

impl Session for Timed {
    fn adopt(&mut self, _id: SessionId) {}

    fn take(&mut self, graph: &mut Graph, _allowance: Work) -> Took {
        let Some(due) = self.wake_at.filter(|&due| due <= graph.now()) else {
            return Took::Nothing;
        };
        self.calls.0.lock().unwrap().push(Call { due, made: Ticks::now() });
        self.wake_at = match self.next {
            Next::Nothing => None,
            Next::Time(time) => Some(time),
            Next::After(pause) => Some(graph.now() + pause),
        };
        Took::Nothing
    }

    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        Armed::Quiet
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        None
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn wake_at(&self) -> Option<Ticks> {
        self.wake_at
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn quiesce(&mut self) {}
}

/// The requests of a session: flushes.
#[derive(Clone, Default)]
pub struct Requests(Arc<[AtomicUsize; 2]>);

impl Requests {
    /// A session that makes requests of a volume when it is asked to.
    pub fn on(volume: VolumeId) -> (Box<dyn Session>, Self) {
        let requests = Self::default();
        (
            Box::new(Requesting { requests: requests.clone(), volume, id: SessionId(0), in_flight: 0 }),
            requests,
        )
    }

    /// Asks for `count` requests more; the core has to be awake, or to be woken.
    pub fn ask(&self, count: usize) {
        self.0[0].store(count, SeqCst);
    }

    pub fn waiting(&self) -> usize {
        self.0[0].load(SeqCst)
    }

    pub fn ended(&self) -> usize {
        self.0[1].load(SeqCst)
    }
}

struct Requesting {
    requests: Requests,
    volume: VolumeId,
    id: SessionId,
    in_flight: usize,
}

impl Session for Requesting {
    fn adopt(&mut self, id: SessionId) {
        self.id = id;
    }

    fn take(&mut self, graph: &mut Graph, _allowance: Work) -> Took {
        let mut volume = graph.volume(self.volume).unwrap();
        let count = volume.room().min(self.requests.waiting()).min(4);
        for _ in 0..count {
            let tag = Tag::new(self.id.0, 0);
            volume
                .submit(&Request { tag, operation: Operation::Flush, lba: Lba(0), blocks: 0, data: &[] })
                .unwrap();
        }
        let left = |waiting: usize| Some(waiting.saturating_sub(count));
        self.requests.0[0].fetch_update(SeqCst, SeqCst, left).unwrap();
        self.in_flight += count;
        if count == 0 { Took::Nothing } else { Took::Work(Work::REQUEST.times(count)) }
    }

    fn finish(&mut self, done: &[Completion]) {
        self.in_flight -= done.len();
        self.requests.0[1].fetch_add(done.len(), SeqCst);
    }

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        if self.requests.waiting() == 0 { Armed::Quiet } else { Armed::Waiting }
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        None
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn quiesce(&mut self) {}
}

/// The tenant of all sessions.
pub fn tenant() -> Tenant {
    Tenant::Owner("test".into())
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}
