//! A function without a controller: for clients for which the process has no descriptors left. All of it reads as zero.

use luge_memory::GuestMemory;
use luge_vfio_user::{Function, Progress, Region, RegionAccess, RegionIndex};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// A function without a controller.
pub(super) struct Absent;

impl Function for Absent {
    fn region(&self, index: RegionIndex) -> Region {
        if index == RegionIndex::CONFIG {
            let len = luge_spec::pci::EXPRESS_CONFIG_BYTES.into();
            return Region { len, access: RegionAccess::ReadWrite, mappable: None };
        }
        Region::ABSENT
    }

    fn vectors(&self) -> u16 {
        0
    }

    fn read(&mut self, _region: RegionIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, _region: RegionIndex, _offset: u64, _data: &[u8]) {}

    fn set_vectors(&mut self, _first: u16, _eventfds: Vec<Option<OwnedFd>>) {}

    fn trigger(&mut self, _vector: u16) {}

    fn memory_added(&mut self, _memory: &Arc<GuestMemory>) {}

    fn memory_removed(&mut self, _memory: &Arc<GuestMemory>) -> Progress {
        Progress::Done
    }

    fn reset(&mut self) -> Progress {
        Progress::Done
    }

    fn leave_cores(&mut self) {}

    fn failure(&self) -> Option<String> {
        None
    }

    fn progress(&mut self) -> Progress {
        Progress::Done
    }

    fn event(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn wake_at(&self) -> Option<Instant> {
        None
    }

    fn on_event(&mut self) {}
}
