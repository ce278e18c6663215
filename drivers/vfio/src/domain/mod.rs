//! The IOMMU domain that all SSDs of the process share, so that an `Iova` is the same memory for every
//! SSD.
//!
//! There are two interfaces of the kernel: groups in a container (`group`), on all kernels, and iommufd
//! (`iommufd`), on newer ones, which is preferred.

mod contract;
mod errors;
mod group;
mod iommufd;

pub use contract::{Domain, Member};

use crate::{PciAddress, SysfsRoot, VfioError};
use group::Container;
use iommufd::IoAddressSpace;
use std::sync::Arc;
use tracing::info;

/// Interface of the kernel to the IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// iommufd if the kernel has it, else a container.
    #[default]
    Auto,
    /// `/dev/vfio/vfio` and `/dev/vfio/GROUP`.
    Group,
    /// `/dev/iommu` and `/dev/vfio/devices/vfioN`.
    Iommufd,
}

/// Makes an empty domain that `address` can join, and logs its interface.
pub fn create(root: &SysfsRoot, backend: Backend, address: PciAddress) -> Result<Arc<dyn Domain>, VfioError> {
    let (way, domain): (_, Arc<dyn Domain>) = match backend {
        Backend::Auto if iommufd::available(root, address) => {
            return create(root, Backend::Iommufd, address);
        }
        Backend::Iommufd => ("iommufd", Arc::new(IoAddressSpace::open(root, address)?)),
        Backend::Auto | Backend::Group => {
            ("groups in a container", Arc::new(Container::open(root, address)?))
        }
    };
    info!("access to SSDs: VFIO by {way}");
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    const ADDRESS: &str = "0000:01:00.0";

    /// One SSD that is bound to vfio-pci.
    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.driver("vfio-pci").function(ADDRESS).group(ADDRESS, 7).bound(ADDRESS, "vfio-pci");
        host
    }

    fn refusal(host: &FakeHost, backend: Backend) -> String {
        create(&host.root(), backend, ADDRESS.parse().unwrap()).err().unwrap().to_string()
    }

    #[test]
    fn a_kernel_without_vfio_is_reported() {
        assert!(refusal(&host(), Backend::Group).contains("dev/vfio/vfio does not exist: modprobe"));
        assert!(refusal(&host(), Backend::Iommufd).contains("dev/iommu does not exist"));
    }

    #[test]
    fn iommufd_is_used_if_the_kernel_and_the_device_have_it() {
        let host = host();
        assert!(refusal(&host, Backend::Auto).contains("dev/vfio/vfio"));
        host.file("dev/iommu", "");
        assert!(refusal(&host, Backend::Auto).contains("dev/vfio/vfio"));
        host.file(&format!("sys/bus/pci/devices/{ADDRESS}/vfio-dev/vfio0/dev"), "");
        host.file("dev/vfio/devices/vfio0", "");
        assert!(refusal(&host, Backend::Auto).contains("I/O address space"));
    }

    #[test]
    fn a_file_that_is_not_a_group_is_an_error() {
        let host = host();
        host.file("dev/vfio/vfio", "").file("dev/vfio/7", "");
        let address = ADDRESS.parse().unwrap();
        let domain = create(&host.root(), Backend::Group, address).unwrap();
        let error = domain.join(&host.root(), address).err().unwrap();
        assert!(error.to_string().starts_with("0000:01:00.0: reading the state of its group"), "{error}");
    }

    #[test]
    fn a_group_that_the_host_shares_is_refused_by_name() {
        let host = host();
        host.file("dev/vfio/vfio", "").driver("e1000").function("0000:01:00.1");
        host.group("0000:01:00.1", 7).bound("0000:01:00.1", "e1000");
        let address = ADDRESS.parse().unwrap();
        let domain = create(&host.root(), Backend::Group, address).unwrap();
        let error = domain.join(&host.root(), address).err().unwrap();
        assert!(error.to_string().contains("0000:01:00.1 (e1000)"), "{error}");
    }
}
