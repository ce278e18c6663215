//! iommufd: an I/O address space of `/dev/iommu`, and devices of `/dev/vfio/devices` in it.
//!
//! Invariant: a device reaches no memory until its file is bound to the iommufd. Opening a file twice is
//! therefore harmless; binding it makes the device exclusively ours.

use super::contract::{Domain, Member};
use super::errors::{all_unmapped, joining, not_mapped, open_file};
use crate::iommu_group::check_group;
use crate::{PciAddress, SysfsRoot, VfioError, ioctl};
use luge_memory::{Iommu, Iova, IovaRange, Mapping};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// An I/O address space. The kernel destroys it when the file is closed.
pub struct IoAddressSpace {
    iommufd: Arc<File>,
    number: u32,
}

/// A function of an I/O address space.
struct SpaceMember {
    iommufd: Arc<File>,
    space: u32,
    address: PciAddress,
    path: PathBuf,
}

/// Whether the kernel has iommufd, and a device file for the function.
pub fn available(root: &SysfsRoot, address: PciAddress) -> bool {
    let offered = device_file(root, address).is_some_and(|path| path.exists());
    offered && root.path("/dev/iommu").exists()
}

fn device_file(root: &SysfsRoot, address: PciAddress) -> Option<PathBuf> {
    Some(root.path("/dev/vfio/devices").join(root.vfio_device(address)?))
}

impl IoAddressSpace {
    /// Makes an empty I/O address space.
    pub fn open(root: &SysfsRoot, address: PciAddress) -> Result<Self, VfioError> {
        let iommufd = open_file(address, root.path("/dev/iommu"))?;
        let number = ioctl::allocate_ioas(&iommufd).map_err(|source| VfioError::Kernel {
            address,
            what: "making an I/O address space",
            source,
        })?;
        Ok(Self { iommufd: iommufd.into(), number })
    }
}

impl Domain for IoAddressSpace {
    fn join(&self, root: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Member>, VfioError> {
        check_group(root, address)?;
        let nowhere = || VfioError::NoVfio(root.path("/dev/vfio/devices"));
        let path = device_file(root, address).ok_or_else(nowhere)?;
        Ok(Box::new(SpaceMember { iommufd: self.iommufd.clone(), space: self.number, address, path }))
    }
}

impl Member for SpaceMember {
    fn open(&self) -> Result<File, VfioError> {
        let address = self.address;
        let file = open_file(address, self.path.clone())?;
        ioctl::bind_iommufd(&file, &self.iommufd).map_err(|source| match source.raw_os_error() {
            // EINVAL: bound by another process through this file; EBUSY: through its group.
            Some(libc::EINVAL | libc::EBUSY) => VfioError::Busy { address, path: self.path.clone() },
            _ => joining(address, "binding the function to the iommufd", source),
        })?;
        ioctl::attach_ioas(&file, self.space)
            .map_err(|source| joining(address, "putting the function into the I/O address space", source))?;
        Ok(file)
    }
}

impl Iommu for IoAddressSpace {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        ioctl::ioas_ranges(&self.iommufd, self.number)
    }

    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
        ioctl::map_ioas(&self.iommufd, self.number, iova, memory)
            .map_err(|error| not_mapped(iova, memory, &error))
    }

    fn unmap(&self, iova: Iova, len: u64) -> io::Result<()> {
        all_unmapped(iova, len, ioctl::unmap_ioas(&self.iommufd, self.number, iova, len)?)
    }
}
