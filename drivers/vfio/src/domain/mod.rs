//! The IOMMU domain that all SSDs of the process share.
//!
//! Path: none; it makes the `Iova` of every buffer mean the same memory for every SSD.
//!
//! There are two ways to one: groups in a container (`group`), which every kernel has, and
//! iommufd (`iommufd`), which newer ones have and which is preferred.

mod group;
mod iommufd;

use crate::{PciAddress, SysfsRoot, VfioError};
use group::Container;
use iommufd::IoAddressSpace;
use luge_memory::{Iommu, Iova, Mapping};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::info;

/// The way to the IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// iommufd where the kernel has it, else a container.
    #[default]
    Auto,
    /// `/dev/vfio/vfio` and `/dev/vfio/GROUP`.
    Group,
    /// `/dev/iommu` and `/dev/vfio/devices/vfioN`.
    Iommufd,
}

/// A domain, and functions in it.
pub trait Domain: Iommu {
    /// Makes a place for a function that is bound to vfio-pci. Takes no time worth mentioning.
    fn join(&self, root: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Place>, VfioError>;
}

/// A function's place in a domain; dropped when the function's file is closed.
pub trait Place: Send + Sync {
    /// Opens the function, which the kernel resets meanwhile: a tenth of a second or two.
    /// While the file is open, the function reaches what the domain holds, and nothing else.
    fn open(&self) -> Result<File, VfioError>;
}

/// Makes a domain without a function, such that `address` can join it, and says which way it goes.
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
    info!("the way to the SSDs: VFIO by {way}");
    Ok(domain)
}

/// Opens a file of VFIO.
fn open_file(address: PciAddress, path: PathBuf) -> Result<File, VfioError> {
    OpenOptions::new().read(true).write(true).open(&path).map_err(|source| match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => VfioError::NoVfio(path),
        Some(libc::EBUSY) => VfioError::Busy { address, path },
        _ => VfioError::Open { path, source },
    })
}

/// The error of a step that puts a function into a domain.
fn joining(address: PciAddress, what: &'static str, source: io::Error) -> VfioError {
    match source.raw_os_error() {
        Some(libc::EPERM) => VfioError::InterruptsNotRemapped(address),
        _ => VfioError::Kernel { address, what, source },
    }
}

/// The error of a mapping, with its place and what an operator can do.
fn not_mapped(iova: Iova, memory: &Mapping, source: &io::Error) -> io::Error {
    let remedy = match source.raw_os_error() {
        Some(libc::ENOMEM | libc::EPERM) => "; run as root or raise the limit on locked memory (ulimit -l)",
        Some(libc::ENOSPC) => "; raise dma_entry_limit of the kernel module vfio_iommu_type1",
        _ => "",
    };
    let text = format!("the IOMMU does not take {} bytes at {iova}: {source}{remedy}", memory.len());
    io::Error::new(source.kind(), text)
}

/// Whether all of a mapping was taken away.
fn all_unmapped(iova: Iova, len: u64, unmapped: u64) -> io::Result<()> {
    if unmapped == len {
        return Ok(());
    }
    Err(io::Error::other(format!("only {unmapped} of {len} bytes at {iova} left the IOMMU")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    const ADDRESS: &str = "0000:01:00.0";

    /// One SSD that vfio-pci has.
    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.driver("vfio-pci").function(ADDRESS).group(ADDRESS, 7).bound(ADDRESS, "vfio-pci");
        host
    }

    fn refusal(host: &FakeHost, backend: Backend) -> String {
        create(&host.root(), backend, ADDRESS.parse().unwrap()).err().unwrap().to_string()
    }

    #[test]
    fn a_kernel_without_vfio_is_told() {
        assert!(refusal(&host(), Backend::Group).contains("dev/vfio/vfio does not exist: modprobe"));
        assert!(refusal(&host(), Backend::Iommufd).contains("dev/iommu does not exist"));
    }

    #[test]
    fn iommufd_is_taken_where_the_kernel_and_the_device_have_it() {
        let host = host();
        assert!(refusal(&host, Backend::Auto).contains("dev/vfio/vfio"));
        host.file("dev/iommu", "");
        assert!(refusal(&host, Backend::Auto).contains("dev/vfio/vfio"));
        host.file(&format!("sys/bus/pci/devices/{ADDRESS}/vfio-dev/vfio0/dev"), "");
        host.file("dev/vfio/devices/vfio0", "");
        assert!(refusal(&host, Backend::Auto).contains("I/O address space"));
    }

    #[test]
    fn a_group_that_is_no_group_is_an_error() {
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

    #[test]
    fn a_part_that_stayed_mapped_is_an_error() {
        assert!(all_unmapped(Iova(0), 0x2000, 0x2000).is_ok());
        assert!(all_unmapped(Iova(0), 0x2000, 0x1000).is_err());
    }
}
