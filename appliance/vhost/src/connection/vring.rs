//! A ring of a front end: what was said of it, and the session while it runs.
//!
//! ```text
//!  (1) stopped --told its size, addresses, kick, and enabled; its memory is there--> (2) running
//!  (2) running --GET_VRING_BASE, disabled, or to be changed--> (3) draining
//!  (3) draining --everything taken has been answered--> (1)
//! ```
//!
//! Invariant: while it runs the wires are the session's; otherwise they are here.

#![expect(unsafe_code, reason = "the memory of a running session is replaced")]

use crate::blk::{BlkDisk, BlkSession, Ring, Wires};
use crate::counters::QueueCounters;
use luge_core::{Attachment, Call, CoreHandle, Kick, NotifyError, SessionId};
use luge_memory::{AddressError, DriverAddress, GuestMemory};
use luge_spec::virtio::Features;
use luge_virtqueue::{InflightError, InflightRegion, QueueSize, RingError, RingLayout};
use std::any::Any;
use std::sync::Arc;
use thiserror::Error;

/// Why a ring does not run that was told to.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// An address is not in the guest's memory.
    #[error("a ring cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The ring cannot be where it is.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// What an earlier process had in flight cannot be taken up.
    #[error(transparent)]
    Inflight(#[from] InflightError),
    /// The core cannot watch the kick.
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

/// Where a ring is, in the front end's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Areas {
    pub(crate) descriptors: DriverAddress,
    pub(crate) available: DriverAddress,
    pub(crate) used: DriverAddress,
}

/// What all rings of a front end have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) disk: BlkDisk,
    pub(crate) features: Features,
    pub(crate) memory: Arc<GuestMemory>,
}

struct Running {
    core: CoreHandle,
    session: SessionId,
}

/// A ring of a front end.
#[derive(Default)]
pub(crate) struct Vring {
    pub(crate) size: Option<QueueSize>,
    pub(crate) areas: Option<Areas>,
    pub(crate) base: u16,
    /// It was told its kick, or that there is none, since it was last stopped.
    pub(crate) started: bool,
    pub(crate) enabled: bool,
    wires: Wires,
    running: Option<Running>,
}

impl Vring {
    /// (1) to (2), if all is there that it needs. What is in flight is tracked in `region`. Returns the counters of a new session.
    ///
    /// # Errors
    /// [`StartError`]; it stays stopped.
    pub(crate) fn start(
        &mut self,
        common: &Common,
        place: &Attachment,
        region: Option<InflightRegion>,
    ) -> Result<Option<Arc<QueueCounters>>, StartError> {
        let enabled = self.enabled || !common.features.contains(Features::VHOST_PROTOCOL_FEATURES);
        if !self.started || !enabled || self.running.is_some() || common.memory.is_empty() {
            return Ok(None);
        }
        let (Some(size), Some(areas)) = (self.size, self.areas) else { return Ok(None) };
        let layout = layout(size, &areas, &common.memory)?;
        let ring = Ring { layout, base: self.base, features: common.features };
        let counters = Arc::new(QueueCounters::default());
        let disk = (common.disk, place.volume());
        let (memory, stats) = (common.memory.clone(), place.stats().clone());
        let mut session = BlkSession::new(disk, &ring, memory, counters.clone(), stats)?;
        region.map_or(Ok(()), |region| session.track(region))?;
        session.connect(std::mem::take(&mut self.wires));
        match place.core().add_session(Box::new(session)) {
            Ok(session) => {
                self.running = Some(Running { core: place.core().clone(), session });
                Ok(Some(counters))
            }
            Err((error, session)) => {
                self.take_back(session);
                Err(error.into())
            }
        }
    }

    /// (2) to (3) to (1): waits until everything that was taken has been answered.
    pub(crate) fn stop(&mut self) {
        if let Some(Running { core, session }) = self.running.take() {
            self.take_back(core.remove_session(session));
        }
    }

    fn take_back(&mut self, session: Box<dyn Any>) {
        if let Ok(mut session) = session.downcast::<BlkSession>() {
            self.base = session.base();
            self.wires = session.connect(Wires::default());
        }
    }

    /// The kick from now on. Only while it is stopped.
    pub(crate) fn set_kick(&mut self, kick: Option<Kick>) {
        self.wires.kick = kick;
        self.started = true;
    }

    /// The error eventfd from now on. Only while it is stopped.
    pub(crate) fn set_error(&mut self, error: Option<Call>) {
        self.wires.error = error;
    }

    /// The call from now on, also while it runs: front ends change it to mask interrupts.
    pub(crate) fn set_call(&mut self, call: Option<Call>) {
        match &self.running {
            None => self.wires.call = call,
            Some(Running { core, session }) => {
                let session = *session;
                // What was replaced comes back, so that it is closed here and not by the core.
                drop(core.call(move |core| match core.session::<BlkSession>(session) {
                    Some(session) => session.replace_call(call),
                    None => call,
                }));
            }
        }
    }

    /// Shows a running session more memory.
    ///
    /// # Safety
    /// `memory` has all regions of the table it had before.
    pub(crate) unsafe fn replace_memory(&self, memory: &Arc<GuestMemory>) {
        let Some(Running { core, session }) = &self.running else { return };
        let (session, memory) = (*session, memory.clone());
        drop(core.call(move |core| match core.session::<BlkSession>(session) {
            // SAFETY: the caller's promise.
            Some(session) => unsafe { session.replace_memory(memory) },
            None => memory,
        }));
    }

    /// Stopped by the front end: it will say anew when it is to start.
    pub(crate) fn halt(&mut self) {
        self.stop();
        self.started = false;
        self.wires.kick = None;
    }
}

fn layout(size: QueueSize, areas: &Areas, memory: &GuestMemory) -> Result<RingLayout, AddressError> {
    Ok(RingLayout {
        size,
        descriptors: memory.guest_address(areas.descriptors)?,
        available: memory.guest_address(areas.available)?,
        used: memory.guest_address(areas.used)?,
    })
}
