//! Groups in a container: `/dev/vfio/vfio` with a type 1 IOMMU, and `/dev/vfio/GROUP`.
//!
//! Invariants
//! - A group is open once in this process, however many of its devices are, because the kernel allows
//!   one open file.
//! - The IOMMU is set when the first group is in the container. When the last group leaves, the kernel
//!   drops IOMMU and mappings, so a container is not used again after that.

use super::contract::{Domain, Member};
use super::errors::{all_unmapped, joining, not_mapped, open_file};
use crate::iommu_group::check_group;
use crate::reply::{Reply, iova_ranges};
use crate::{BindError, PciAddress, SysfsRoot, VfioError, ioctl};
use luge_memory::{Iommu, Iova, IovaRange, Mapping};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use vfio_bindings::bindings::vfio::VFIO_GROUP_FLAGS_VIABLE;

/// A container with its groups.
pub struct Container {
    file: File,
    groups: Mutex<Vec<Weak<Group>>>,
}

/// A group in a container.
struct Group {
    number: u32,
    file: File,
}

/// A function of a group. Dropping the last one closes the group.
struct GroupMember {
    group: Arc<Group>,
    address: PciAddress,
}

impl Container {
    /// Opens an empty container.
    pub fn open(root: &SysfsRoot, address: PciAddress) -> Result<Self, VfioError> {
        let file = open_file(address, root.path("/dev/vfio/vfio"))?;
        Ok(Self { file, groups: Mutex::default() })
    }

    fn group(&self, root: &SysfsRoot, address: PciAddress) -> Result<Arc<Group>, VfioError> {
        let number = check_group(root, address)?;
        let mut groups = self.groups();
        groups.retain(|group| group.strong_count() > 0);
        if let Some(group) = groups.iter().filter_map(Weak::upgrade).find(|group| group.number == number) {
            return Ok(group);
        }
        let group = Arc::new(Group::open(root, address, number)?);
        ioctl::set_container(&group.file, &self.file)
            .map_err(|source| joining(address, "putting its group into the container", source))?;
        if groups.is_empty() {
            ioctl::set_type1v2(&self.file)
                .map_err(|source| joining(address, "setting the container's IOMMU", source))?;
        }
        groups.push(Arc::downgrade(&group));
        Ok(group)
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Weak<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn open(root: &SysfsRoot, address: PciAddress, number: u32) -> Result<Self, VfioError> {
        let file = open_file(address, root.path(&format!("/dev/vfio/{number}")))?;
        let flags = ioctl::group_flags(&file).map_err(|source| VfioError::Kernel {
            address,
            what: "reading the state of its group",
            source,
        })?;
        if flags & VFIO_GROUP_FLAGS_VIABLE == 0 {
            let others = "other functions".to_owned();
            return Err(BindError::GroupNotViable { address, group: number, others }.into());
        }
        Ok(Self { number, file })
    }
}

impl Domain for Container {
    fn join(&self, root: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Member>, VfioError> {
        Ok(Box::new(GroupMember { group: self.group(root, address)?, address }))
    }
}

impl Member for GroupMember {
    fn open(&self) -> Result<File, VfioError> {
        let kernel =
            |source| VfioError::Kernel { address: self.address, what: "opening the function", source };
        let name = CString::new(self.address.to_string()).map_err(|error| kernel(error.into()))?;
        ioctl::device(&self.group.file, &name).map_err(kernel)
    }
}

impl Iommu for Container {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        let info = ioctl::iommu_info(&self.file)?;
        let silent = "the kernel does not report valid I/O virtual addresses: it is older than 5.4";
        iova_ranges(Reply(&info)).ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, silent))
    }

    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
        ioctl::map_dma(&self.file, iova, memory).map_err(|error| not_mapped(iova, memory, &error))
    }

    fn unmap(&self, iova: Iova, len: u64) -> io::Result<()> {
        all_unmapped(iova, len, ioctl::unmap_dma(&self.file, iova, len)?)
    }
}
