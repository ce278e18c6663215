//! An SSD with its namespaces, which are block devices.

use luge_nvme::Controller;
use luge_vfio::PciAddress;
use std::sync::Arc;
use uuid::Uuid;

/// An SSD that is attached.
pub struct Ssd {
    /// Driver.
    pub controller: Arc<Controller>,
    /// PCI address.
    pub address: PciAddress,
    /// Name and identity of each block device that is one of its namespaces.
    pub bdevs: Vec<(String, Uuid)>,
}

impl Ssd {
    /// Shuts the SSD down and closes its function. As slow as the SSD.
    pub fn end(self) {
        if let Err(error) = self.controller.shutdown() {
            tracing::error!("{error}; it has no access to memory any more");
        }
    }
}
