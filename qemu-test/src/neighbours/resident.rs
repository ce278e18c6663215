//! A neighbour that acts on a thread of its own.

use super::target::{Activity, Neighbour, Target};
use crate::error::{Doing, TestError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause before a neighbour that was refused or cut off settles again.
const RETURN_PAUSE: Duration = Duration::from_millis(1);

/// State that the thread and its owner share.
#[derive(Default)]
struct Shared {
    leave: AtomicBool,
    acts: AtomicU64,
    refusals: AtomicU64,
}

/// A neighbour at work. Dropping it lets it leave, and waits for that.
pub struct Resident {
    shared: Arc<Shared>,
    refusal: Option<TestError>,
    thread: Option<JoinHandle<()>>,
}

impl Resident {
    /// Starts the thread of `neighbour`, and waits until it has settled or was refused.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(neighbour: &'static dyn Neighbour, target: Target) -> Result<Self, TestError> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        let (sender, settled) = channel();
        let work = move || {
            let first = neighbour.settle(&target);
            let (activity, refusal) = match first {
                Ok(activity) => (Some(activity), None),
                Err(refusal) => (None, Some(refusal)),
            };
            // Nobody receives only where the owner has gone.
            let _ = sender.send(refusal);
            ours.stay(neighbour, &target, activity);
        };
        let thread = std::thread::Builder::new().name("neighbour".to_owned()).spawn(work);
        let thread = Some(thread.doing(|| "starting a thread".to_owned())?);
        let refusal = settled.recv().ok().flatten();
        Ok(Self { shared, refusal, thread })
    }

    /// Reason for which it was refused when it came first.
    #[must_use]
    pub fn refusal(&self) -> Option<&TestError> {
        self.refusal.as_ref()
    }

    /// Number of times that it acted or was kept from it: cut off, or refused.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.shared.acts.load(Ordering::Relaxed) + self.shared.refusals.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Acts until the owner leaves, and settles again when it is cut off.
    fn stay(&self, neighbour: &dyn Neighbour, target: &Target, first: Option<Box<dyn Activity>>) {
        let mut activity = first;
        while !self.leave.load(Ordering::Relaxed) {
            if activity.as_mut().is_some_and(|activity| activity.act().is_ok()) {
                self.acts.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.refusals.fetch_add(1, Ordering::Relaxed);
            // The connection of the one before is closed first: a disk serves one front end.
            drop(activity.take());
            std::thread::sleep(RETURN_PAUSE);
            activity = neighbour.settle(target).ok();
        }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.shared.leave.store(true, Ordering::Relaxed);
        // A thread that has panicked has said why.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
