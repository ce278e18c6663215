//! An NVMe SSD of the host, bound to vfio-pci for the sled.

use luge_qemu_test::TestError;
use luge_vfio::{Binding, PciAddress, SysfsRoot};

/// An SSD that is bound to vfio-pci.
pub(crate) struct HostSsd {
    binding: Binding,
}

impl HostSsd {
    /// Binds the SSD at `address` to vfio-pci; refuses an SSD that is in use and names its use.
    pub(crate) fn bind(address: &str) -> Result<Self, TestError> {
        let address: PciAddress = address.parse().map_err(host)?;
        Ok(Self { binding: luge_vfio::bind(&SysfsRoot::default(), address).map_err(host)? })
    }

    /// Full PCI address.
    pub(crate) fn address(&self) -> String {
        self.binding.address().to_string()
    }

    /// Binds the SSD to its previous driver.
    pub(crate) fn restore(self) -> Result<(), TestError> {
        self.binding.restore().map_err(host)
    }
}

fn host(error: impl std::fmt::Display) -> TestError {
    TestError::Host(error.to_string())
}
