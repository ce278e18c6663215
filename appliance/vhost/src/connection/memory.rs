//! A guest's memory, as a front end describes it in messages.

use crate::served::Served;
use crate::state::RegionState;
use luge_core::BackgroundError;
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

/// Memory has kept a core waiting, and its front end cannot be served elsewhere.
#[derive(Debug, Error)]
#[error(
    "its memory keeps cores waiting (are holes made in its file?), and a core of its own is not possible: {0}"
)]
pub(super) struct Costly(pub(super) BackgroundError);

/// The most regions of a front end. Each takes entries in every SSD's IOMMU.
pub(super) const REGIONS_MAX: u64 = 256;

/// Regions whose file descriptors are among those of the endpoint.
const REGIONS_OF_ENDPOINT: usize = 8;

/// File descriptors of so many regions, beside those of the endpoint: each may be of a file of its own, which stays open.
pub(super) fn descriptors(regions: usize) -> u64 {
    regions.saturating_sub(REGIONS_OF_ENDPOINT) as u64
}

/// Where memory is mapped: for the SSDs too if the device uses them, and the connection that ends if it is lost.
pub(super) struct MappingTarget {
    pub(super) space: Option<Arc<DmaSpace>>,
    pub(super) connection: Arc<UnixStream>,
}

impl MappingTarget {
    /// Maps a region.
    fn map(&self, layout: RegionLayout, file: &File) -> Result<GuestRegion, RegionError> {
        let region = match &self.space {
            Some(space) => GuestRegion::map(space, layout, file),
            None => GuestRegion::map_for_process(layout, file),
        };
        region?.tied_to(&self.connection)
    }
}

/// A guest's memory with one region more.
pub(super) fn add(
    place: &MappingTarget,
    table: &GuestMemory,
    region: &VhostUserMemoryRegion,
    file: &File,
) -> Result<GuestMemory, RegionError> {
    let layout = RegionLayout {
        guest: GuestAddress(region.guest_phys_addr),
        driver: DriverAddress(region.user_addr),
        len: region.memory_size,
        file_offset: region.mmap_offset,
    };
    table.check_room(&layout, file)?;
    table.with(place.map(layout, file)?)
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

/// Logs which regions a core may not touch, if there are some.
pub(super) fn warn_of_unmapped(served: &Served, memory: &GuestMemory) {
    let name = &served.name;
    for region in memory.unmapped() {
        let RegionLayout { guest, len, .. } = region.layout();
        let Some(reason) = region.unmappable() else { continue };
        served.log.unmapped.line(|| {
            tracing::warn!(
                "{name}: requests with buffers in the {len} bytes at guest address {guest} fail: they are in {reason}"
            );
        });
    }
}

/// Maps all regions of a guest.
pub(super) fn table(
    place: &MappingTarget,
    regions: &[VhostUserMemoryRegion],
    files: &[File],
) -> Result<GuestMemory, RegionError> {
    let mut all = regions.iter().zip(files);
    all.try_fold(GuestMemory::default(), |table, (region, file)| add(place, &table, region, file))
}
