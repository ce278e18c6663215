//! A volume whose requests take longer, or as long as a test says.

use super::pass::Pass;
use crate::{Composite, Node, Parts, Ticks, Volume, VolumeId};
use luge_block::{Completion, Completions, CoreId, Geometry, Refusal, Request};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Time by which completions come late, zero at first, or a hold on all of them. Clones are the same delay.
#[derive(Clone, Debug, Default)]
pub struct Delay(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Nanoseconds; [`HELD`] for a hold.
    time: AtomicU64,
    /// Completions that pass although there is a hold.
    passes: AtomicUsize,
}

const HELD: u64 = u64::MAX;

impl Delay {
    /// A delay of `time`.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        let delay = Self::default();
        delay.set(time);
        delay
    }

    /// Delays completions by `time`, also those that are late or held already. Where a core sleeps until the
    /// time before, it notices a shorter one only then.
    pub fn set(&self, time: Duration) {
        self.0.time.store(u64::try_from(time.as_nanos()).unwrap_or(HELD), Ordering::Relaxed);
    }

    /// Holds all completions until there is another time.
    pub fn hold(&self) {
        self.0.passes.store(0, Ordering::Relaxed);
        self.0.time.store(HELD, Ordering::Relaxed);
    }

    /// Ends a hold or a delay: what is held comes in the next turn.
    pub fn release(&self) {
        self.set(Duration::ZERO);
    }

    /// Lets `count` of the completions pass that are held or will be.
    pub fn let_pass(&self, count: usize) {
        self.0.passes.fetch_add(count, Ordering::Relaxed);
    }

    /// Time; none for a hold.
    fn time(&self) -> Option<Duration> {
        let time = self.0.time.load(Ordering::Relaxed);
        (time != HELD).then(|| Duration::from_nanos(time))
    }

    /// Whether a completion passes, of a request that took effect at `ended`.
    fn is_over(&self, ended: Ticks, now: Ticks) -> bool {
        match self.time() {
            Some(time) => ended + time <= now,
            None => {
                let less = |left: usize| left.checked_sub(1);
                self.0.passes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
            }
        }
    }
}

/// A volume on top of another one whose completions come late, in their order.
pub struct Delaying {
    parts: [Arc<Volume>; 1],
    delay: Delay,
}

impl Delaying {
    /// `volume`, delayed.
    #[must_use]
    pub fn new(volume: Arc<Volume>, delay: Delay) -> Self {
        Self { parts: [volume], delay }
    }
}

impl Composite for Delaying {
    fn geometry(&self) -> Geometry {
        self.parts[0].geometry().without_limits()
    }

    fn parts(&self) -> &[Arc<Volume>] {
        &self.parts
    }

    fn open(&self, _core: CoreId, parts: &[VolumeId]) -> Box<dyn Node> {
        Box::new(DelayingNode {
            pass: Pass::new(parts[0]),
            delay: self.delay.clone(),
            held: VecDeque::new(),
            taken: 0,
        })
    }
}

struct DelayingNode {
    pass: Pass,
    delay: Delay,
    /// Completions of the part, each with the time when it came.
    held: VecDeque<(Ticks, Completion)>,
    /// Requests taken and not handed out, those held included.
    taken: usize,
}

impl Node for DelayingNode {
    fn room(&self, parts: &mut dyn Parts) -> usize {
        self.pass.room(parts)
    }

    fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal> {
        self.pass.submit(request, parts)?;
        self.taken += 1;
        Ok(())
    }

    fn turn(&mut self, ended: &[Completion], parts: &mut dyn Parts, done: &mut Completions) {
        for &end in ended {
            self.held.push_back((parts.now(), end));
        }
        while let Some(&(came, end)) = self.held.front()
            && done.room() > 0
            && self.delay.is_over(came, parts.now())
        {
            self.held.pop_front();
            let end = self.pass.ended(end);
            // There is room.
            let _ = done.push(end.tag(), end.status());
            self.taken -= 1;
        }
    }

    fn in_flight(&self) -> usize {
        self.taken
    }

    /// Time when the first completion is due. During a hold, the next turn: nothing tells when a hold ends.
    fn wake_at(&self) -> Option<Ticks> {
        let &(came, _) = self.held.front()?;
        Some(self.delay.time().map_or(Ticks::PAST, |time| came + time))
    }
}
