//! An NVMe SSD of the host, lent to the sled.

use luge_qemu_test::TestError;
use luge_vfio::{Binding, PciAddress, SysfsRoot, bind};

/// An SSD that vfio-pci has.
pub(crate) struct HostSsd {
    binding: Binding,
}

impl HostSsd {
    /// Takes the SSD at `address` from the kernel; one that is in use is refused by name.
    pub(crate) fn take(address: &str) -> Result<Self, TestError> {
        let address: PciAddress = address.parse().map_err(host)?;
        Ok(Self { binding: bind(&SysfsRoot::default(), address).map_err(host)? })
    }

    /// Its address in full.
    pub(crate) fn address(&self) -> String {
        self.binding.address().to_string()
    }

    /// Gives it back to the kernel.
    pub(crate) fn give_back(self) -> Result<(), TestError> {
        self.binding.restore().map_err(host)
    }
}

fn host(error: impl std::fmt::Display) -> TestError {
    TestError::Host(error.to_string())
}
