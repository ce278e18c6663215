//! A guest's memory, as a front end describes it in messages.

use crate::served::Served;
use crate::state::RegionState;
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

/// Where memory is mapped: for which SSDs, and the connection that ends if it is lost.
pub(super) struct Place {
    pub(super) space: Arc<DmaSpace>,
    pub(super) connection: Arc<UnixStream>,
}

/// Maps a region.
pub(super) fn map(
    place: &Place,
    region: &VhostUserMemoryRegion,
    file: &File,
) -> Result<GuestRegion, RegionError> {
    let layout = RegionLayout {
        guest: GuestAddress(region.guest_phys_addr),
        driver: DriverAddress(region.user_addr),
        len: region.memory_size,
        file_offset: region.mmap_offset,
    };
    Ok(GuestRegion::map(&place.space, layout, file)?.tied_to(&place.connection))
}

/// Description of a region, for another process.
pub(super) fn state(region: &GuestRegion) -> RegionState {
    let RegionLayout { guest, driver, len, file_offset } = region.layout();
    RegionState { guest: guest.0, driver: driver.0, len, file_offset }
}

/// Message that describes the region of a state.
pub(super) fn message(state: &RegionState) -> VhostUserMemoryRegion {
    let RegionState { guest, driver, len, file_offset } = *state;
    VhostUserMemoryRegion::new(guest, len, driver, file_offset)
}

/// Logs which regions are none that a core may touch, if there are some.
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

/// Maps all regions of a guest.
pub(super) fn table(
    place: &Place,
    regions: &[VhostUserMemoryRegion],
    files: &[File],
) -> Result<GuestMemory, RegionError> {
    let mut all = regions.iter().zip(files);
    all.try_fold(GuestMemory::default(), |table, (region, file)| table.with(map(place, region, file)?))
}
