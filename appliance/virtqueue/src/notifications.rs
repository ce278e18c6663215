//! The ways in which driver and device suppress notifications (virtio 1.3, clauses 2.7.7 and 2.7.10).

use serde::{Deserialize, Serialize};

/// Means by which each side says whether it wants to be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notifications {
    /// A flag in each ring.
    Flags,
    /// An index in each ring (`VIRTIO_F_EVENT_IDX`).
    EventIndex,
}
