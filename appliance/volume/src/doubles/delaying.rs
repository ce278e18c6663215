//! A volume whose requests take longer.

use super::pass::Pass;
use crate::{Composite, Node, Parts, Ticks, Volume, VolumeId};
use luge_block::{Completion, Completions, CoreId, Geometry, Refusal, Request};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time by which completions come late: none at first. Clones are the same time.
#[derive(Clone, Debug, Default)]
pub struct Delay(Arc<AtomicU64>);

impl Delay {
    /// A delay of `time`.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        let delay = Self::default();
        delay.set(time);
        delay
    }

    /// Delays completions by `time`, from the next one on.
    pub fn set(&self, time: Duration) {
        self.0.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
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
    /// Completions of the part, each with the time when it is handed out.
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
            self.held.push_back((parts.now() + self.delay.get(), end));
        }
        while let Some(&(due, end)) = self.held.front()
            && due <= parts.now()
            && done.room() > 0
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

    /// When the first of those held is due.
    fn wake_at(&self) -> Option<Ticks> {
        self.held.front().map(|&(due, _)| due)
    }
}
