//! An SSD, with the block devices that its namespaces are.

use luge_nvme::Controller;
use luge_vfio::PciAddress;
use std::sync::Arc;
use uuid::Uuid;

/// An SSD that is attached.
pub struct Ssd {
    /// Its driver.
    pub controller: Arc<Controller>,
    /// Where it is.
    pub address: PciAddress,
    /// The block devices that its namespaces are, by name and identity.
    pub bdevs: Vec<(String, Uuid)>,
}
