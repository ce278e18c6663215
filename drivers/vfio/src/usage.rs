//! Usage of an SSD: by the host's kernel, by a process through VFIO, or by nobody.

use crate::iommu_group::user;
use crate::sysfs::{NVME, VFIO_PCI};
use crate::{PciAddress, SysfsRoot, in_use};

/// Usage of an SSD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Nobody uses it: it has the kernel's NVMe driver, or none.
    Free,
    /// The host uses its content; the text names the use.
    Host(String),
    /// Bound to vfio-pci; no process has it open.
    Bound,
    /// Bound to vfio-pci; the process that the text names has its IOMMU group open.
    Open(String),
    /// Bound to another driver, of that name.
    Driver(String),
}

impl Usage {
    /// Finds the usage of an SSD. Takes half a second if a process has it open.
    #[must_use]
    pub fn of(root: &SysfsRoot, address: PciAddress) -> Self {
        match root.driver(address) {
            Some(driver) if driver == VFIO_PCI => user(root, address).map_or(Self::Bound, Self::Open),
            Some(driver) if driver != NVME => Self::Driver(driver),
            _ => in_use::find(root, address).map_or(Self::Free, Self::Host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    const ADDRESS: &str = "0000:01:00.0";

    fn host(driver: &str) -> FakeHost {
        let host = FakeHost::new();
        host.driver("vfio-pci").driver("nvme").driver("uio");
        host.function(ADDRESS).group(ADDRESS, 7).bound(ADDRESS, driver);
        host
    }

    fn usage(host: &FakeHost) -> Usage {
        Usage::of(&host.root(), ADDRESS.parse().unwrap())
    }

    #[test]
    fn an_ssd_of_the_kernel_is_free_until_its_content_is_used() {
        let host = host("nvme");
        host.disk(ADDRESS, "nvme0", "nvme0n1", "259:0");
        assert_eq!(usage(&host), Usage::Free);
        host.file("proc/swaps", "/dev/nvme0n1 partition 1 0 -2\n");
        assert_eq!(usage(&host), Usage::Host("nvme0n1 is swap space".into()));
    }

    #[test]
    fn an_ssd_of_vfio_is_bound_or_open() {
        let host = host("vfio-pci");
        assert_eq!(usage(&host), Usage::Bound);
        host.file("sys/class/vfio/7/dev", "1:3\n").process(812, "qemu", &["/dev/null"]);
        assert_eq!(usage(&host), Usage::Open("/dev/vfio/7 is open in process 812 qemu".into()));
    }

    #[test]
    fn an_ssd_of_another_driver_is_told_with_it() {
        assert_eq!(usage(&host("uio")), Usage::Driver("uio".into()));
    }
}
