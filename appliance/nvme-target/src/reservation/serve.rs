//! Dispatch of reservation commands.

use super::command::Order;
use super::report::{HostIds, bytes};
use crate::admin::{INVALID_FIELD, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::Controller;
use crate::ids::NamespaceId;
use crate::relay::Relayed;
use luge_reservations::Refused;
use luge_spec::nvme::{Fuse, IoOpcode, ReservationKeys, StatusCode, SubmissionEntry, reservation_command};
use zerocopy::FromBytes;

/// The host does not say whose command it is, or the namespace is not what commands can be sent to.
const NO_NAMESPACE: CommandStatus = CommandStatus::refused(StatusCode::INVALID_NAMESPACE);

impl Controller {
    /// Serves a reservation command.
    pub(crate) fn reservation_command(&mut self, command: &Relayed) -> Reply {
        let entry = &command.entry;
        if !self.parts.config.has_io(IoOpcode(entry.opcode)) {
            return refuse(StatusCode::INVALID_OPCODE);
        }
        if entry.fuse() != Fuse::NORMAL {
            return Err(INVALID_FIELD);
        }
        let id = NamespaceId(entry.namespace);
        if id == NamespaceId::ALL {
            return Err(NO_NAMESPACE);
        }
        let served = self.active(id)?;
        if let Some(refusal) = served.refusal() {
            return Err(refusal);
        }
        match IoOpcode(entry.opcode) {
            IoOpcode::RESERVATION_REPORT => self.report_reservations(entry),
            opcode => self.change_reservations(Order::parse(opcode, first(entry))?, command),
        }
    }

    /// Reservation Register, Acquire and Release: completed when every core obeys.
    fn change_reservations(&mut self, order: Order, command: &Relayed) -> Reply {
        let keys = self.keys(order, &command.entry)?;
        let id = NamespaceId(command.entry.namespace);
        match self.begin_change(id, order.with(keys), command) {
            Some(Ok(())) => {
                // It may be over already.
                self.go_on();
                Ok(Outcome::Later)
            }
            Some(Err(refused)) => Err(status(refused)),
            None => Err(NO_NAMESPACE),
        }
    }

    fn keys(&self, order: Order, entry: &SubmissionEntry) -> Result<ReservationKeys, CommandStatus> {
        if order.has_one_key() {
            let current = u64::from_le_bytes(self.host_data::<8>(entry)?);
            return Ok(ReservationKeys { current, other: 0 });
        }
        let keys = self.host_data::<16>(entry)?;
        Ok(ReservationKeys::read_from_bytes(&keys).unwrap_or_default())
    }

    /// Reservation Report.
    fn report_reservations(&self, entry: &SubmissionEntry) -> Reply {
        let [words_z, cdw11, ..] = entry.cdw10;
        let host_ids = match cdw11 & reservation_command::EXTENDED {
            0 => HostIds::Short,
            _ => HostIds::Long,
        };
        self.check_host_ids(host_ids)?;
        let bytes_max = u64::from(words_z).saturating_add(1).saturating_mul(4);
        let transfer_max = self.parts.config.transfer_bytes;
        if bytes_max > transfer_max.into() {
            return Err(INVALID_FIELD);
        }
        let report = self.reservation_report(NamespaceId(entry.namespace)).ok_or(NO_NAMESPACE)?;
        let report = bytes(&report, self.target(), host_ids);
        let asked = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.to_host(entry, report.get(..asked).unwrap_or(&report))?;
        Ok(Outcome::DONE)
    }

    /// Checks that a report is for host identifiers as this host has one. A host without one may choose.
    fn check_host_ids(&self, asked: HostIds) -> Result<(), CommandStatus> {
        let features = &self.state.features;
        let has_one = features.host_id != [0; 16];
        let own = if features.is_short_host_id { HostIds::Short } else { HostIds::Long };
        if has_one && asked != own { refuse(StatusCode::HOST_ID_INCONSISTENT) } else { Ok(()) }
    }
}

fn first(entry: &SubmissionEntry) -> u32 {
    let [cdw10, ..] = entry.cdw10;
    cdw10
}

/// Status of a command that was refused.
fn status(refused: Refused) -> CommandStatus {
    match refused {
        Refused::Conflict => CommandStatus::refused(StatusCode::RESERVATION_CONFLICT),
        Refused::ZeroKey | Refused::WrongType | Refused::CannotMove => INVALID_FIELD,
        // Others may unregister.
        Refused::NoRoom => CommandStatus::failed(StatusCode::INTERNAL_ERROR),
        Refused::NoIdentity => CommandStatus::failed(StatusCode::INTERNAL_ERROR),
    }
}
