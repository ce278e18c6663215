//! All that exists.

use crate::control::{Bdevs, Budget, Platform, Record};
use std::sync::Arc;

/// All that exists, owned by the control thread.
pub struct Sled {
    /// Cores, memory, folders.
    pub platform: Arc<Platform>,
    /// Memory for disks.
    pub budget: Budget,
    /// Block devices.
    pub bdevs: Bdevs,
    /// The calls that made what exists.
    pub record: Record,
}

impl Sled {
    /// An empty sled.
    #[must_use]
    pub fn new(platform: Arc<Platform>, budget: Budget) -> Self {
        Self { platform, budget, bdevs: Bdevs::default(), record: Record::default() }
    }

    /// Unmakes all that exists, the users of a thing before the thing.
    pub fn clear(&mut self) {
        self.bdevs = Bdevs::default();
        self.record = Record::default();
        self.budget.clear();
    }

    /// Unmakes all that exists, and ends the cores.
    pub fn stop(mut self) {
        self.clear();
        self.platform.cores.iter().for_each(luge_core::CoreHandle::stop);
    }
}
