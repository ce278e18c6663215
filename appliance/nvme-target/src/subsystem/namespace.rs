//! A namespace, as controllers see it.

use super::identity::NamespaceIdentity;
use super::status::NamespaceStatus;
use crate::ids::NamespaceId;
use crate::namespaces::Namespace;
use luge_block::{CoreId, Geometry};
use luge_core::Attachment;
use luge_volume::{Counters, Stats, Volume, VolumeId};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A namespace, as controllers see it. While one has it, the volume stays on its cores.
pub(crate) struct ServedNamespace {
    pub(crate) id: NamespaceId,
    pub(crate) name: Arc<str>,
    pub(crate) volume: Arc<Volume>,
    pub(crate) identity: NamespaceIdentity,
    on_cores: Vec<OnCore>,
    unused: Arc<Unused>,
}

/// The volume on a core.
struct OnCore {
    core: CoreId,
    volume: VolumeId,
    stats: Arc<Stats>,
}

/// Event: no controller has a namespace any more.
#[derive(Default)]
pub(crate) struct Unused {
    happened: Mutex<bool>,
    changed: Condvar,
}

impl Unused {
    fn happen(&self) {
        *self.happened.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Blocks until it has happened.
    pub(crate) fn wait(&self) {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(happened, |happened| !*happened));
    }
}

impl ServedNamespace {
    /// A namespace whose volume is attached to cores.
    pub(crate) fn new(
        status: NamespaceStatus,
        attachments: &[Attachment],
        unused: &Arc<Unused>,
    ) -> Arc<Self> {
        let NamespaceStatus { id, name, volume, identity, .. } = status;
        let on_core = |attachment: &Attachment| OnCore {
            core: attachment.core().id(),
            volume: attachment.volume(),
            stats: attachment.stats().clone(),
        };
        let on_cores = attachments.iter().map(on_core).collect();
        Arc::new(Self { id, name, volume, identity, on_cores, unused: unused.clone() })
    }

    /// Size, limits and abilities of the volume now.
    pub(crate) fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    /// Counts of all requests of the volume.
    pub(crate) fn counters(&self) -> Counters {
        self.volume.counters()
    }

    /// Whether a core serves it.
    pub(crate) fn is_on(&self, core: CoreId) -> bool {
        self.on_cores.iter().any(|on_core| on_core.core == core)
    }

    /// The namespace, as sessions of a core see it.
    pub(crate) fn on(&self, core: CoreId) -> Option<Namespace> {
        let on_core = self.on_cores.iter().find(|on_core| on_core.core == core)?;
        let OnCore { volume, stats, .. } = on_core;
        Some(Namespace { volume: *volume, stats: stats.clone(), geometry: self.geometry() })
    }

    /// Present status.
    pub(crate) fn status(&self) -> NamespaceStatus {
        NamespaceStatus {
            id: self.id,
            name: self.name.clone(),
            volume: self.volume.clone(),
            identity: self.identity,
            geometry: self.geometry(),
        }
    }
}

impl Drop for ServedNamespace {
    fn drop(&mut self) {
        self.unused.happen();
    }
}
