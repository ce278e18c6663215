//! Place of a LUN on its adapter.

use std::fmt;

/// Place of a LUN on its adapter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LunAddress {
    /// Number of the target.
    pub target: u8,
    /// Logical unit number on the target.
    pub lun: u8,
}

impl fmt::Display for LunAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LUN {} of target {}", self.lun, self.target)
    }
}
