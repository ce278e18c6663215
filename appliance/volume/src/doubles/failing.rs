//! A volume whose requests fail on demand.

use super::pass::Pass;
use crate::{Composite, Node, Parts, Ticks, Volume, VolumeId};
use luge_block::{Completion, Completions, CoreId, Geometry, Refusal, Request, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of requests that are still to fail. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct FailureCount(Arc<AtomicUsize>);

impl FailureCount {
    /// Lets the next `count` completions fail; `usize::MAX` is all of them from now on.
    pub fn demand(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// A volume on top of another one whose requests take effect there, and end with `status` on demand.
pub struct Failing {
    parts: [Arc<Volume>; 1],
    failures: FailureCount,
    status: Status,
}

impl Failing {
    /// `volume`, of whose requests as many fail as `failures` says.
    #[must_use]
    pub fn new(volume: Arc<Volume>, failures: FailureCount, status: Status) -> Self {
        Self { parts: [volume], failures, status }
    }
}

impl Composite for Failing {
    fn geometry(&self) -> Geometry {
        self.parts[0].geometry().without_limits()
    }

    fn parts(&self) -> &[Arc<Volume>] {
        &self.parts
    }

    fn open(&self, _core: CoreId, parts: &[VolumeId]) -> Box<dyn Node> {
        let (failures, status) = (self.failures.clone(), self.status);
        Box::new(FailingNode { pass: Pass::new(parts[0]), failures, status, in_flight: 0 })
    }
}

struct FailingNode {
    pass: Pass,
    failures: FailureCount,
    status: Status,
    in_flight: usize,
}

impl Node for FailingNode {
    fn room(&self, parts: &mut dyn Parts) -> usize {
        self.pass.room(parts)
    }

    fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal> {
        self.pass.submit(request, parts)?;
        self.in_flight += 1;
        Ok(())
    }

    fn turn(&mut self, ended: &[Completion], _parts: &mut dyn Parts, done: &mut Completions) {
        for &end in ended {
            let end = self.pass.ended(end);
            let status = if self.failures.take() { self.status } else { end.status() };
            // One for each of the part, which a turn has room for.
            let _ = done.push(end.tag(), status);
            self.in_flight -= 1;
        }
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Never: it keeps nothing back.
    fn wake_at(&self) -> Option<Ticks> {
        None
    }
}
