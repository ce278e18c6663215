//! Shadow doorbells that the host of the admin queues may use, and has not used yet.

use crate::queues::{Doorbell, Doorbells};

/// Shadow doorbells that the host of the admin queues may use, and has not used yet.
pub(super) struct OfferedDoorbells {
    pub(super) doorbells: Doorbells,
    pub(super) tail: Doorbell,
    /// Value of the tail that is not the host's.
    pub(super) first: u32,
}

impl OfferedDoorbells {
    /// Whether the host has stored a tail.
    pub(super) fn are_used(&self) -> bool {
        self.tail.load() != self.first
    }
}
