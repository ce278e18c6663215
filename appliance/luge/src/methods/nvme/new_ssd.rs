//! An SSD that is up and not attached yet.
//!
//! Invariant: an SSD that is not kept is shut down, its function closed and given back, in this order, on
//! the thread that drops it. It cannot be sent to the control thread, as an SSD may be slow.

use luge_nvme::{Controller, Namespace};
use luge_vfio::BindError;
use std::sync::Arc;

/// Binds a closed function to the driver that it had before the bring-up. Not `Send`, so that it runs on the
/// thread of the bring-up.
pub type GiveBack = Box<dyn FnOnce() -> Result<(), BindError>>;

/// An SSD that is up. Dropping it shuts the SSD down and gives it back. The fields are dropped in this order.
pub struct NewSsd {
    controller: Arc<Controller>,
    on_drop: GiveBackOnDrop,
}

/// Guard that gives a function back, unless it was disarmed.
struct GiveBackOnDrop(Option<GiveBack>);

impl NewSsd {
    /// An SSD that `give_back` returns to its driver.
    pub fn new(controller: Arc<Controller>, give_back: GiveBack) -> Self {
        Self { controller, on_drop: GiveBackOnDrop(Some(give_back)) }
    }

    /// Namespaces that can be used. All handles to them go before the SSD does.
    pub fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.controller.namespaces()
    }

    /// Keeps the SSD.
    pub fn keep(self) -> Arc<Controller> {
        let Self { controller, mut on_drop } = self;
        on_drop.0 = None;
        controller
    }
}

impl Drop for GiveBackOnDrop {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(|give_back| give_back()) {
            tracing::error!("an SSD that was not attached stays with vfio-pci: {error}");
        }
    }
}
