//! A guest's memory, in memfds.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::{InflightRegion, QueueSize, RingLayout};
use luge_memory::{
    DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, PeerMemory, RegionLayout,
};
use luge_spec::vhost_user::inflight_bytes;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Distance of the front end's addresses from the guest's.
const DRIVER_OFFSET: u64 = 0x7f00_0000_0000;

/// A guest's memory: regions in a memfd each, so that neighbours are not contiguous in this process.
pub struct RigMemory {
    /// The regions, and the files they are in.
    pub files: Vec<(RegionLayout, OwnedFd)>,
    /// The device's table of them.
    pub table: Arc<GuestMemory>,
}

impl RigMemory {
    /// Regions of guest memory, each given by its address and length in bytes.
    ///
    /// # Panics
    /// If they overlap or there is no memory: it is for tests.
    #[must_use]
    pub fn new(regions: &[(u64, u64)]) -> Self {
        let space = DmaSpace::new();
        let files: Vec<_> = regions.iter().map(|&(at, len)| Self::file(at, len)).collect();
        let mapped = files.iter().map(|(layout, file)| GuestRegion::map(&space, *layout, file).expect("map"));
        let table = Arc::new(GuestMemory::new(mapped).expect("regions overlap"));
        Self { files, table }
    }

    /// A region for rings, two neighbouring regions for data, and one far away.
    #[must_use]
    pub fn standard() -> Self {
        Self::new(&[Self::RINGS, Self::DATA, Self::MORE_DATA, Self::FAR_DATA])
    }

    /// Region of [`Self::standard`] for rings: address and length in bytes.
    pub const RINGS: (u64, u64) = (0x10_0000, 0x10_0000);
    /// Region for data.
    pub const DATA: (u64, u64) = (0x20_0000, 0x8_0000);
    /// Region for more data: right behind, but not contiguous in the process.
    pub const MORE_DATA: (u64, u64) = (0x28_0000, 0x8_0000);
    /// Region for yet more data, after a hole.
    pub const FAR_DATA: (u64, u64) = (0x1_0000_0000, 0x8_0000);

    /// A ring of `size` entries, with its areas one after the other from `at`.
    ///
    /// # Panics
    /// If there is no ring of that size.
    #[must_use]
    pub fn ring(at: u64, size: u16) -> RingLayout {
        let available = at + 16 * u64::from(size);
        let used = (available + 6 + 2 * u64::from(size)).next_multiple_of(4);
        RingLayout {
            size: QueueSize::new(size.into()).expect("a power of two"),
            descriptors: GuestAddress(at),
            available: GuestAddress(available),
            used: GuestAddress(used),
        }
    }

    /// A region's description and its file.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn file(at: u64, len: u64) -> (RegionLayout, OwnedFd) {
        let file = memfd_create("guest", MemfdFlags::CLOEXEC).expect("memfd");
        ftruncate(&file, len).expect("memory");
        let (guest, driver) = (GuestAddress(at), DriverAddress(at + DRIVER_OFFSET));
        (RegionLayout { guest, driver, len, file_offset: 0 }, file)
    }

    /// The front end's address of a guest address.
    #[must_use]
    pub fn driver_address(at: GuestAddress) -> DriverAddress {
        DriverAddress(at.0 + DRIVER_OFFSET)
    }

    /// Copies out of guest memory, across regions.
    ///
    /// # Panics
    /// If it is not all there.
    pub fn read(&self, at: GuestAddress, to: &mut [u8]) {
        self.each_piece(at, to.len(), |span, range| {
            span.read(&mut to[range]);
        });
    }

    /// `len` bytes of guest memory.
    ///
    /// # Panics
    /// If they are not all there.
    #[must_use]
    pub fn bytes(&self, at: GuestAddress, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read(at, &mut bytes);
        bytes
    }

    /// Copies into guest memory, across regions.
    ///
    /// # Panics
    /// If it is not all there.
    pub fn write(&self, at: GuestAddress, from: &[u8]) {
        self.each_piece(at, from.len(), |span, range| {
            span.write(&from[range]);
        });
    }

    fn each_piece(
        &self,
        at: GuestAddress,
        len: usize,
        mut copy: impl FnMut(luge_memory::Span, std::ops::Range<usize>),
    ) {
        let mut done = 0;
        while done < len {
            let left = u32::try_from(len - done).expect("4 GiB");
            // SAFETY: `self` outlives the span.
            let span = unsafe { self.table.span(GuestAddress(at.0 + done as u64), left) };
            let span = span.expect("no such guest memory");
            let end = done + span.len() as usize;
            copy(span, done..end);
            done = end;
        }
    }
}

/// A fresh in-flight region for one queue of `desc_num` descriptors.
///
/// # Panics
/// If there is no memory.
#[must_use]
pub fn inflight_region(desc_num: u16) -> InflightRegion {
    let memory = PeerMemory::map(inflight_file(1, desc_num), 0, inflight_bytes(desc_num)).expect("memory");
    InflightRegion::new(&Arc::new(memory), 0, desc_num).expect("a region")
}

/// The file of a fresh in-flight region for `queues` queues of `desc_num` descriptors.
///
/// # Panics
/// If there is no memory.
#[must_use]
pub fn inflight_file(queues: u16, desc_num: u16) -> OwnedFd {
    let file = memfd_create("inflight", MemfdFlags::CLOEXEC).expect("memfd");
    ftruncate(&file, inflight_bytes(desc_num) * u64::from(queues)).expect("memory");
    file
}
