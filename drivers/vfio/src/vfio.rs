//! SSDs by VFIO: opens functions that are bound to vfio-pci.
//!
//! Not here: binding a function to vfio-pci (`binding`), the IOMMU domain that it joins (`device`), what is
//! done with it (`function`).

use crate::device::VfioDevices;
use crate::domain;
use crate::function::VfioFunction;
use crate::sysfs::VFIO_PCI;
use crate::{Backend, PciAddress, SysfsRoot, VfioError};
use luge_memory::{DmaSpace, PciFunction};
use std::sync::Arc;

/// Opens functions that are bound to vfio-pci, all in one IOMMU domain. Clones share the domain.
#[derive(Clone)]
pub struct Vfio {
    root: SysfsRoot,
    devices: VfioDevices,
}

impl Vfio {
    /// Functions that reach the memory of `space`, and no other. Opens nothing yet.
    #[must_use]
    pub fn new(root: SysfsRoot, backend: Backend, space: Arc<DmaSpace>) -> Self {
        let place = root.clone();
        let create = Box::new(move |address| domain::create(&place, backend, address));
        Self { devices: VfioDevices::new(root.clone(), space, create), root }
    }

    /// Opens a function that is bound to vfio-pci. It reaches memory once its driver calls
    /// [`PciFunction::set_bus_master`].
    ///
    /// # Errors
    /// [`VfioError`]; nothing is open then.
    pub fn open_function(&self, address: PciAddress) -> Result<Box<dyn PciFunction>, VfioError> {
        self.check_bound(address)?;
        let device = self.devices.open(address)?;
        Ok(Box::new(VfioFunction::open(device, address, self.root.numa_node(address))?))
    }

    fn check_bound(&self, address: PciAddress) -> Result<(), VfioError> {
        let driver = self.root.driver(address);
        if driver.as_deref() == Some(VFIO_PCI) {
            return Ok(());
        }
        let driver = driver.map_or("no driver".to_owned(), |driver| format!("the driver {driver}"));
        Err(VfioError::NotBound { address, driver })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    #[test]
    fn a_function_that_another_driver_has_is_refused() {
        let host = FakeHost::new();
        let vfio = Vfio::new(host.root(), Backend::Group, DmaSpace::new());
        let open = || vfio.open_function("0000:01:00.0".parse().unwrap()).err().unwrap().to_string();
        assert!(open().contains("bound to no driver"));
        host.driver("nvme").function("0000:01:00.0").bound("0000:01:00.0", "nvme");
        assert!(open().contains("bound to the driver nvme, not to vfio-pci"));
    }
}
