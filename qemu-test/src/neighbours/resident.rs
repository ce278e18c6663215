//! A neighbour that acts on a thread of its own.

use super::target::{Neighbour, Target};
use crate::error::{Doing, TestError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause before a neighbour that was cut off settles again.
const RETURN_PAUSE: Duration = Duration::from_millis(1);

/// State that the thread and its owner share.
#[derive(Default)]
struct Shared {
    leave: AtomicBool,
    acts: AtomicU64,
    returns: AtomicU64,
}

/// A neighbour at work. Dropping it lets it leave, and waits for that.
pub struct Resident {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Resident {
    /// Settles `neighbour` and starts its thread.
    ///
    /// # Errors
    /// If it cannot settle.
    pub fn start(neighbour: &'static dyn Neighbour, target: Target) -> Result<Self, TestError> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        let mut activity = neighbour.settle(&target)?;
        let work = move || {
            while !ours.leave.load(Ordering::Relaxed) {
                if activity.act().is_ok() {
                    ours.acts.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                std::thread::sleep(RETURN_PAUSE);
                if let Ok(again) = neighbour.settle(&target) {
                    ours.returns.fetch_add(1, Ordering::Relaxed);
                    activity = again;
                }
            }
        };
        let thread = std::thread::Builder::new().name("neighbour".to_owned()).spawn(work);
        Ok(Self { shared, thread: Some(thread.doing(|| "starting a thread".to_owned())?) })
    }

    /// Number of times that it acted undisturbed.
    #[must_use]
    pub fn acts(&self) -> u64 {
        self.shared.acts.load(Ordering::Relaxed)
    }

    /// Number of times that it was cut off and settled again.
    #[must_use]
    pub fn returns(&self) -> u64 {
        self.shared.returns.load(Ordering::Relaxed)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.shared.leave.store(true, Ordering::Relaxed);
        // A thread that has panicked has said why.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
