//! A guest's memory, as a front end describes it in messages.

use crate::served::Served;
use luge_memory::{
    DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, RegionError, RegionLayout,
};
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use thiserror::Error;
use vhost::vhost_user::message::VhostUserMemoryRegion;

/// Memory that a front end had shared is gone.
#[derive(Debug, Error)]
#[error("it has taken memory of its guest away (is its memory file shortened, or out of hugepages?)")]
pub(super) struct Lost;

/// The most regions of a front end. Each takes entries in every SSD's IOMMU.
pub(super) const REGIONS_MAX: u64 = 256;

/// Maps memory of a front end.
pub(super) struct Mapper {
    /// Address space of the SSDs, in which guest memory is mapped, too.
    pub(super) space: Arc<DmaSpace>,
    /// Connection of the front end, which is shut down if memory of its goes missing.
    pub(super) connection: Arc<UnixStream>,
}

impl Mapper {
    /// Maps a region.
    pub(super) fn map(
        &self,
        region: &VhostUserMemoryRegion,
        file: &File,
    ) -> Result<GuestRegion, RegionError> {
        let layout = RegionLayout {
            guest: GuestAddress(region.guest_phys_addr),
            driver: DriverAddress(region.user_addr),
            len: region.memory_size,
            file_offset: region.mmap_offset,
        };
        Ok(GuestRegion::map(&self.space, layout, file)?.tied_to(&self.connection))
    }

    /// Maps all regions of a guest.
    pub(super) fn table(
        &self,
        regions: &[VhostUserMemoryRegion],
        files: &[File],
    ) -> Result<GuestMemory, RegionError> {
        let mut all = regions.iter().zip(files);
        all.try_fold(GuestMemory::default(), |table, (region, file)| table.with(self.map(region, file)?))
    }
}

/// Logs the regions that no core may touch, if there are some.
pub(super) fn warn_of_unreached(served: &Served, memory: &GuestMemory) {
    let name = &served.name;
    for RegionLayout { guest, len, .. } in memory.unreached() {
        served.log.unreached.line(|| {
            tracing::warn!(
                "{name}: the {len} bytes at guest address {guest} are in a file that is not memory; requests \
                 with buffers there fail: back them by a memfd, or by a file on tmpfs or hugetlbfs"
            );
        });
    }
}
