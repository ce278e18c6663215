//! A volume, as the control plane sees it.

use crate::{Counters, Stats};
use luge_block::{Blocks, CoreId, Device, Geometry, Lba};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Why there is no such volume.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExtentError {
    /// The extent is empty.
    #[error("a volume of no blocks is not possible")]
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

/// An extent of a device, served as a disk of its own.
pub struct Volume {
    device: Arc<dyn Device>,
    first: Lba,
    blocks: Blocks,
    stats: Mutex<BTreeMap<CoreId, Arc<Stats>>>,
}

impl Volume {
    /// The whole of a device.
    #[must_use]
    pub fn whole(device: Arc<dyn Device>) -> Self {
        let blocks = device.geometry().blocks;
        Self { device, first: Lba(0), blocks, stats: Mutex::default() }
    }

    /// `blocks` blocks of this volume from its block `first`: a volume on the same device,
    /// so no deeper to go through.
    ///
    /// # Errors
    /// [`ExtentError`] if that is nothing or not on the volume.
    pub fn part(&self, first: Lba, blocks: Blocks) -> Result<Self, ExtentError> {
        if blocks.0 == 0 {
            return Err(ExtentError::Empty);
        }
        let out_of_range = ExtentError::OutOfRange { first, blocks, have: self.blocks };
        match first.0.checked_add(blocks.0) {
            Some(end) if end <= self.blocks.0 => {
                let first = Lba(self.first.0 + first.0);
                Ok(Self { device: self.device.clone(), first, blocks, stats: Mutex::default() })
            }
            _ => Err(out_of_range),
        }
    }

    /// Size, limits and abilities: the device's, with the volume's own size.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry { blocks: self.blocks, ..self.device.geometry() }
    }

    /// The device it is on.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Its first block on the device.
    #[must_use]
    pub fn first(&self) -> Lba {
        self.first
    }

    /// The counters of one core.
    #[must_use]
    pub fn stats(&self, core: CoreId) -> Arc<Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).entry(core).or_default().clone()
    }

    /// What it did on all cores together.
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
        assert_eq!((part.first(), part.geometry().blocks), (Lba(150), Blocks(150)));
        assert_eq!(part.geometry(), Geometry { blocks: Blocks(150), ..Geometry::for_tests() });
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
