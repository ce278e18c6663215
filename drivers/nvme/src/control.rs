//! State of a controller that its owner, its supervisor and the control plane of its channels share.
//!
//! Path: none.
//!
//! Invariants
//! - One lock orders all that is said to the controller: admin commands, queues coming and
//!   going, resets. No core ever takes it.
//! - A queue identifier is handed out again only after the controller has given the queue up.
//!
//! Not here: bring-up (`controller`), the ladder of resets (`recovery`).

use crate::admin::Admin;
use crate::exclusion::Exclusion;
use crate::health::{ControllerState, Health};
use crate::identity::Discovery;
use crate::link::{Link, QueueId, Stage};
use crate::namespaces::Namespaces;
use crate::parts::Parts;
use crate::queue_memory::QueueMemory;
use crate::registers::Registers;
use crate::{Fault, Options, ErrorKind};
use luge_block::CoreId;
use luge_memory::{DmaSpace, MemoryAccess, NumaNode};
use luge_spec::nvme::{AdminOpcode, AsyncEvent};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Events that are kept.
const EVENTS_KEPT: usize = 64;

/// State that controller and supervisor share.
pub(crate) struct Inner {
    pub registers: Arc<Registers>,
    pub health: Arc<Health>,
    pub options: Options,
    pub discovery: Discovery,
    pub namespaces: Namespaces,
    pub parts: Arc<Parts>,
    pub exclusion: Exclusion,
    pub space: Arc<DmaSpace>,
    pub events: Mutex<VecDeque<AsyncEvent>>,
    pub control: Mutex<Control>,
}

/// Admin queue and I/O queues, for the holder of the lock.
pub(crate) struct Control {
    pub admin: Admin,
    /// Queue pairs that have a channel.
    pub open: Vec<Arc<Link>>,
    /// Queue pairs without a channel that the controller would not give up.
    pub condemned: Vec<Arc<Link>>,
    free: Vec<QueueId>,
}

impl Inner {
    /// Waits for the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The NUMA node that it is on, where known.
    pub(crate) fn numa_node(&self) -> Option<NumaNode> {
        self.registers.function().numa_node()
    }

    /// Keeps an event, in place of the oldest where there are [`EVENTS_KEPT`].
    pub(crate) fn remember(&self, event: AsyncEvent) {
        let mut events = self.events();
        if events.len() == EVENTS_KEPT {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// Events that are kept, oldest first.
    pub(crate) fn events(&self) -> MutexGuard<'_, VecDeque<AsyncEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock, unless it is held.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Control>> {
        match self.control.try_lock() {
            Ok(control) => Some(control),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Control {
    /// Returns the control of a controller without I/O queues.
    pub(crate) fn new(admin: Admin, queue_pairs: u16) -> Self {
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
    pub(crate) fn users(&self) -> Vec<u16> {
        let cores: BTreeSet<u16> = self.open.iter().map(|link| link.core.0).collect();
        cores.into_iter().collect()
    }

    /// Frees the queue pairs that the controller would not give up: it was proven not to access memory.
    pub(crate) fn release_condemned(&mut self) {
        self.free.extend(self.condemned.drain(..).map(|link| link.id));
    }

    /// Creates a queue pair in its memory. `Err(None)` where no queue is left.
    pub(crate) fn create_queue(
        &mut self,
        core: CoreId,
        memory: Arc<QueueMemory>,
        health: &Health,
    ) -> Result<Arc<Link>, Option<ErrorKind>> {
        if health.state() != ControllerState::Live {
            return Err(Some(ErrorKind::Gone));
        }
        let id = self.free.pop().ok_or(None)?;
        let created = self.admin.create_queue_pair(id, &memory);
        let link = Arc::new(Link::new(id, core, memory));
        match created {
            Ok(()) => self.open.push(link.clone()),
            // The first of the two commands: the controller has neither.
            Err(error @ ErrorKind::Command { opcode: AdminOpcode::CREATE_COMPLETION_QUEUE, .. }) => {
                self.free.push(id);
                return Err(Some(error));
            }
            Err(error) => {
                self.condemned.push(link);
                return Err(Some(error));
            }
        }
        Ok(link)
    }

    /// Deletes a queue pair, or condemns it where the controller does not give it up.
    pub(crate) fn delete_queue(&mut self, link: &Arc<Link>, health: &Health) {
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

    /// Deletes the queues, notifies the controller, and takes its access to memory away, in this order.
    pub(crate) fn shut_down(&mut self, inner: &Inner) -> Result<(), ErrorKind> {
        if inner.health.state() == ControllerState::Gone {
            return Ok(());
        }
        for link in &self.open {
            link.halt();
            let _ = self.admin.delete_queue_pair(link.id);
        }
        self.admin.stop();
        let notified = inner.registers.shut_down(inner.discovery.shutdown_timeout);
        let stopped = inner.registers.set_bus_master(MemoryAccess::Forbidden);
        let stopped = stopped.or_else(|error| inner.registers.disable().map_err(|_| error));
        if stopped.is_ok() {
            self.let_go(&inner.health);
        }
        notified.and(stopped)
    }

    /// Ends all requests: the controller accesses no memory, and never will.
    pub(crate) fn let_go(&mut self, health: &Health) {
        self.open.iter().for_each(|link| link.give_up());
        self.release_condemned();
        health.set_state(ControllerState::Gone);
    }
}
