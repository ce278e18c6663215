//! Format NVM that is under way.

use crate::relay::Relayed;
use crate::subsystem::Formatting;

/// Format NVM that is under way.
pub(super) struct Format {
    /// Command that waits for it; none after a reset.
    pub(super) command: Option<Relayed>,
    /// Keeps others out of the namespace.
    pub(super) formatting: Formatting,
}
