//! State of a controller that its handle, its supervisor and the opening and closing of channels share.
//!
//! Path: none.
//!
//! Invariants
//! - One lock orders all control of the controller: admin commands, creation and deletion of queues, resets.
//!   No core ever takes it.
//! - A queue identifier is used again only after the controller has deleted the queue, or was proven not to
//!   access memory.
//!
//! Not here: bring-up (`bring_up`), recovery from faults (`recovery`).

use crate::admin::Admin;
use crate::exclusion::Exclusion;
use crate::health::{ControllerState, Health};
use crate::identity::Discovery;
use crate::link::{Link, QueueId, Stage};
use crate::namespaces::Namespaces;
use crate::parts::Parts;
use crate::queue_memory::QueueMemory;
use crate::recoveries::Recoveries;
use crate::registers::Registers;
use crate::{ErrorKind, Fault, Options};
use luge_block::CoreId;
use luge_memory::{DmaSpace, MemoryAccess, NumaNode};
use luge_spec::nvme::{AdminOpcode, AsyncEvent};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// The most events that are kept.
const EVENTS_KEPT: usize = 64;

/// Function that is told once that an SSD is gone. Waits for nothing.
pub(crate) type WhenGone = Box<dyn FnOnce() + Send>;

/// State that controller and supervisor share.
pub(crate) struct Inner {
    pub registers: Arc<Registers>,
    pub health: Arc<Health>,
    pub recoveries: Recoveries,
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
    /// Queue pairs without a channel that the controller did not delete: it may still access their memory.
    pub undeleted: Vec<Arc<Link>>,
    free: Vec<QueueId>,
    /// Function that is told when the SSD is gone.
    when_gone: Option<WhenGone>,
}

impl Inner {
    /// Takes the lock, when it is free.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// NUMA node of the controller, if known.
    pub(crate) fn numa_node(&self) -> Option<NumaNode> {
        self.registers.function().numa_node()
    }

    /// Keeps an event, instead of the oldest if there are [`EVENTS_KEPT`].
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

    /// Takes the lock, unless another thread has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Control>> {
        match self.control.try_lock() {
            Ok(control) => Some(control),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Control {
    /// Makes the control of a controller without I/O queues.
    pub(crate) fn new(admin: Admin, queue_pairs: u16) -> Self {
        Self {
            admin,
            open: Vec::new(),
            undeleted: Vec::new(),
            // Taken from the end: low identifiers first.
            free: (1..=queue_pairs).rev().map(QueueId).collect(),
            when_gone: None,
        }
    }

    /// Highest identifier of a queue pair with a channel; zero where there is none.
    pub(crate) fn last_queue(&self) -> QueueId {
        self.open.iter().map(|link| link.id).max().unwrap_or(QueueId(0))
    }

    /// Cores whose channels have a queue pair, each once, in ascending order.
    pub(crate) fn users(&self) -> Vec<u16> {
        let cores: BTreeSet<u16> = self.open.iter().map(|link| link.core.0).collect();
        cores.into_iter().collect()
    }

    /// Frees the queue pairs that the controller did not delete, after it was proven not to access memory.
    pub(crate) fn release_undeleted(&mut self) {
        self.free.extend(self.undeleted.drain(..).map(|link| link.id));
    }

    /// Creates a queue pair in its memory.
    ///
    /// # Errors
    /// None where no queue is left.
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
            // The first of the two commands was refused: the controller has neither queue.
            Err(error @ ErrorKind::Command { opcode: AdminOpcode::CREATE_COMPLETION_QUEUE, .. }) => {
                self.free.push(id);
                return Err(Some(error));
            }
            Err(error) => {
                self.undeleted.push(link);
                return Err(Some(error));
            }
        }
        Ok(link)
    }

    /// Deletes a queue pair whose channel is closed. If the controller refuses, its memory is kept.
    pub(crate) fn delete_queue(&mut self, link: &Arc<Link>, health: &Health) {
        self.open.retain(|other| !Arc::ptr_eq(other, link));
        match link.stage() {
            // The controller does not have it.
            Stage::Quiet | Stage::Drained | Stage::Gone => self.free.push(link.id),
            Stage::Running if self.admin.delete_queue_pair(link.id).is_ok() => self.free.push(link.id),
            Stage::Running | Stage::Halted => {
                health.raise(Fault::Queue);
                self.undeleted.push(link.clone());
            }
        }
    }

    /// Deletes the I/O queues, sends the shutdown notification, and takes the controller's access to memory
    /// away, in this order.
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
            self.set_gone(&inner.health);
        }
        notified.and(stopped)
    }

    /// Lets channels end their requests with `Gone`, after the controller has lost its access to memory for good.
    pub(crate) fn set_gone(&mut self, health: &Health) {
        self.open.iter().for_each(|link| link.give_up());
        self.release_undeleted();
        health.set_state(ControllerState::Gone);
        self.when_gone.take().into_iter().for_each(|tell| tell());
    }

    /// Calls `tell` when the SSD is gone: at once, if it is.
    pub(crate) fn tell_when_gone(&mut self, health: &Health, tell: WhenGone) {
        match health.state() {
            ControllerState::Gone => tell(),
            ControllerState::Live | ControllerState::Stuck => self.when_gone = Some(tell),
        }
    }
}
