//! Namespace: a disk of a controller, as a [`Device`].
//!
//! Path: none; it opens channels.

use crate::controller::Controller;
use crate::format::{FormatError, NamespaceId, NamespaceInfo};
use crate::health::ControllerState;
use crate::parts::Parts;
use crate::queue_pair::QueuePair;
use luge_block::{Channel, CoreId, Device, Geometry, IoErrors, Lba, OpenError, SharedHardware};
use luge_memory::NodeAmounts;
use std::sync::Arc;

/// Namespace of a controller. It keeps the controller alive.
pub struct Namespace {
    controller: Arc<Controller>,
    /// Number of the namespace among those of the controller.
    index: usize,
    info: NamespaceInfo,
}

impl Controller {
    /// Namespaces that could be used at bring-up, in ascending order of their identifiers.
    #[must_use]
    pub fn namespaces(self: &Arc<Self>) -> Vec<Arc<Namespace>> {
        let known = self.inner().namespaces.usable.iter();
        let of = |(index, info): (usize, &NamespaceInfo)| Namespace::new(self.clone(), index, info.clone());
        known.enumerate().map(of).map(Arc::new).collect()
    }
}

impl Namespace {
    pub(crate) fn new(controller: Arc<Controller>, index: usize, info: NamespaceInfo) -> Self {
        Self { controller, index, info }
    }

    /// Identifier on the controller.
    #[must_use]
    pub fn id(&self) -> NamespaceId {
        self.info.id
    }

    /// Name: the controller's function and the identifier, as in `0000:01:00.0 namespace 1`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} namespace {}", self.controller.name(), self.info.id)
    }

    /// Controller of the namespace.
    #[must_use]
    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Reason for which the namespace cannot be used at present; none where it can.
    #[must_use]
    pub fn unusable(&self) -> Option<FormatError> {
        self.controller.inner().exclusion.reason(self.info.id)
    }

    /// EUI64, the most significant byte first; none where the controller tells none.
    #[must_use]
    pub fn eui64(&self) -> Option<[u8; 8]> {
        Some(self.info.eui64).filter(|id| *id != [0; 8])
    }

    /// NGUID, the most significant byte first; none where the controller tells none.
    #[must_use]
    pub fn nguid(&self) -> Option<[u8; 16]> {
        Some(self.info.nguid).filter(|id| *id != [0; 16])
    }
}

impl Device for Namespace {
    fn geometry(&self) -> Geometry {
        self.info.geometry
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        if self.controller.state() != ControllerState::Live {
            let reason = "the SSD failed, or was shut down: detach it".to_owned();
            return Err(OpenError::Device { device: self.name(), reason });
        }
        if let Some(reason) = self.unusable() {
            return Err(OpenError::Device { device: self.name(), reason: reason.to_string() });
        }
        tracing::debug!(namespace = self.name(), core = core.0, "opening a queue pair");
        Ok(Box::new(QueuePair::open(&self.controller, &self.name(), core)?))
    }

    /// All namespaces of a controller share its queue pair on a core.
    fn shared(&self) -> Option<SharedHardware> {
        Some(SharedHardware(Arc::as_ptr(&self.controller).addr()))
    }

    fn window(&self) -> Lba {
        Parts::window(self.index)
    }

    fn bounced(&self) -> u64 {
        self.controller.bounced()
    }

    fn nodes(&self) -> NodeAmounts {
        let mut nodes = NodeAmounts::default();
        self.controller.inner().numa_node().into_iter().for_each(|node| nodes.add(node, 1));
        nodes
    }

    fn errors(&self) -> Option<&Arc<IoErrors>> {
        self.controller.inner().parts.all().get(self.index).map(|part| &part.errors)
    }
}
