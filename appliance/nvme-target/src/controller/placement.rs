//! Cores of a controller's queues. `leaving` has the states.

use luge_core::{Attachment, BackgroundCore, BackgroundError, ServingCore};
use luge_volume::Volume;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Cores of a controller's queues.
#[derive(Default)]
pub(super) enum Placement {
    /// (1) Cores of the subsystem.
    #[default]
    OnCores,
    /// (2) Cores that its sessions leave, held.
    Leaving(Arc<Opening<Opened>>),
    /// (3) A core without a CPU.
    Background(ServingCore),
    /// (4) None.
    Failed(String),
}

impl Placement {
    /// Whether sessions serve where they are.
    pub(super) fn serves(&self) -> bool {
        matches!(self, Self::OnCores | Self::Background(_))
    }
}

/// A background core with volumes open. Stops when dropped.
pub(super) struct Opened {
    // Keeps the devices open until the controller has mounted the volumes.
    pub(super) attachments: Vec<Attachment>,
    pub(super) core: BackgroundCore,
}

impl Opened {
    /// Starts a core, and opens volumes there. Blocks while devices open queues.
    pub(super) fn open(volumes: &[Arc<Volume>]) -> Result<Self, BackgroundError> {
        let core = BackgroundCore::start()?;
        let attachments = volumes.iter().map(|volume| core.handle().attach(volume));
        let attachments = attachments.collect::<Result<_, _>>()?;
        Ok(Self { attachments, core })
    }
}

/// Opening of volumes on a background core, on a thread of its own, and its outcome.
pub(super) struct Opening<T> {
    outcome: Mutex<Option<Result<T, String>>>,
    /// Eventfd that wakes the controller's thread.
    bell: Arc<OwnedFd>,
}

impl<T: Send + 'static> Opening<T> {
    /// Opens on a thread.
    pub(super) fn start<E: Display>(
        open: impl FnOnce() -> Result<T, E> + Send + 'static,
        bell: Arc<OwnedFd>,
    ) -> Arc<Self> {
        let opening = Arc::new(Self { outcome: Mutex::default(), bell });
        let theirs = opening.clone();
        let open = move || theirs.end(open().map_err(|error| error.to_string()));
        if let Err(error) = thread::Builder::new().name("open-volumes".into()).spawn(open) {
            opening.end(Err(format!("cannot start a thread: {error}")));
        }
        opening
    }

    fn end(&self, outcome: Result<T, String>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        // It fails only if the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Takes the outcome, if there is one that is wanted.
    pub(super) fn take_if(
        &self,
        is_wanted: impl FnOnce(&Result<T, String>) -> bool,
    ) -> Option<Result<T, String>> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.take_if(|outcome| is_wanted(outcome))
    }
}
