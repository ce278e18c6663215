//! Relayed requests that wait.

use super::cancellation::Cancellation;
use super::sessions::{SeatName, Sessions};
use crate::scsi::cancel::Scope;
use crate::scsi::lun::LunAddress;
use crate::scsi::relay::RelayedId;
use luge_reservations::{Change, Receipt};
use std::collections::BTreeMap;

/// Name of a relayed request, by which its session finds it again.
#[derive(Clone, Copy)]
pub(super) struct RequestName {
    pub(super) seat: SeatName,
    pub(super) id: RelayedId,
}

/// A task management function that waits for requests in flight.
pub(super) struct WaitingFunction {
    pub(super) name: RequestName,
    pub(super) wait: Cancellation,
    /// End of what a reset of the unit changes for other initiators.
    pub(super) change: Option<Change>,
}

impl WaitingFunction {
    /// Whether everything that the function waits for has ended.
    pub(super) fn is_over(&mut self, sessions: &Sessions) -> bool {
        self.wait.is_over(sessions) && self.change.as_ref().is_none_or(Change::is_over)
    }
}

/// A command that waits until every core obeys what it has changed.
pub(super) struct WaitingCommand {
    pub(super) name: RequestName,
    pub(super) address: LunAddress,
    pub(super) tag: u64,
    pub(super) change: Change,
    /// Bytes of data-out that it has asked for.
    pub(super) data_out_bytes: u32,
}

impl WaitingCommand {
    /// Whether a function is about the command.
    pub(super) fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Task { lun, tag } => self.address == lun && self.tag == tag,
            Scope::Lun(lun) => self.address == lun,
            Scope::Target(target) => self.address.target == target,
            Scope::All => true,
        }
    }
}

/// Resets of units by initiators of other adapters.
#[derive(Default)]
pub(super) struct Resets {
    /// (1) of `resets.rs`, with the receipts of each unit.
    pub(super) told: BTreeMap<LunAddress, Vec<Receipt>>,
    /// (2) of `resets.rs`.
    pub(super) begun: BTreeMap<LunAddress, BegunReset>,
}

/// A reset by others that requests of this adapter keep from being over.
pub(super) struct BegunReset {
    pub(super) wait: Cancellation,
    /// Held until the requests have ended.
    pub(super) _receipts: Vec<Receipt>,
}
