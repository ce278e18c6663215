//! A guest's memory, as a front end describes it in messages.

use luge_memory::{
    DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, RegionError, RegionLayout,
};
use std::fs::File;
use std::sync::Arc;
use vhost::vhost_user::message::VhostUserMemoryRegion;

/// The most regions of a front end. Each takes entries in every SSD's IOMMU.
pub(super) const REGIONS_MAX: u64 = 256;

/// Maps a region.
pub(super) fn map(
    space: &Arc<DmaSpace>,
    region: &VhostUserMemoryRegion,
    file: &File,
) -> Result<GuestRegion, RegionError> {
    let layout = RegionLayout {
        guest: GuestAddress(region.guest_phys_addr),
        driver: DriverAddress(region.user_addr),
        len: region.memory_size,
        file_offset: region.mmap_offset,
    };
    GuestRegion::map(space, layout, file)
}

/// Maps all regions of a guest.
pub(super) fn table(
    space: &Arc<DmaSpace>,
    regions: &[VhostUserMemoryRegion],
    files: &[File],
) -> Result<GuestMemory, RegionError> {
    let mut all = regions.iter().zip(files);
    all.try_fold(GuestMemory::default(), |table, (region, file)| table.with(map(space, region, file)?))
}
