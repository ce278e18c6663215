//! A controller, as the control plane holds it.
//!
//! Path: none; it makes namespaces, and they make the channels that are on it.
//!
//! Invariants
//! - One lock orders all that is said to the controller: admin commands, queues coming and
//!   going, resets. No core ever takes it.
//! - A queue identifier is handed out again only after the controller has given the queue up.
//! - Dropping the last handle (controller, namespace or channel) shuts the controller down.
//!
//! Not here: the ladder of resets (`recovery`), requests (`channel`).

use crate::admin::{ADMIN_ENTRIES, Admin};
use crate::bring_up::{announce, introduce, stop_whatever_runs};
use crate::exclusion::Exclusion;
use crate::format::{NamespaceInfo, RefusedNamespace};
use crate::health::Health;
use crate::identity::Discovery;
use crate::link::{Link, QueueId, Stage};
use crate::namespaces::Namespaces;
use crate::parts::Parts;
use crate::queue_memory::{Layout, QueueMemory};
use crate::recovery::Supervisor;
use crate::registers::Registers;
use crate::{ControllerError, Fault, Identity, Namespace, Options, Trouble};
use luge_block::{CoreId, OpenError};
use luge_memory::{DmaSpace, MemoryAccess, NumaNode, PageSize, PciFunction};
use luge_spec::nvme::{AsyncEvent, LogPage, SmartLog};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Events kept for whoever asks.
const EVENTS_KEPT: usize = 64;

/// How a controller is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ControllerState {
    /// It serves, or is being reset.
    Live = 0,
    /// It failed, and could not yet be kept from accessing memory: requests wait.
    Stuck = 1,
    /// It was given up, or shut down: requests fail.
    Gone = 2,
}

/// A controller that runs. Shut down when the last handle to it, its namespaces or their
/// channels is dropped.
pub struct Controller {
    inner: Arc<Inner>,
    supervisor: Mutex<Option<Supervisor>>,
}

/// What controller and supervisor share.
pub(crate) struct Inner {
    pub registers: Arc<Registers>,
    pub health: Arc<Health>,
    pub options: Options,
    pub discovery: Discovery,
    pub namespaces: Namespaces,
    pub parts: Arc<Parts>,
    pub exclusion: Exclusion,
    space: Arc<DmaSpace>,
    events: Mutex<VecDeque<AsyncEvent>>,
    control: Mutex<Control>,
}

/// What only the holder of the lock touches.
pub(crate) struct Control {
    pub admin: Admin,
    /// Queue pairs that have a channel.
    pub open: Vec<Arc<Link>>,
    /// Queue pairs without a channel that the controller would not give up.
    pub condemned: Vec<Arc<Link>>,
    free: Vec<QueueId>,
}

impl Controller {
    /// Takes a function over and brings its controller up, as Base 2.0, clause 3.5.1, says.
    ///
    /// # Errors
    /// [`ControllerError`]; the function accesses no memory then, and is closed.
    pub fn start(
        function: Box<dyn PciFunction>,
        space: Arc<DmaSpace>,
        options: Options,
    ) -> Result<Arc<Self>, ControllerError> {
        let name = function.name().to_owned();
        Self::bring_up(function, space, options).map_err(|trouble| trouble.of(&name))
    }

    fn bring_up(
        function: Box<dyn PciFunction>,
        space: Arc<DmaSpace>,
        options: Options,
    ) -> Result<Arc<Self>, Trouble> {
        let registers = Arc::new(Registers::new(function)?);
        stop_whatever_runs(&registers)?;
        let health = Arc::new(Health::default());
        let node = registers.function().numa_node();
        // A few kilobytes: a hugepage would be waste.
        let layout = Layout { entries: ADMIN_ENTRIES, pages: 1, kind: PageSize::Base, node };
        let memory = QueueMemory::allocate(&space, layout)?;
        let mut admin = Admin::new(registers.clone(), health.clone(), memory, options.command_timeout);
        let (discovery, namespaces) = introduce(&mut admin, &options).inspect_err(|_| {
            let _ = registers.disable();
            let _ = registers.set_bus_master(MemoryAccess::Forbidden);
        })?;
        announce(&registers, &discovery, &namespaces);
        let parts = Arc::new(Parts::new(&namespaces.usable));
        let inner = Arc::new(Inner {
            control: Mutex::new(Control::new(admin, discovery.queue_pairs)),
            registers,
            health,
            options,
            discovery,
            namespaces,
            parts: parts.clone(),
            exclusion: Exclusion::new(parts),
            space,
            events: Mutex::default(),
        });
        let supervisor = Mutex::new(Some(Supervisor::start(inner.clone())?));
        Ok(Arc::new(Self { inner, supervisor }))
    }

    /// The PCI function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.registers.name()
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.discovery.identity
    }

    /// The namespaces that can be used, in ascending order.
    #[must_use]
    pub fn namespaces(self: &Arc<Self>) -> Vec<Arc<Namespace>> {
        let known = self.inner.namespaces.usable.iter();
        let of = |(index, info): (usize, &NamespaceInfo)| Namespace::new(self.clone(), index, info.clone());
        known.enumerate().map(of).map(Arc::new).collect()
    }

    /// The namespaces that could not be used at bring-up, and why.
    #[must_use]
    pub fn refused(&self) -> &[RefusedNamespace] {
        &self.inner.namespaces.refused
    }

    /// The namespaces that cannot be used at present, since a reset, and why.
    #[must_use]
    pub fn unusable(&self) -> Vec<RefusedNamespace> {
        self.inner.exclusion.list()
    }

    /// I/O queue pairs that it has: at most that many channels at a time, over all namespaces.
    #[must_use]
    pub fn queue_pairs(&self) -> u16 {
        self.inner.discovery.queue_pairs
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> ControllerState {
        self.inner.health.state()
    }

    /// Requests that went through bounce buffers so far.
    #[must_use]
    pub fn bounced(&self) -> u64 {
        self.inner.health.bounced()
    }

    /// Its state of health. Base 2.0, clause 5.16.1.3.
    ///
    /// # Errors
    /// [`ControllerError`] if it does not answer, or refuses.
    pub fn smart(&self) -> Result<SmartLog, ControllerError> {
        self.inner.lock().admin.log_page(LogPage::HEALTH).map_err(|trouble| trouble.of(self.name()))
    }

    /// The last asynchronous events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<AsyncEvent> {
        self.inner.events().iter().copied().collect()
    }

    /// Deletes the I/O queues, tells the controller that power may go, and takes its access to
    /// memory away. Requests in flight end with `Gone`; channels that still exist serve no more.
    ///
    /// # Errors
    /// [`ControllerError`] if it did not confirm in time; its access to memory is gone all the same.
    pub fn shutdown(&self) -> Result<(), ControllerError> {
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(supervisor);
        self.inner.lock().shut_down(&self.inner).map_err(|trouble| trouble.of(self.name()))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Creates a queue pair for a core, with `pages` pages of memory besides its rings.
    pub(crate) fn open_queue(&self, device: &str, core: CoreId, pages: u32) -> Result<Arc<Link>, OpenError> {
        let options = &self.inner.options;
        let layout = Layout {
            entries: self.inner.registers.queue_entries(options.queue_entries),
            pages,
            kind: options.pages,
            node: self.inner.numa_node(),
        };
        let memory = QueueMemory::allocate(&self.inner.space, layout)
            .map_err(|error| OpenError::Memory { device: device.to_owned(), reason: error.to_string() })?;
        let mut control = self.inner.lock();
        control.create_queue(core, Arc::new(memory), &self.inner.health).map_err(|trouble| match trouble {
            None => OpenError::NoQueue {
                device: device.to_owned(),
                core: core.0,
                queues: self.queue_pairs(),
                users: control.users(),
            },
            Some(trouble) => OpenError::Device { device: device.to_owned(), reason: trouble.to_string() },
        })
    }

    /// Deletes a queue pair whose channel is being dropped.
    pub(crate) fn close_queue(&self, link: &Arc<Link>) {
        self.inner.lock().delete_queue(link, &self.inner.health);
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::error!(%error, "the SSD did not shut down as it should");
        }
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The NUMA node that it is on, where known.
    pub(crate) fn numa_node(&self) -> Option<NumaNode> {
        self.registers.function().numa_node()
    }

    /// Keeps an event for whoever asks.
    pub(crate) fn remember(&self, event: AsyncEvent) {
        let mut events = self.events();
        if events.len() == EVENTS_KEPT {
            events.pop_front();
        }
        events.push_back(event);
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<AsyncEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, unless somebody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Control>> {
        match self.control.try_lock() {
            Ok(control) => Some(control),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Control {
    fn new(admin: Admin, queue_pairs: u16) -> Self {
        Self {
            admin,
            open: Vec::new(),
            condemned: Vec::new(),
            // Taken from the end: low identifiers first.
            free: (1..=queue_pairs).rev().map(QueueId).collect(),
        }
    }

    /// The queue pair with the highest number that a channel has.
    pub(crate) fn last_queue(&self) -> QueueId {
        self.open.iter().map(|link| link.id).max().unwrap_or(QueueId(0))
    }

    /// Cores whose channels have a queue pair, each once, in ascending order.
    fn users(&self) -> Vec<u16> {
        let cores: BTreeSet<u16> = self.open.iter().map(|link| link.core.0).collect();
        cores.into_iter().collect()
    }

    /// The controller was proven not to access memory: what it would not give up is free.
    pub(crate) fn release_condemned(&mut self) {
        self.free.extend(self.condemned.drain(..).map(|link| link.id));
    }

    /// `Err(None)` where no queue is left.
    fn create_queue(
        &mut self,
        core: CoreId,
        memory: Arc<QueueMemory>,
        health: &Health,
    ) -> Result<Arc<Link>, Option<Trouble>> {
        if health.state() != ControllerState::Live {
            return Err(Some(Trouble::Gone));
        }
        let id = self.free.pop().ok_or(None)?;
        if let Err(trouble) = self.admin.create_queue_pair(id, &memory) {
            self.condemned.push(Arc::new(Link::new(id, core, memory)));
            return Err(Some(trouble));
        }
        let link = Arc::new(Link::new(id, core, memory));
        self.open.push(link.clone());
        Ok(link)
    }

    fn delete_queue(&mut self, link: &Arc<Link>, health: &Health) {
        self.open.retain(|other| !Arc::ptr_eq(other, link));
        match link.stage() {
            // The controller does not have it.
            Stage::Quiet | Stage::Drained | Stage::Gone => self.free.push(link.id),
            Stage::Running if self.admin.delete_queue_pair(link.id).is_ok() => self.free.push(link.id),
            Stage::Running | Stage::Halted => {
                health.raise(Fault::Queue);
                self.condemned.push(link.clone());
            }
        }
    }

    /// Queues, notification, bus master: in this order. Then nothing serves any more.
    pub(crate) fn shut_down(&mut self, inner: &Inner) -> Result<(), Trouble> {
        if inner.health.state() == ControllerState::Gone {
            return Ok(());
        }
        for link in &self.open {
            link.halt();
            let _ = self.admin.delete_queue_pair(link.id);
        }
        self.admin.stop();
        let notified = inner.registers.shut_down(inner.discovery.shutdown_patience);
        let stopped = inner.registers.set_bus_master(MemoryAccess::Forbidden);
        let stopped = stopped.or_else(|trouble| inner.registers.disable().map_err(|_| trouble));
        if stopped.is_ok() {
            self.let_go(&inner.health);
        }
        notified.and(stopped)
    }

    /// The controller accesses no memory, and never will: all requests end.
    pub(crate) fn let_go(&mut self, health: &Health) {
        self.open.iter().for_each(|link| link.give_up());
        self.release_condemned();
        health.set_state(ControllerState::Gone);
    }
}
