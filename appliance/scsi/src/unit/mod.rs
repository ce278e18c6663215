//! Logical units: the device server.

use luge_volume::Volume;
use std::sync::Arc;

/// A volume as SCSI sees it: one per volume, whatever serves it.
pub struct LogicalUnit {
    volume: Arc<Volume>,
}

impl LogicalUnit {
    /// Volume of the unit.
    #[must_use]
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }
}
