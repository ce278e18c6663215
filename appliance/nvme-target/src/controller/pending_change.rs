//! Reservation commands that wait.

use crate::relay::Relayed;
use luge_reservations::Change;

/// A reservation command, and the change that it waits for.
pub(super) struct PendingChange {
    pub(super) change: Change,
    pub(super) command: Relayed,
}
