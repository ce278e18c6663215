//! Reservations of a controller's namespaces.
//!
//! ```text
//!  (1) begun  --every core obeys, and what is aborted has ended--> (2) completed
//!  (1) begun  --the controller is reset--> not completed; the change goes on
//! ```

use super::device::Controller;
use super::pending_change::PendingChange;
use super::reservation_log::kind;
use crate::commands::CommandStatus;
use crate::ids::NamespaceId;
use crate::relay::Relayed;
use luge_reservations::{Action, Refused, Report, Rights};
use luge_spec::nvme::AsyncEvent;
use std::sync::Arc;

impl Controller {
    /// (1): begins to change the reservations of a namespace, for a command that is completed when the change is over.
    /// None for a namespace that is not mounted.
    pub(crate) fn begin_change(
        &mut self,
        id: NamespaceId,
        action: Action,
        command: &Relayed,
    ) -> Option<Result<(), Refused>> {
        let relay = self.parts.relay.clone();
        let change = self.mounts.nexus(id)?.begin(action, Arc::new(move || relay.ring()));
        Some(change.map(|change| self.changes.push(PendingChange { change, command: *command })))
    }

    /// (1) to (2): completes the commands whose changes are over.
    pub(super) fn finish_changes(&mut self) {
        let over: Vec<PendingChange> =
            self.changes.extract_if(.., |pending| pending.change.is_over()).collect();
        over.iter().for_each(|pending| self.complete(&pending.command, CommandStatus::SUCCESS, 0));
    }

    /// Reservation and registrants of a namespace.
    pub(crate) fn reservation_report(&self, id: NamespaceId) -> Option<Report> {
        self.mounts.nexus(id).map(luge_reservations::Nexus::report)
    }

    /// Rights of the host to a namespace.
    pub(crate) fn rights(&self, id: NamespaceId) -> Rights {
        self.mounts.nexus(id).map_or(Rights::ReadWrite, luge_reservations::Nexus::rights)
    }

    /// Number of the subsystem among the ports of nexuses.
    pub(crate) fn target(&self) -> u64 {
        u64::try_from(Arc::as_ptr(&self.parts.subsystem).addr()).unwrap_or(0)
    }

    /// Adds the notices that have come to the log, but for those that the host does not want, and tells the host.
    pub(crate) fn take_notices(&mut self) {
        for (id, notice) in self.mounts.take_notices() {
            let mask = self.state.features.reservation_mask.get(&id.0).copied().unwrap_or(0);
            let is_wanted = mask >> kind(notice) & 1 == 0;
            if self.state.serves() && is_wanted && self.namespaces.contains_key(&id) {
                self.state.reservation_notices.add(id.0, kind(notice));
                self.add_event(AsyncEvent::RESERVATION_NOTIFICATION);
            }
        }
    }

    /// The host has read a notification. If there are more, it is told again.
    pub(crate) fn notification_was_read(&mut self) {
        if self.state.reservation_notices.was_read() {
            self.state.events.add(AsyncEvent::RESERVATION_NOTIFICATION);
        }
    }
}
