//! The state of a split ring as plain data, by which another process goes on with the ring.
//!
//! Path: none; the state is read when a ring has stopped, and used when it starts again.
//!
//! Not here, because a ring that has stopped is without it: chains that were taken and not given back, and
//! used elements that were not published. Not here, because it is in shared memory: descriptors, both rings,
//! the driver's event index, and the in-flight region. Not here, because it is made anew: the device's event
//! index, which a core writes before it sleeps. Eventfds, features and front-end addresses are the connection's.

use crate::layout::{QueueSize, RingError, RingLayout};
use crate::notifications::Notifications;
use luge_memory::GuestAddress;
use serde::{Deserialize, Serialize};

/// State of a ring from which all chains that were taken have been given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingState {
    /// Number of entries.
    pub size: u16,
    /// Guest physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest physical address of the available ring.
    pub available: u64,
    /// Guest physical address of the used ring.
    pub used: u64,
    /// Means by which each side says whether it wants to be notified.
    pub notifications: Notifications,
    /// Available index of the next chain to take.
    pub next_available: u16,
    /// Used index that the driver can see.
    pub used_index: u16,
    /// Whether the ring notes its chains in an in-flight region, which the next queue needs then.
    pub is_tracked: bool,
}

impl RingState {
    /// Place of the ring in guest memory.
    ///
    /// # Errors
    /// [`RingError::Size`].
    pub fn layout(&self) -> Result<RingLayout, RingError> {
        let [descriptors, available, used] = [self.descriptors, self.available, self.used].map(GuestAddress);
        Ok(RingLayout { size: QueueSize::new(self.size.into())?, descriptors, available, used })
    }
}
