//! iommufd: an I/O address space of `/dev/iommu`, and devices of `/dev/vfio/devices` in it.
//!
//! Invariant: a device's file that is not bound to the iommufd reaches nothing, so opening one
//! twice is harmless; binding it is what makes it ours alone.

use super::membership::{Domain, Membership, all_unmapped, joining, not_mapped, open_file};
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

/// Function that is to be opened, or open, in a space.
struct Member {
    iommufd: Arc<File>,
    space: u32,
    address: PciAddress,
    path: PathBuf,
}

/// Whether the kernel has iommufd, and the function's driver offers a file for it.
pub fn available(root: &SysfsRoot, address: PciAddress) -> bool {
    let offered = device_file(root, address).is_some_and(|path| path.exists());
    offered && root.path("/dev/iommu").exists()
}

fn device_file(root: &SysfsRoot, address: PciAddress) -> Option<PathBuf> {
    Some(root.path("/dev/vfio/devices").join(root.vfio_device(address)?))
}

impl IoAddressSpace {
    /// Creates an empty space.
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
    fn join(&self, root: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Membership>, VfioError> {
        check_group(root, address)?;
        let nowhere = || VfioError::NoVfio(root.path("/dev/vfio/devices"));
        let path = device_file(root, address).ok_or_else(nowhere)?;
        Ok(Box::new(Member { iommufd: self.iommufd.clone(), space: self.number, address, path }))
    }
}

impl Membership for Member {
    fn open(&self) -> Result<File, VfioError> {
        let address = self.address;
        let file = open_file(address, self.path.clone())?;
        ioctl::bind_iommufd(&file, &self.iommufd).map_err(|source| match source.raw_os_error() {
            // EINVAL: somebody else bound it by this file; EBUSY: by its group.
            Some(libc::EINVAL | libc::EBUSY) => VfioError::Busy { address, path: self.path.clone() },
            _ => joining(address, "binding it to the iommufd", source),
        })?;
        ioctl::attach_ioas(&file, self.space)
            .map_err(|source| joining(address, "putting it into the I/O address space", source))?;
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
