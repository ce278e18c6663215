//! A namespace, as controllers see it.

use super::identity::NamespaceIdentity;
use super::status::NamespaceStatus;
use crate::commands::CommandStatus;
use crate::ids::NamespaceId;
use luge_block::{CoreId, Geometry};
use luge_core::Attachment;
use luge_spec::nvme::StatusCode;
use luge_volume::{Counters, Volume};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A namespace, as controllers see it. While one has it, the volume stays on its cores.
pub(crate) struct ServedNamespace {
    pub(crate) id: NamespaceId,
    pub(crate) name: Arc<str>,
    pub(crate) volume: Arc<Volume>,
    pub(crate) identity: NamespaceIdentity,
    /// Cores on which the subsystem has the volume open.
    cores: Vec<CoreId>,
    is_formatted: AtomicBool,
    unused: Arc<Unused>,
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
        let cores = attachments.iter().map(|attachment| attachment.core().id()).collect();
        let (is_formatted, unused) = (AtomicBool::new(false), unused.clone());
        Arc::new(Self { id, name, volume, identity, cores, is_formatted, unused })
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
        self.cores.contains(&core)
    }

    /// Begins Format NVM, during which its commands are refused; returns whether none is under way.
    pub(super) fn begin_format(&self) -> bool {
        !self.is_formatted.swap(true, AcqRel)
    }

    /// Ends Format NVM.
    pub(super) fn end_format(&self) {
        self.is_formatted.store(false, Release);
    }

    /// Status of all commands: while the namespace is being formatted.
    pub(crate) fn refusal(&self) -> Option<CommandStatus> {
        let is_formatted = self.is_formatted.load(Acquire);
        is_formatted.then_some(CommandStatus::failed(StatusCode::FORMAT_IN_PROGRESS))
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
