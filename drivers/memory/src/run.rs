//! A run of regions: consecutive regions of a table, as many as are copied when one of them changes.
//!
//! Path: none; look-ups read the rows of a run (`lookup`).
//!
//! Invariant: a run has between one and [`REGIONS_MAX`] regions, in order of their addresses.

use crate::GuestAddress;
use crate::lookup::Row;
use crate::region::GuestRegion;
use crate::shared_memory::MemoryId;
use std::sync::Arc;

/// Most regions of a run: the square root of the 65535 that a client of vfio-user may map.
const REGIONS_MAX: usize = 256;

/// Consecutive regions of a table.
pub(crate) struct Run {
    regions: Vec<Arc<GuestRegion>>,
    /// Rows of the regions that are mapped.
    rows: Arc<[Row]>,
    mapped_bytes: u64,
    longest: Option<Longest>,
}

/// The longest region that is mapped.
#[derive(Clone, Copy)]
pub(crate) struct Longest {
    /// Length in bytes.
    pub len: u64,
    /// Identity of its memory file.
    pub id: MemoryId,
}

impl Run {
    /// Most regions of runs that are joined when they lose regions.
    pub const SHORT: usize = REGIONS_MAX / 2;

    /// A run of these regions, of which there is at least one.
    pub fn new(regions: Vec<Arc<GuestRegion>>) -> Self {
        let rows: Arc<[Row]> = regions.iter().filter_map(|region| region.row()).collect();
        let mapped_bytes = rows.iter().map(|row| row.len).fold(0, u64::saturating_add);
        let mapped = regions
            .iter()
            .filter_map(|region| Some(Longest { len: region.layout().len, id: region.memory_id()? }));
        let longest = mapped.max_by_key(|longest| longest.len);
        Self { regions, rows, mapped_bytes, longest }
    }

    /// Runs of these regions, as few as possible.
    pub fn joined<'a>(regions: impl Iterator<Item = &'a Arc<GuestRegion>>) -> Vec<Arc<Self>> {
        let regions: Vec<_> = regions.cloned().collect();
        regions.chunks(REGIONS_MAX).map(|regions| Arc::new(Self::new(regions.to_vec()))).collect()
    }

    /// Copy with one region more; two halves of it if it would be too long.
    pub fn with(&self, region: GuestRegion) -> Vec<Arc<Self>> {
        let at = self.regions.partition_point(|other| other.layout().guest < region.layout().guest);
        let mut regions = self.regions.clone();
        regions.insert(at, Arc::new(region));
        let half = if regions.len() > REGIONS_MAX { regions.len().div_ceil(2) } else { regions.len() };
        regions.chunks(half).map(|regions| Arc::new(Self::new(regions.to_vec()))).collect()
    }

    /// Address of the first region.
    pub fn first(&self) -> GuestAddress {
        self.regions.first().map_or(GuestAddress(0), |region| region.layout().guest)
    }

    /// The last region that begins at `at` or before.
    pub fn last_before(&self, at: GuestAddress) -> Option<&Arc<GuestRegion>> {
        let count = self.regions.partition_point(|region| region.layout().guest <= at);
        self.regions.get(count.checked_sub(1)?)
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// All regions.
    pub fn regions(&self) -> std::slice::Iter<'_, Arc<GuestRegion>> {
        self.regions.iter()
    }

    /// Rows of the regions that are mapped.
    pub fn rows(&self) -> &Arc<[Row]> {
        &self.rows
    }

    /// Bytes of the regions that are mapped.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }

    /// The longest region that is mapped.
    pub fn longest(&self) -> Option<Longest> {
        self.longest
    }
}
