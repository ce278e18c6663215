//! Resets of units by initiators of other adapters: they end the requests of this one, too (SAM-5, clause 6.3.3).
//!
//! ```text
//!  (1) told   --no other reset of the unit is waited for--> (2)
//!  (2) begun  --the last request of the unit has ended, and the guest has been shown that--> (3)
//!  (3) over   --> the receipts are dropped, of which the other adapter's function waits
//! ```
//!
//! Invariant: there is one (2) for a unit at a time, however many resets others send. Those that come meanwhile go
//! through (2) together.

use super::cancellation::Cancellation;
use super::waiting::BegunReset;
use super::worker::Worker;
use crate::scsi::cancel::{CancelledAs, Scope};
use crate::scsi::lun::LunAddress;
use luge_reservations::Receipt;
use luge_scsi::UnitReset;
use std::sync::Arc;

impl Worker {
    /// Ends the requests of units that others have reset.
    pub(super) fn end_commands_of_resets(&mut self) {
        let resets = self.shared.notices.take_resets();
        resets.into_iter().for_each(|reset| self.note_told(reset));
        self.finish_resets();
        let begun = &self.resets.begun;
        let ready = self.resets.told.extract_if(.., |address, _| !begun.contains_key(address));
        let ready: Vec<(LunAddress, Vec<Receipt>)> = ready.collect();
        ready.into_iter().for_each(|(address, receipts)| self.begin_reset(address, receipts));
        self.finish_resets();
    }

    /// To (1). A LUN that is gone has no requests.
    fn note_told(&mut self, UnitReset { target, gate, receipt }: UnitReset) {
        if let Some(address) = self.shared.luns().with_gate(target, &gate) {
            self.resets.told.entry(address).or_default().push(receipt);
        }
    }

    /// (1) to (2).
    fn begin_reset(&mut self, address: LunAddress, receipts: Vec<Receipt>) {
        let scope = Scope::Lun(address);
        let wait = Cancellation::begin(scope, CancelledAs::Reset, Arc::default(), &self.shared.sessions());
        self.abandon_changes(scope);
        self.resets.begun.insert(address, BegunReset { wait, _receipts: receipts });
    }

    /// (2) to (3), for resets whose requests have ended.
    fn finish_resets(&mut self) {
        let sessions = self.shared.sessions();
        self.resets.begun.retain(|_, begun| !begun.wait.is_over(&sessions));
    }
}
