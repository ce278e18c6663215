//! Volumes that are being opened on a controller's background core, for namespaces that come while its queues are there.

use super::placement::Opening;
use crate::ids::NamespaceId;
use crate::subsystem::ServedNamespace;
use luge_core::{AttachError, Attachment, BackgroundCore};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Volumes that are open on a background core, until the controller has mounted them.
pub(super) struct OpenVolumes {
    _attachments: Vec<Attachment>,
    /// Outlives the attachments.
    _core: Arc<BackgroundCore>,
}

impl OpenVolumes {
    /// Opens the volumes of namespaces. Blocks while devices open queues.
    pub(super) fn open(
        core: Arc<BackgroundCore>,
        served: &[Arc<ServedNamespace>],
    ) -> Result<Self, AttachError> {
        let attachments = served.iter().map(|served| core.handle().attach(&served.volume));
        Ok(Self { _attachments: attachments.collect::<Result<_, _>>()?, _core: core })
    }
}

/// Namespaces of a controller that are not its own yet.
#[derive(Default)]
pub(super) struct LateVolumes {
    /// Namespaces whose volumes are being opened.
    pub(super) opening: Option<LateOpening>,
    /// Namespaces whose volumes could not be opened.
    pub(super) failed: BTreeSet<NamespaceId>,
}

/// Namespaces, and the opening of their volumes.
pub(super) struct LateOpening {
    pub(super) served: Vec<Arc<ServedNamespace>>,
    pub(super) volumes: Arc<Opening<OpenVolumes>>,
}
