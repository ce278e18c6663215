//! A volume, as the control plane sees it, and composites, which are made of volumes.

use crate::limits::offered;
use crate::locks::Locks;
use crate::{Counters, Histogram, LatencyClass, Membership, Node, Signal, Stats, VolumeId};
use luge_block::{BLOCK_BUFFER_BYTES, Blocks, CoreId, Device, Geometry, Lba, TransferExtent};
use luge_memory::NodeAmounts;
use luge_reservations::Reservations;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Why there is no such volume.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExtentError {
    /// The extent is empty.
    #[error("a volume of no blocks is not possible: ask for one block at least")]
    Empty,
    /// The extent is not on the device.
    #[error("{blocks} blocks from block {first} on are not all on the volume, which has {have}")]
    OutOfRange {
        /// First block.
        first: Lba,
        /// Number of blocks.
        blocks: Blocks,
        /// Blocks of the volume that it was to be a part of.
        have: Blocks,
    },
}

/// A volume made of parts, which are volumes themselves, as the control plane sees it: a mirror, for
/// example. May block; never called from a core.
pub trait Composite: Send + Sync {
    /// Size, limits and abilities.
    fn geometry(&self) -> Geometry;

    /// The volumes it is made of. They do not change.
    fn parts(&self) -> &[Arc<Volume>];

    /// A node for one core, on whose graph the parts have the numbers `parts`, in their order.
    fn open(&self, core: CoreId, parts: &[VolumeId]) -> Box<dyn Node>;
}

/// Source of a volume in the control plane: the volume is an extent of it. Clones are the same.
#[derive(Clone)]
pub enum Source {
    /// A device.
    Device(Arc<dyn Device>),
    /// A volume made of others.
    Composite(Arc<dyn Composite>),
}

impl Source {
    pub(crate) fn geometry(&self) -> Geometry {
        match self {
            Self::Device(device) => device.geometry(),
            Self::Composite(composite) => composite.geometry(),
        }
    }

    /// First block of the source, as its channel or node counts.
    pub(crate) fn window(&self) -> Lba {
        match self {
            Self::Device(device) => device.window(),
            Self::Composite(_) => Lba(0),
        }
    }
}

/// An extent of a device or of a composite, served as a disk of its own.
pub struct Volume {
    source: Source,
    first: Lba,
    /// Number of blocks of a part; none for the whole of a source, which can be resized.
    part: Option<Blocks>,
    read_only: bool,
    /// Locks on the blocks of the source, which all volumes that were made of this one obey.
    locks: Arc<Locks>,
    stats: Arc<Mutex<BTreeMap<CoreId, Arc<Stats>>>>,
    /// One for all who use the volume, whatever they call it.
    reservations: Arc<Reservations>,
}

impl Volume {
    /// The whole of a device.
    #[must_use]
    pub fn whole(device: Arc<dyn Device>) -> Self {
        Self::whole_of(Source::Device(device))
    }

    /// The whole of a composite.
    #[must_use]
    pub fn of_composite(composite: Arc<dyn Composite>) -> Self {
        Self::whole_of(Source::Composite(composite))
    }

    fn whole_of(source: Source) -> Self {
        let read_only = source.geometry().read_only;
        let (locks, stats, reservations) = Default::default();
        Self { source, first: Lba(0), part: None, read_only, locks, stats, reservations }
    }

    /// `blocks` blocks of this volume from its block `first`: a volume on the same source,
    /// so no deeper to go through. It keeps its size when the source is resized. It has reservations of its own: those of this volume do not bind it, nor its own
    /// this volume. So nobody is to be served both.
    ///
    /// # Errors
    /// [`ExtentError`] if that is nothing or not on the volume.
    pub fn part(&self, first: Lba, blocks: Blocks) -> Result<Self, ExtentError> {
        if blocks.0 == 0 {
            return Err(ExtentError::Empty);
        }
        let have = self.blocks();
        match first.0.checked_add(blocks.0) {
            Some(end) if end <= have.0 => {
                let first = Lba(self.first.0 + first.0);
                let (source, locks, read_only) = (self.source.clone(), self.locks.clone(), self.read_only);
                let (stats, reservations) = Default::default();
                Ok(Self { source, first, part: Some(blocks), read_only, locks, stats, reservations })
            }
            _ => Err(ExtentError::OutOfRange { first, blocks, have }),
        }
    }

    /// Returns a view of the same blocks with the same counters and reservations, where everything that changes data
    /// is refused.
    #[must_use]
    pub fn read_only_view(&self) -> Self {
        Self { read_only: true, ..self.view(self.reservations.clone()) }
    }

    /// Returns a view of the same blocks with the same counters that obeys other reservations, which only some users of
    /// the volume share.
    #[must_use]
    pub fn view(&self, reservations: Arc<Reservations>) -> Self {
        let (source, locks, stats) = (self.source.clone(), self.locks.clone(), self.stats.clone());
        Self { source, locks, stats, reservations, ..*self }
    }

    /// Size, limits and abilities: the source's, with the volume's own size. What starts between two
    /// of the source's optimal blocks has none of its own: blocks aligned here are not aligned there.
    /// Writes of the atomic size are never cut, in however many spans they are: it is one that a block
    /// buffer holds.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        let source = self.source.geometry();
        let buffered = (BLOCK_BUFFER_BYTES / source.block_bytes).min(source.transfer_blocks_max);
        let atomic_blocks = source.atomic_blocks.clamp(1, buffered.max(1));
        let aligned = self.first.0.is_multiple_of(source.optimal_blocks.into());
        let optimal_blocks = if aligned { source.optimal_blocks } else { 1 };
        let (blocks, read_only) = (self.part.unwrap_or(source.blocks), self.read_only);
        let operations = offered(&source);
        Geometry { blocks, read_only, atomic_blocks, optimal_blocks, operations, ..source }
    }

    /// Adds the volume on the core of `signal` to those that obey each other's locks on the source's blocks.
    #[must_use]
    pub fn join(&self, signal: &Arc<Signal>) -> Membership {
        // The whole of a source may become larger.
        let end = self.part.map_or(u64::MAX, |blocks| self.first.0.saturating_add(blocks.0));
        self.locks.join(self.first.0..end, signal)
    }

    /// Blocks and limits that reads and writes of the volume are checked against.
    pub(crate) fn transfers(&self) -> TransferExtent {
        let source = self.source.geometry();
        let read_only = self.read_only || source.read_only;
        let blocks = self.part.unwrap_or(source.blocks);
        let extent = TransferExtent::new(&Geometry { read_only, ..source }, self.first, blocks);
        extent.at(self.source.window())
    }

    /// Whether it is the whole of its source, and so has the size that the source has.
    pub(crate) fn is_whole(&self) -> bool {
        self.part.is_none()
    }

    fn blocks(&self) -> Blocks {
        self.part.unwrap_or_else(|| self.source.geometry().blocks)
    }

    /// Source that the volume is an extent of.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Reservations of the volume, which bind all its users on all cores.
    #[must_use]
    pub fn reservations(&self) -> &Arc<Reservations> {
        &self.reservations
    }

    /// Requests that were copied because a device cannot take their memory, on all channels beneath.
    #[must_use]
    pub fn bounced(&self) -> u64 {
        match &self.source {
            Source::Device(device) => device.bounced(),
            Source::Composite(composite) => composite.parts().iter().map(|part| part.bounced()).sum(),
        }
    }

    /// Whether a device beneath it transfers data itself, so that memory must be mapped for it.
    #[must_use]
    pub fn uses_dma(&self) -> bool {
        match &self.source {
            Source::Device(device) => device.uses_dma(),
            Source::Composite(composite) => composite.parts().iter().any(|part| part.uses_dma()),
        }
    }

    /// NUMA nodes of the devices beneath it, as far as they are known.
    #[must_use]
    pub fn nodes(&self) -> NodeAmounts {
        match &self.source {
            Source::Device(device) => device.nodes(),
            Source::Composite(composite) => {
                let mut nodes = NodeAmounts::default();
                composite.parts().iter().for_each(|part| nodes.add_all(&part.nodes()));
                nodes
            }
        }
    }

    /// First block of the volume on its source.
    #[must_use]
    pub fn first(&self) -> Lba {
        self.first
    }

    /// Cores that have counters of the volume: those that serve it or have served it, background cores included.
    #[must_use]
    pub fn counting_cores(&self) -> Vec<CoreId> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The counters of one core.
    #[must_use]
    pub fn stats(&self, core: CoreId) -> Arc<Stats> {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.entry(core).or_insert_with(|| self.new_stats()).clone()
    }

    fn new_stats(&self) -> Arc<Stats> {
        Arc::new(Stats::new(self.source.geometry().block_bytes))
    }

    /// Latencies of a class of requests, of all cores together.
    #[must_use]
    pub fn latencies(&self, class: LatencyClass) -> Histogram {
        self.latencies_where(|other| other == class)
    }

    /// Latencies of some classes of requests, of all cores together.
    #[must_use]
    pub fn latencies_where(&self, counts: impl Fn(LatencyClass) -> bool) -> Histogram {
        let stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Histogram::default();
        for class in LatencyClass::all().filter(|&class| counts(class)) {
            stats.values().for_each(|stats| sum.add(&stats.latencies().read(class)));
        }
        sum
    }

    /// Counts of all cores together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.values().map(|stats| stats.read()).fold(Counters::default(), |sum, more| sum + more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_block::doubles::Scripted;

    fn volume() -> Volume {
        Volume::whole(Arc::new(Scripted::new(Geometry::for_tests(), 1)))
    }

    #[test]
    fn a_part_of_a_part_counts_from_the_part() {
        let part = volume().part(Lba(100), Blocks(200)).unwrap().part(Lba(50), Blocks(150)).unwrap();
        assert_eq!(part.first(), Lba(150));
        let operations = volume().geometry().operations;
        let expected =
            Geometry { blocks: Blocks(150), optimal_blocks: 1, operations, ..Geometry::for_tests() };
        assert_eq!(part.geometry(), expected);
    }

    #[test]
    fn a_part_has_optimal_blocks_only_where_it_starts_with_one_of_its_source() {
        assert_eq!(Geometry::for_tests().optimal_blocks, 8);
        for (first, optimal_blocks) in [(0, 8), (16, 8), (1, 1), (12, 1)] {
            let part = volume().part(Lba(first), Blocks(200)).unwrap();
            assert_eq!(part.geometry().optimal_blocks, optimal_blocks, "from block {first}");
        }
    }

    #[test]
    fn a_part_of_nothing_or_past_the_end_is_refused() {
        let part = volume().part(Lba(100), Blocks(200)).unwrap();
        assert_eq!(part.part(Lba(0), Blocks(0)).err(), Some(ExtentError::Empty));
        for (first, blocks) in [(0, 201), (200, 1), (1, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            let (first, blocks) = (Lba(first), Blocks(blocks));
            let expected = ExtentError::OutOfRange { first, blocks, have: Blocks(200) };
            assert_eq!(part.part(first, blocks).err(), Some(expected));
        }
        assert!(part.part(Lba(199), Blocks(1)).is_ok());
    }
}
