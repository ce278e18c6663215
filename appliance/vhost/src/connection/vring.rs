//! A ring of a front end: its set-up by messages, and its session while it runs.
//!
//! ```text
//!  (1) stopped --told its size, addresses, kick, and enabled; its memory is there--> (2) running
//!  (2) running --GET_VRING_BASE, disabled, or to be changed--> (3) draining
//!  (3) draining --everything taken has been answered--> (1)
//! ```
//!
//! Invariant: the session has the notifiers while the ring runs; otherwise they are here.

#![expect(unsafe_code, reason = "the memory of a running session is replaced")]

use crate::coalescing::Coalescing;
use crate::counters::QueueCounters;
use crate::device::{NewSession, QueueAccess, SessionAddress, VirtioDevice};
use crate::queue::{DeviceQueue, Notifiers, QueueError, QueueSetup};
use crate::state::{AreasState, EventfdsState, QueueState, RunningState, StateError};
use luge_block::CoreId;
use luge_core::{
    Assignment, Call, Descriptors, Kick, Locality, NotifyError, Promise, ServingCore, Session, Tenant,
    TooFewDescriptors,
};
use luge_memory::{AddressError, DriverAddress, GuestMemory};
use luge_spec::virtio::Features;
use luge_virtqueue::{InflightRegion, QueueSize, RingError, RingLayout};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use thiserror::Error;

/// File descriptors of a queue: its kick, and an eventfd and an io_uring each for its call and its error.
const DESCRIPTORS: u64 = 5;

/// Reason why a ring does not start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// An address is not in the guest's memory.
    #[error("a ring cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The queue cannot be made.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The device has no core.
    #[error("a ring cannot run: no core serves its device")]
    NoCore,
    /// The core cannot watch the kick.
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

/// Reason why a ring is not resumed.
#[derive(Debug, Error)]
pub(crate) enum ResumeError {
    /// The state is not complete.
    #[error(transparent)]
    State(#[from] StateError),
    /// An eventfd is none.
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// The ring is not possible.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// Areas of a ring, in the front end's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Areas {
    pub(crate) descriptors: DriverAddress,
    pub(crate) available: DriverAddress,
    pub(crate) used: DriverAddress,
}

/// Properties that all rings of a front end share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) device: Arc<dyn VirtioDevice>,
    pub(crate) features: Features,
    pub(crate) memory: Arc<GuestMemory>,
    /// Coalescing of interrupts.
    pub(crate) coalescing: Coalescing,
    /// Owner of the rings that start.
    pub(crate) tenant: Tenant,
}

impl Common {
    /// NUMA nodes to choose a core by.
    fn locality(&self) -> Locality {
        Locality { devices: self.device.nodes(), memory: self.memory.nodes() }
    }
}

/// A ring that has just started.
pub(crate) struct Started {
    pub(crate) core: CoreId,
    pub(crate) counters: Arc<QueueCounters>,
}

struct Running {
    at: SessionAddress,
    /// Counts the ring on its core.
    _assignment: Assignment,
    access: QueueAccess,
}

/// A ring of a front end.
pub(crate) struct Vring {
    /// Number of its queue.
    index: u16,
    pub(crate) size: Option<QueueSize>,
    pub(crate) areas: Option<Areas>,
    pub(crate) base: u16,
    /// Whether the front end has set a kick, or that there is none, since the ring was last stopped.
    pub(crate) started: bool,
    pub(crate) enabled: bool,
    notifiers: Notifiers,
    /// File descriptors of the notifiers, from the first one on.
    descriptors: Option<Promise>,
    device: Arc<dyn VirtioDevice>,
    running: Option<Running>,
    /// State of a ring that another process has served, until it starts here.
    resumed: Option<RunningState>,
}

impl Vring {
    /// A ring without set-up.
    pub(crate) fn new(device: &Arc<dyn VirtioDevice>, index: u16) -> Self {
        Self {
            index,
            size: None,
            areas: None,
            base: 0,
            started: false,
            enabled: false,
            notifiers: Notifiers::default(),
            descriptors: None,
            device: device.clone(),
            running: None,
            resumed: None,
        }
    }

    /// (1) to (2): starts the ring on one of the cores, if its set-up is complete. Requests in flight are noted in
    /// `inflight`.
    ///
    /// # Errors
    /// [`StartError`]; the ring stays stopped.
    pub(crate) fn start(
        &mut self,
        common: &Common,
        cores: &[ServingCore],
        inflight: Option<InflightRegion>,
    ) -> Result<Option<Started>, StartError> {
        let Some((size, areas)) = self.ready(common) else { return Ok(None) };
        let counters = Arc::new(QueueCounters::default());
        let setup = QueueSetup {
            layout: layout(size, &areas, &common.memory)?,
            base: self.base,
            resumed: self.resumed.take(),
            features: common.features,
            memory: common.memory.clone(),
            inflight,
            counters: counters.clone(),
        };
        let assignment = Assignment::choose(cores, || common.locality()).ok_or(StartError::NoCore)?;
        let core = assignment.core().id();
        let new = self.device.session(self.index, core, setup)?;
        self.run(new, assignment, common)?;
        Ok(Some(Started { core, counters }))
    }

    /// Size and addresses of a ring that is to run and does not run yet.
    fn ready(&self, common: &Common) -> Option<(QueueSize, Areas)> {
        let enabled = self.enabled || !common.features.contains(Features::VHOST_PROTOCOL_FEATURES);
        let starts = self.started && enabled && self.running.is_none() && !common.memory.is_empty();
        self.size.zip(self.areas).filter(|_| starts)
    }

    fn run(&mut self, new: NewSession, assignment: Assignment, common: &Common) -> Result<(), StartError> {
        let NewSession { mut session, access } = new;
        let core = assignment.core().clone();
        let notifiers = std::mem::take(&mut self.notifiers);
        if let Some(queue) = access.of(&mut *session) {
            queue.coalesce(common.coalescing.clone());
            queue.connect(notifiers);
        }
        match core.add_session(session, &common.tenant) {
            Ok(session) => {
                let at = SessionAddress { core, session };
                self.device.started(self.index, at.clone());
                self.running = Some(Running { at, _assignment: assignment, access });
                Ok(())
            }
            Err((error, mut session)) => {
                if let Some(queue) = access.of(&mut *session) {
                    self.reclaim(queue);
                }
                Err(error.into())
            }
        }
    }

    /// (2) to (3) to (1): waits until everything that was taken has been answered.
    pub(crate) fn stop(&mut self) {
        let _ = self.drain();
    }

    /// As [`Self::stop`]; returns the state of a ring that ran.
    fn drain(&mut self) -> Option<RunningState> {
        let Running { at, access, .. } = self.running.take()?;
        self.device.stopped(self.index);
        let mut session: Box<dyn Session> = at.core.remove_session(at.session);
        let state = access.of(&mut *session).and_then(|queue| {
            self.reclaim(queue);
            queue.state()
        });
        drop(session);
        self.device.left(self.index);
        state
    }

    /// Stops the ring, and returns its state; adds its eventfds to `files`. The ring is as without set-up
    /// then.
    ///
    /// # Errors
    /// [`StateError::Unsettled`]: the session has left its core and kept a chain.
    pub(crate) fn export(&mut self, files: &mut Vec<OwnedFd>) -> Result<QueueState, StateError> {
        let ran = self.running.is_some();
        let ring = self.drain();
        if ran && ring.is_none() {
            return Err(StateError::Unsettled(self.index));
        }
        let Notifiers { kick, call, error } = std::mem::take(&mut self.notifiers);
        let eventfds = EventfdsState { kick: kick.is_some(), call: call.is_some(), error: error.is_some() };
        files.extend(kick.map(OwnedFd::from));
        files.extend([call, error].into_iter().flatten().map(OwnedFd::from));
        let areas = self.areas.take().map(|Areas { descriptors, available, used }| AreasState {
            descriptors: descriptors.0,
            available: available.0,
            used: used.0,
        });
        Ok(QueueState {
            size: self.size.take().map(QueueSize::get),
            areas,
            base: self.base,
            is_started: std::mem::take(&mut self.started),
            is_enabled: std::mem::take(&mut self.enabled),
            eventfds,
            ring,
        })
    }

    /// Sets the ring up as its state says, with its eventfds from `files`; returns whether it is to start.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub(crate) fn restore(
        &mut self,
        state: &QueueState,
        files: &mut dyn Iterator<Item = OwnedFd>,
    ) -> Result<bool, ResumeError> {
        let EventfdsState { kick, call, error } = state.eventfds;
        let mut file = |is_there: bool| {
            let file = is_there.then(|| files.next().ok_or(StateError::Files));
            file.transpose()
        };
        self.notifiers = Notifiers {
            kick: file(kick)?.map(Kick::new).transpose()?,
            call: file(call)?.map(Call::new).transpose()?,
            error: file(error)?.map(Call::new).transpose()?,
        };
        self.size = state.size.map(|size| QueueSize::new(size.into())).transpose()?;
        self.areas = state.areas.map(|AreasState { descriptors, available, used }| Areas {
            descriptors: DriverAddress(descriptors),
            available: DriverAddress(available),
            used: DriverAddress(used),
        });
        self.base = state.base;
        (self.started, self.enabled) = (state.is_started, state.is_enabled);
        self.resumed = state.ring;
        Ok(self.resumed.is_some())
    }

    /// Reclaims notifiers and base from the queue of a session that has left its core.
    fn reclaim(&mut self, queue: &mut DeviceQueue) {
        self.base = queue.base();
        self.notifiers = queue.connect(Notifiers::default());
    }

    /// Reserves the file descriptors of all its notifiers, unless that has been done.
    ///
    /// # Errors
    /// [`TooFewDescriptors`].
    pub(crate) fn reserve(&mut self, descriptors: &Arc<Descriptors>) -> Result<(), TooFewDescriptors> {
        if self.descriptors.is_none() {
            self.descriptors = Some(descriptors.promise(DESCRIPTORS)?);
        }
        Ok(())
    }

    /// Sets the kick. Only while the ring is stopped.
    pub(crate) fn set_kick(&mut self, kick: Option<Kick>) {
        self.notifiers.kick = kick;
        self.started = true;
    }

    /// Sets the error eventfd. Only while the ring is stopped.
    pub(crate) fn set_error(&mut self, error: Option<Call>) {
        self.notifiers.error = error;
    }

    /// Sets the call, also while the ring runs: front ends change it to mask interrupts.
    pub(crate) fn set_call(&mut self, call: Option<Call>) {
        match &self.running {
            None => self.notifiers.call = call,
            // The previous one comes back, so that it is closed here and not by the core.
            Some(running) => drop(running.with_queue(call, DeviceQueue::replace_call)),
        }
    }

    /// Gives a running session a table of guest memory with more regions.
    ///
    /// # Safety
    /// `memory` has all regions of the table it had before.
    pub(crate) unsafe fn replace_memory(&self, memory: &Arc<GuestMemory>) {
        let Some(running) = &self.running else { return };
        // SAFETY: the caller's promise.
        drop(running.with_queue(memory.clone(), |queue, memory| unsafe { queue.replace_memory(memory) }));
    }

    /// Stops the ring until the front end sets a kick again.
    pub(crate) fn halt(&mut self) {
        self.stop();
        self.started = false;
        self.notifiers.kick = None;
    }
}

impl Running {
    /// Replaces a part of the session's queue, between two turns of its core; returns the previous one.
    fn with_queue<T: Send + 'static>(
        &self,
        new: T,
        replace: impl FnOnce(&mut DeviceQueue, T) -> T + Send + 'static,
    ) -> T {
        let (session, access) = (self.at.session, self.access);
        self.at.core.call(move |core| match core.session(session).and_then(|session| access.of(session)) {
            Some(queue) => replace(queue, new),
            None => new,
        })
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
