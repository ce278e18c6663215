//! Handle of the control plane to a controller.
//!
//! Path: none; its namespaces open the channels.
//!
//! Invariants
//! - Dropping the last handle (controller, namespace or channel) shuts the controller down.
//!
//! Not here: its state (`control`), recovery from faults (`recovery`), requests (`queue_pair`).

use crate::admin::{ADMIN_ENTRIES, Admin};
use crate::bring_up::{identify_all, log_discovery, stop_running};
use crate::control::{Control, Inner};
use crate::exclusion::Exclusion;
use crate::format::RefusedNamespace;
use crate::health::{ControllerState, Health};
use crate::link::Link;
use crate::parts::Parts;
use crate::queue_memory::{Layout, QueueMemory};
use crate::recoveries::Recoveries;
use crate::recovery::Supervisor;
use crate::registers::Registers;
use crate::{ControllerError, ErrorKind, Fault, Identity, Options};
use luge_block::{CoreId, OpenError};
use luge_memory::{DmaSpace, MemoryAccess, PageSize, PciFunction};
use luge_spec::nvme::{AsyncEvent, LogPage, SmartLog};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Handle to a controller that runs. It is shut down when the last handle to it, its namespaces and their
/// channels is dropped.
pub struct Controller {
    inner: Arc<Inner>,
    supervisor: Mutex<Option<Supervisor>>,
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
        Self::bring_up(function, space, options).map_err(|kind| kind.of(&name))
    }

    fn bring_up(
        function: Box<dyn PciFunction>,
        space: Arc<DmaSpace>,
        options: Options,
    ) -> Result<Arc<Self>, ErrorKind> {
        let registers = Arc::new(Registers::new(function)?);
        stop_running(&registers)?;
        let health = Arc::new(Health::default());
        let node = registers.function().numa_node();
        // A few kilobytes: a hugepage would be waste.
        let layout = Layout { entries: ADMIN_ENTRIES, pages: 1, kind: PageSize::Base, node };
        let memory = QueueMemory::allocate(&space, layout)?;
        let mut admin = Admin::new(registers.clone(), health.clone(), memory, options.command_timeout);
        let (discovery, namespaces) = identify_all(&mut admin, &options).inspect_err(|_| {
            let _ = registers.disable();
            let _ = registers.set_bus_master(MemoryAccess::Forbidden);
        })?;
        log_discovery(&registers, &discovery, &namespaces);
        let parts = Arc::new(Parts::new(&namespaces.usable));
        let inner = Arc::new(Inner {
            control: Mutex::new(Control::new(admin, discovery.queue_pairs)),
            registers,
            health,
            recoveries: Recoveries::default(),
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

    /// Name of its PCI function.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.registers.name()
    }

    /// Identity: who made it, and what it can do.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.discovery.identity
    }

    /// Namespaces that could not be used at bring-up, with the reasons.
    #[must_use]
    pub fn refused(&self) -> &[RefusedNamespace] {
        &self.inner.namespaces.refused
    }

    /// Namespaces that could be used at bring-up and cannot be used at present, with the reasons.
    #[must_use]
    pub fn unusable(&self) -> Vec<RefusedNamespace> {
        self.inner.exclusion.list()
    }

    /// Number of its I/O queue pairs: the most channels at a time, of all namespaces together.
    #[must_use]
    pub fn queue_pairs(&self) -> u16 {
        self.inner.discovery.queue_pairs
    }

    /// State: whether it serves.
    #[must_use]
    pub fn state(&self) -> ControllerState {
        self.inner.health.state()
    }

    /// Calls `tell` once when the SSD is gone (given up, handed back to the host, or shut down), at once if it is;
    /// instead of the function of an earlier call. `tell` waits for nothing, and does not ask the controller.
    pub fn when_gone(&self, tell: impl FnOnce() + Send + 'static) {
        self.inner.lock().tell_when_gone(&self.inner.health, Box::new(tell));
    }

    /// Number of requests that went through bounce pages.
    #[must_use]
    pub fn bounced(&self) -> u64 {
        self.inner.health.bounced()
    }

    /// Reads the log page of its health (SMART). Base 2.0, clause 5.16.1.3.
    ///
    /// # Errors
    /// [`ControllerError`] if it does not answer, or refuses.
    pub fn smart(&self) -> Result<SmartLog, ControllerError> {
        self.inner.lock().admin.log_page(LogPage::HEALTH).map_err(|kind| kind.of(self.name()))
    }

    /// The last asynchronous events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<AsyncEvent> {
        self.inner.events().iter().copied().collect()
    }

    /// Resets the controller as after a fault: requests in flight end with `Aborted`, and its channels go on
    /// afterwards. Waits until that has ended, but no longer than `timeout`. A reset that was under way counts.
    ///
    /// # Errors
    /// [`ControllerError`] if the controller was given up, or still is being reset.
    pub fn reset(&self, timeout: Duration) -> Result<(), ControllerError> {
        let before = self.inner.recoveries.count();
        let gone = || ErrorKind::Gone.of(self.name());
        if self.state() == ControllerState::Gone {
            return Err(gone());
        }
        self.inner.health.raise(Fault::Asked);
        if !self.inner.recoveries.wait(before, timeout) {
            return Err(
                ErrorKind::NotReady { wanted: "come back after its reset", waited: timeout }.of(self.name())
            );
        }
        if self.state() == ControllerState::Live { Ok(()) } else { Err(gone()) }
    }

    /// Deletes the I/O queues, sends the shutdown notification, and takes the controller's access to memory
    /// away. Requests in flight end with `Gone`; channels that still exist fail theirs.
    ///
    /// # Errors
    /// [`ControllerError`] if it did not confirm in time; its access to memory is gone all the same.
    pub fn shutdown(&self) -> Result<(), ControllerError> {
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(supervisor);
        let shut_down = self.inner.lock().shut_down(&self.inner);
        // Nobody resets it any more.
        self.inner.recoveries.end();
        shut_down.map_err(|kind| kind.of(self.name()))
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
        let created = control.create_queue(core, Arc::new(memory), &self.inner.health);
        created.map_err(|error| {
            let given = match error {
                None => self.queue_pairs(),
                // The controller granted more queues than it creates.
                Some(ErrorKind::Command { .. }) if !control.open.is_empty() => {
                    u16::try_from(control.open.len()).unwrap_or(u16::MAX)
                }
                Some(error) => {
                    return OpenError::Device { device: device.to_owned(), reason: error.to_string() };
                }
            };
            let (device, users) = (device.to_owned(), control.users());
            OpenError::NoQueue { device, core: core.0, queues: given, users }
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
