//! A subsystem, shared by the control plane and the threads of its controllers.

use super::config::{NamespaceConfig, SubsystemConfig};
use super::error::SubsystemError;
use super::identity::Nqn;
use super::link::ControllerLink;
use super::namespace::{ServedNamespace, Unused};
use super::registry::{Attached, Entry, Registry};
use super::status::{ControllerPhase, ControllerStatus, NamespaceStatus};
use crate::data::BitBucket;
use crate::ids::NamespaceId;
use luge_core::{Attachments, CoreHandle, drain};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Hosts that may use a subsystem.
#[derive(Clone, Debug, Default)]
struct Hosts {
    any: bool,
    named: BTreeSet<Nqn>,
}

/// A subsystem: namespaces, the hosts that may use them, and the controllers that serve them.
pub struct Subsystem {
    config: SubsystemConfig,
    hosts: Mutex<Hosts>,
    registry: Mutex<Registry>,
    bit_bucket: BitBucket,
    started: Instant,
    /// Controllers that there have been.
    connections: AtomicU64,
    /// Controllers whose clients left them running.
    abandoned: AtomicU64,
    /// Controllers whose clients have left and whose commands have not ended.
    departing: AtomicUsize,
}

impl Subsystem {
    /// Makes a subsystem without namespaces.
    ///
    /// # Errors
    /// [`SubsystemError`].
    pub fn new(config: SubsystemConfig) -> Result<Arc<Self>, SubsystemError> {
        check_text("serial number", &config.serial, 20)?;
        check_text("model number", &config.model, 40)?;
        if !(1..=SubsystemConfig::NAMESPACES_MAX).contains(&config.namespaces_max) {
            return Err(SubsystemError::NamespacesMax(config.namespaces_max));
        }
        let (first, last) = (*config.controller_ids.start(), *config.controller_ids.end());
        if first == 0 || first > last || last > SubsystemConfig::CONTROLLER_ID_MAX {
            return Err(SubsystemError::ControllerIds { first, last });
        }
        if config.cores.is_empty() {
            return Err(SubsystemError::NoCores);
        }
        let bit_bucket = BitBucket::new(&config.space)?;
        let hosts = Mutex::new(Hosts { any: config.allow_any_host, named: BTreeSet::new() });
        Ok(Arc::new(Self {
            config,
            hosts,
            registry: Mutex::default(),
            bit_bucket,
            started: Instant::now(),
            connections: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            departing: AtomicUsize::new(0),
        }))
    }

    /// Name.
    #[must_use]
    pub fn nqn(&self) -> &Nqn {
        &self.config.nqn
    }

    /// Serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.config.serial
    }

    /// Model number.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// Largest identifier of a namespace.
    #[must_use]
    pub fn namespaces_max(&self) -> u32 {
        self.config.namespaces_max
    }

    /// Smallest and largest identifier of a controller.
    #[must_use]
    pub fn controller_ids(&self) -> std::ops::RangeInclusive<u16> {
        self.config.controller_ids.clone()
    }

    /// Adds a namespace, which all controllers are told. Blocks while devices open queues.
    ///
    /// # Errors
    /// [`SubsystemError`]; nothing has changed then.
    pub fn add_namespace(&self, config: NamespaceConfig) -> Result<NamespaceId, SubsystemError> {
        let NamespaceConfig { id, volume, name, identity } = config;
        let geometry = volume.geometry();
        if !(512..=65536).contains(&geometry.block_bytes) {
            return Err(SubsystemError::BlockBytes(geometry.block_bytes));
        }
        let id = self.registry().reserve(id, self.config.namespaces_max)?;
        let attached = Attachments::open(&self.config.cores, &volume, usize::MAX);
        let attachments = attached.inspect_err(|_| self.registry().release(id))?.list;
        let (unused, name) = (Arc::<Unused>::default(), Arc::from(name));
        let status = NamespaceStatus { id, name, volume, identity, geometry };
        let served = ServedNamespace::new(status, &attachments, &unused);
        let added = self.registry().add(Entry::new(served, attachments, unused));
        let refused = |(error, entry): (SubsystemError, Entry)| {
            drop(entry);
            self.registry().release(id);
            error
        };
        added.map(|()| id).map_err(refused)
    }

    /// Removes a namespace, which all controllers are told. Blocks until nothing is in flight on it: as long as the
    /// slowest SSD takes.
    ///
    /// # Errors
    /// [`SubsystemError::NoNamespace`].
    pub fn remove_namespace(&self, id: NamespaceId) -> Result<(), SubsystemError> {
        let entry = self.registry().take(id)?;
        retire(entry);
        self.registry().release(id);
        Ok(())
    }

    /// Tells all controllers that the volume of a namespace has another size.
    ///
    /// # Errors
    /// [`SubsystemError::NoNamespace`].
    pub fn resized(&self, id: NamespaceId) -> Result<(), SubsystemError> {
        let registry = self.registry();
        registry.entry(id).ok_or(SubsystemError::NoNamespace(id))?;
        registry.tell(id);
        Ok(())
    }

    /// All namespaces, in the order of their identifiers.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceStatus> {
        self.registry().entries().map(|entry| entry.served.status()).collect()
    }

    /// All controllers, in the order of their identifiers.
    #[must_use]
    pub fn controllers(&self) -> Vec<ControllerStatus> {
        self.registry().controllers().map(|link| link.status()).collect()
    }

    /// Whether hosts that are not named may use it.
    #[must_use]
    pub fn allows_any_host(&self) -> bool {
        self.hosts().any
    }

    /// Allows hosts that are not named, or no longer. Clients of a socket name no host: their controllers do not
    /// start where unnamed hosts are not allowed. Those that run stay.
    pub fn allow_any_host(&self, allow: bool) {
        self.hosts().any = allow;
    }

    /// Allows a host; returns whether it was not allowed before.
    pub fn allow_host(&self, host: Nqn) -> bool {
        self.hosts().named.insert(host)
    }

    /// Allows a host no longer; returns whether it was allowed before.
    pub fn disallow_host(&self, host: &Nqn) -> bool {
        self.hosts().named.remove(host)
    }

    /// Hosts that are allowed by name.
    #[must_use]
    pub fn allowed_hosts(&self) -> Vec<Nqn> {
        self.hosts().named.iter().cloned().collect()
    }

    /// Removes all namespaces. Blocks as [`Self::remove_namespace`] does; its listeners should be gone.
    pub fn stop(&self) {
        let ids: Vec<NamespaceId> = self.namespaces().iter().map(|namespace| namespace.id).collect();
        // One that is gone meanwhile needs no removal.
        ids.into_iter().for_each(|id| drop(self.remove_namespace(id)));
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For controllers.
impl Subsystem {
    pub(crate) fn bit_bucket(&self) -> &BitBucket {
        &self.bit_bucket
    }

    /// Adds a controller of a client, which is woken by `bell`; none if all identifiers are in use.
    pub(crate) fn add_controller(
        &self,
        listener: &Arc<str>,
        connection: u64,
        bell: OwnedFd,
    ) -> Option<Arc<ControllerLink>> {
        let status = |id| ControllerStatus {
            id,
            listener: listener.clone(),
            connection,
            phase: ControllerPhase::default(),
            queues: Vec::new(),
            host_id: [0; 16],
            unseen: BTreeSet::new(),
        };
        let ids = self.config.controller_ids.clone();
        let link = self.registry().add_controller(ids, |id| ControllerLink::new(status(id), bell))?;
        self.connections.fetch_add(1, Relaxed);
        Some(link)
    }

    /// Removes a controller whose client has left.
    pub(crate) fn remove_controller(&self, link: &ControllerLink) {
        if link.status().phase == ControllerPhase::Ready {
            self.abandoned.fetch_add(1, Relaxed);
        }
        self.registry().remove_controller(link.id());
    }

    /// Counts a controller whose client has left and whose commands have not ended, until the guard is dropped.
    pub(crate) fn departs(self: &Arc<Self>) -> Departing {
        self.departing.fetch_add(1, Relaxed);
        Departing(self.clone())
    }

    /// Number of controllers whose clients have left and whose commands have not ended.
    pub(crate) fn departing(&self) -> usize {
        self.departing.load(Relaxed)
    }

    /// Namespaces that are attached to a controller.
    pub(crate) fn attached(&self, controller: u16) -> BTreeMap<NamespaceId, Arc<ServedNamespace>> {
        self.registry().attached(controller)
    }

    /// A namespace, whether attached or not.
    pub(crate) fn namespace(&self, id: NamespaceId) -> Option<Arc<ServedNamespace>> {
        self.registry().entry(id).map(|entry| entry.served.clone())
    }

    /// Identifiers of all namespaces, attached or not.
    pub(crate) fn allocated(&self) -> Vec<NamespaceId> {
        self.registry().entries().map(|entry| entry.served.id).collect()
    }

    /// Identifiers of all controllers.
    pub(crate) fn controller_list(&self) -> Vec<u16> {
        self.registry().controllers().map(|link| link.id()).collect()
    }

    /// Controllers that a namespace is attached to.
    pub(crate) fn attached_to(&self, id: NamespaceId) -> Vec<u16> {
        self.registry().attached_to(id)
    }

    /// Attaches a namespace to a controller; returns whether it was not.
    pub(crate) fn attach(&self, id: NamespaceId, controller: u16) -> bool {
        self.registry().set_attached(id, controller, Attached::Yes)
    }

    /// Detaches a namespace from a controller; returns whether it was attached.
    pub(crate) fn detach(&self, id: NamespaceId, controller: u16) -> bool {
        self.registry().set_attached(id, controller, Attached::No)
    }

    /// Begins to format a namespace, whose commands are refused on all controllers until the guard is dropped. None if
    /// it is being formatted already.
    pub(crate) fn begin_format(
        self: &Arc<Self>,
        served: &Arc<ServedNamespace>,
        by: &Arc<ControllerLink>,
    ) -> Option<Formatting> {
        if !served.begin_format() {
            return None;
        }
        self.registry().tell_others(served.id, by);
        Some(Formatting { subsystem: self.clone(), served: served.clone(), by: by.clone() })
    }

    /// Cores that can serve queues of a controller: those that serve all namespaces.
    pub(crate) fn serving_cores(&self) -> Vec<CoreHandle> {
        let registry = self.registry();
        self.config.cores.iter().filter(|core| registry.serve_all(core.id())).cloned().collect()
    }

    /// Time since the subsystem was made, in whole hours.
    pub(crate) fn hours(&self) -> u64 {
        self.started.elapsed().as_secs() / 3600
    }

    /// Clients that there have been.
    pub(crate) fn power_cycles(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Clients that left a running controller.
    pub(crate) fn unsafe_shutdowns(&self) -> u64 {
        self.abandoned.load(Relaxed)
    }
}

/// A controller whose client has left and whose commands have not ended.
pub(crate) struct Departing(Arc<Subsystem>);

impl Drop for Departing {
    fn drop(&mut self) {
        self.0.departing.fetch_sub(1, Relaxed);
    }
}

/// Format NVM of a namespace that is under way.
pub(crate) struct Formatting {
    subsystem: Arc<Subsystem>,
    served: Arc<ServedNamespace>,
    /// Controller that formats it. It knows, and is not told.
    by: Arc<ControllerLink>,
}

impl Drop for Formatting {
    fn drop(&mut self) {
        self.served.end_format();
        self.subsystem.registry().tell_others(self.served.id, &self.by);
    }
}

impl Drop for Subsystem {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until no controller has a namespace and nothing of it is in flight, and takes its volume off the cores.
fn retire(entry: Entry) {
    let Entry { served, attachments, unused, .. } = entry;
    drop(served);
    unused.wait();
    drain(&attachments);
}

/// Checks a text of Identify Controller.
fn check_text(what: &'static str, text: &str, max: usize) -> Result<(), SubsystemError> {
    let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if (1..=max).contains(&text.len()) && is_printable {
        return Ok(());
    }
    Err(SubsystemError::Text { what, text: text.to_owned(), max })
}
