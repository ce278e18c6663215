//! Namespaces and controllers of a subsystem, behind its lock.

use super::error::SubsystemError;
use super::link::ControllerLink;
use super::namespace::{ServedNamespace, Unused};
use crate::ids::NamespaceId;
use luge_block::CoreId;
use luge_core::{Attachment, BackgroundCore};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A namespace of a subsystem, with the volume on its cores.
pub(super) struct Entry {
    pub(super) served: Arc<ServedNamespace>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) unused: Arc<Unused>,
    /// Controllers that a host has detached from the namespace.
    detached: BTreeSet<u16>,
}

/// Place of a namespace.
pub(super) enum Place {
    /// The volume is being attached to cores.
    Reserved,
    /// There is one.
    Taken(Entry),
}

/// Namespaces and controllers of a subsystem.
#[derive(Default)]
pub(super) struct Registry {
    namespaces: BTreeMap<NamespaceId, Place>,
    controllers: BTreeMap<u16, Arc<ControllerLink>>,
}

impl Entry {
    pub(super) fn new(
        served: Arc<ServedNamespace>,
        attachments: Vec<Attachment>,
        unused: Arc<Unused>,
    ) -> Self {
        Self { served, attachments, unused, detached: BTreeSet::new() }
    }
}

impl Registry {
    /// Reserves an identifier: the one that is asked for, or the first that is free.
    pub(super) fn reserve(
        &mut self,
        id: Option<NamespaceId>,
        max: u32,
    ) -> Result<NamespaceId, SubsystemError> {
        let first_free = || (1..=max).map(NamespaceId).find(|id| !self.namespaces.contains_key(id));
        let id = id.or_else(first_free).ok_or(SubsystemError::Full(max))?;
        if !(1..=max).contains(&id.0) {
            return Err(SubsystemError::NamespaceId { id, max });
        }
        if self.namespaces.contains_key(&id) {
            return Err(SubsystemError::NamespaceExists(id));
        }
        self.namespaces.insert(id, Place::Reserved);
        Ok(id)
    }

    /// Gives a reserved identifier up.
    pub(super) fn release(&mut self, id: NamespaceId) {
        self.namespaces.remove(&id);
    }

    /// Adds a namespace in its reserved place, and tells all controllers. Gives it back where no core can serve it and
    /// all others, or a core with queues cannot.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), (SubsystemError, Entry)> {
        if let Err(error) = self.check_cores(&entry.served) {
            return Err((error, entry));
        }
        let id = entry.served.id;
        self.namespaces.insert(id, Place::Taken(entry));
        self.tell(id);
        Ok(())
    }

    fn check_cores(&self, new: &ServedNamespace) -> Result<(), SubsystemError> {
        let busy = self.controllers.values().flat_map(|link| link.status().queues);
        // Those without a CPU are their controllers' own.
        let mut on_cores = busy.filter(|queue| !BackgroundCore::has(queue.core));
        if let Some(queue) = on_cores.find(|queue| !new.is_on(queue.core)) {
            return Err(SubsystemError::CoreInUse(queue.core.0));
        }
        let mut entries = self.entries();
        let Some(first) = entries.next() else { return Ok(()) };
        let others: Vec<&Entry> = entries.collect();
        let serves_all = |attachment: &Attachment| {
            let core = attachment.core().id();
            new.is_on(core) && others.iter().all(|entry| entry.served.is_on(core))
        };
        if first.attachments.iter().any(serves_all) { Ok(()) } else { Err(SubsystemError::NoCommonCore) }
    }

    /// Takes a namespace out, and tells the controllers. Its place stays reserved.
    pub(super) fn take(&mut self, id: NamespaceId) -> Result<Entry, SubsystemError> {
        let place = self.namespaces.get_mut(&id).filter(|place| matches!(place, Place::Taken(_)));
        let place = place.ok_or(SubsystemError::NoNamespace(id))?;
        let Place::Taken(entry) = std::mem::replace(place, Place::Reserved) else {
            return Err(SubsystemError::NoNamespace(id));
        };
        self.tell(id);
        Ok(entry)
    }

    /// Tells all controllers that a namespace has changed.
    pub(super) fn tell(&self, id: NamespaceId) {
        self.controllers.values().for_each(|link| link.tell(id));
    }

    /// Tells all controllers but one that a namespace has changed.
    pub(super) fn tell_others(&self, id: NamespaceId, but: &Arc<ControllerLink>) {
        self.controllers.values().filter(|link| !Arc::ptr_eq(link, but)).for_each(|link| link.tell(id));
    }

    /// All namespaces, in the order of their identifiers.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.namespaces.values().filter_map(|place| match place {
            Place::Taken(entry) => Some(entry),
            Place::Reserved => None,
        })
    }

    /// A namespace.
    pub(super) fn entry(&self, id: NamespaceId) -> Option<&Entry> {
        match self.namespaces.get(&id)? {
            Place::Taken(entry) => Some(entry),
            Place::Reserved => None,
        }
    }

    /// Namespaces that are attached to a controller.
    pub(super) fn attached(&self, controller: u16) -> BTreeMap<NamespaceId, Arc<ServedNamespace>> {
        let entries = self.entries().filter(|entry| !entry.detached.contains(&controller));
        entries.map(|entry| (entry.served.id, entry.served.clone())).collect()
    }

    /// Controllers that a namespace is attached to.
    pub(super) fn attached_to(&self, id: NamespaceId) -> Vec<u16> {
        let Some(entry) = self.entry(id) else { return Vec::new() };
        self.controllers.keys().copied().filter(|controller| !entry.detached.contains(controller)).collect()
    }

    /// Attaches a namespace to a controller, or detaches it, and tells that controller; returns whether that was a
    /// change.
    pub(super) fn set_attached(&mut self, id: NamespaceId, controller: u16, attached: Attached) -> bool {
        let Some(Place::Taken(entry)) = self.namespaces.get_mut(&id) else { return false };
        let changed = match attached {
            Attached::Yes => entry.detached.remove(&controller),
            Attached::No => entry.detached.insert(controller),
        };
        let link = self.controllers.get(&controller).filter(|_| changed);
        link.inspect(|link| link.tell(id));
        changed
    }

    /// Adds a controller with the first identifier that is free.
    pub(super) fn add_controller(
        &mut self,
        ids: RangeInclusive<u16>,
        make: impl FnOnce(u16) -> ControllerLink,
    ) -> Option<Arc<ControllerLink>> {
        let id = ids.into_iter().find(|id| !self.controllers.contains_key(id))?;
        let link = Arc::new(make(id));
        self.controllers.insert(id, link.clone());
        Some(link)
    }

    /// Removes a controller, and forgets what a host has detached from it.
    pub(super) fn remove_controller(&mut self, id: u16) {
        self.controllers.remove(&id);
        for place in self.namespaces.values_mut() {
            if let Place::Taken(entry) = place {
                entry.detached.remove(&id);
            }
        }
    }

    /// All controllers, in the order of their identifiers.
    pub(super) fn controllers(&self) -> impl Iterator<Item = &Arc<ControllerLink>> {
        self.controllers.values()
    }

    /// Cores that serve all namespaces, of those that are asked for.
    pub(super) fn serve_all(&self, core: CoreId) -> bool {
        self.entries().all(|entry| entry.served.is_on(core))
    }
}

/// Whether a namespace is attached to a controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attached {
    /// The controller's host can use it.
    Yes,
    /// The namespace is inactive there.
    No,
}
