//! Notices of logical units to the adapter that serves them.

use crate::scsi::relay::Relay;
use luge_reservations::Receipt;
use luge_scsi::{UnitListener, UnitReset};
use std::sync::{Arc, Mutex, PoisonError};

/// Notices of logical units to the adapter that serves them.
pub(super) struct Notices {
    relay: Arc<Relay>,
    /// Receipts of changed views, which are dropped when the cores have them.
    changed_views: Mutex<Vec<Receipt>>,
    /// Resets of units by other initiators.
    resets: Mutex<Vec<UnitReset>>,
}

impl Notices {
    pub(super) fn new(relay: &Arc<Relay>) -> Self {
        Self { relay: relay.clone(), changed_views: Mutex::default(), resets: Mutex::default() }
    }

    /// Takes the receipts of views that have changed since the last call.
    pub(super) fn take_changed_views(&self) -> Vec<Receipt> {
        std::mem::take(&mut self.changed_views.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the resets of units since the last call.
    pub(super) fn take_resets(&self) -> Vec<UnitReset> {
        std::mem::take(&mut self.resets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl UnitListener for Notices {
    fn view_changed(&self, receipt: Receipt) {
        self.changed_views.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
        self.relay.ring();
    }

    fn unit_reset(&self, reset: UnitReset) {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner).push(reset);
        self.relay.ring();
    }

    fn change_over(&self) {
        self.relay.ring();
    }
}
