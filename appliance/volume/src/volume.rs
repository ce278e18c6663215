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
    #[error("blocks {first} to {first} + {blocks} are not all on the device, which has {have}")]
    OutOfRange {
        /// First block.
        first: Lba,
        /// Number of blocks.
        blocks: Blocks,
        /// Blocks of the device.
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
