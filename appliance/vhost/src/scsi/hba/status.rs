//! Status of a host bus adapter, for its operator.

use crate::scsi::lun::LunAddress;
use luge_scsi::LogicalUnit;
use std::sync::Arc;

/// State of a LUN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LunPhase {
    /// The LUN's volume is being opened on the cores.
    Attaching,
    /// Guests can use it.
    Live,
    /// Guests cannot use it any more, and its last requests have not ended.
    Removing,
}

/// Status of a LUN.
#[derive(Clone)]
pub struct LunStatus {
    /// Place of the LUN.
    pub address: LunAddress,
    /// Logical unit.
    pub unit: Arc<LogicalUnit>,
    /// State.
    pub phase: LunPhase,
    /// Whether the guest has been told of the present size: true until the first resize.
    pub has_seen_size: bool,
}
