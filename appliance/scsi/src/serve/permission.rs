//! Commands that are allowed in spite of a unit attention, a transition, or a reservation.

use crate::bytes::u8_at;
use luge_reservations::Rights;
use luge_spec::scsi::start_stop_unit::{POWER_CONDITION, START};
use luge_spec::scsi::{Opcode, ServiceAction};

/// A command, as far as these rules tell commands apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    opcode: Opcode,
    action: ServiceAction,
    /// Fifth byte of the CDB, which says what START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL do.
    order: u8,
}

impl Kind {
    pub(super) fn of(cdb: &[u8]) -> Self {
        let action = ServiceAction(u8_at(cdb, 1) & ServiceAction::MASK);
        Self { opcode: Opcode(u8_at(cdb, 0)), action, order: u8_at(cdb, 4) }
    }

    /// Whether the command is done, and reports no unit attention by its status. SAM-5, clause 5.14.5.
    pub(super) fn disregards_attentions(self) -> bool {
        matches!(self.opcode, Opcode::INQUIRY | Opcode::REPORT_LUNS | Opcode::REQUEST_SENSE)
    }

    /// Whether the command is done while the path is in transition. SPC-4, clause 5.15.2.4.5.
    pub(super) fn disregards_transition(self) -> bool {
        let is_report =
            self.opcode == Opcode::MAINTENANCE_IN && self.action == ServiceAction::REPORT_TARGET_PORT_GROUPS;
        self.disregards_attentions() || is_report
    }

    /// Rights that the initiator must have, else there is a reservation conflict. SPC-4, table 66; SBC-3, table 9:
    /// what another's Write Exclusive allows needs the right to read, what Exclusive Access allows needs none.
    pub(super) fn needs(self) -> Rights {
        match self.opcode {
            Opcode::INQUIRY
            | Opcode::LOG_SENSE
            | Opcode::PERSISTENT_RESERVE_IN
            | Opcode::PERSISTENT_RESERVE_OUT
            | Opcode::READ_CAPACITY_10
            | Opcode::RELEASE_6
            | Opcode::RELEASE_10
            | Opcode::REPORT_LUNS
            | Opcode::REQUEST_SENSE
            | Opcode::RESERVE_6
            | Opcode::RESERVE_10
            | Opcode::TEST_UNIT_READY => Rights::None,
            Opcode::MODE_SENSE_6
            | Opcode::MODE_SENSE_10
            | Opcode::READ_6
            | Opcode::READ_10
            | Opcode::READ_12
            | Opcode::READ_16
            | Opcode::VERIFY_10
            | Opcode::VERIFY_12
            | Opcode::VERIFY_16 => Rights::Read,
            Opcode::MAINTENANCE_IN => self.needs_of_report(),
            Opcode::SERVICE_ACTION_IN_16 => self.needs_of_service_action(),
            Opcode::PREVENT_ALLOW_MEDIUM_REMOVAL if self.order & PREVENT == 0 => Rights::None,
            Opcode::START_STOP_UNIT if self.order & (START | POWER_CONDITION) == START => Rights::None,
            _ => Rights::ReadWrite,
        }
    }

    fn needs_of_report(self) -> Rights {
        match self.action {
            ServiceAction::REPORT_TARGET_PORT_GROUPS => Rights::None,
            _ => Rights::Read,
        }
    }

    fn needs_of_service_action(self) -> Rights {
        match self.action {
            ServiceAction::READ_CAPACITY_16 => Rights::None,
            _ => Rights::Read,
        }
    }

    /// Whether the command is a conflict while another initiator holds the unit by RESERVE, although it needs no
    /// rights. SPC-2, table 11.
    pub(super) fn conflicts_with_hold(self) -> bool {
        matches!(
            self.opcode,
            Opcode::TEST_UNIT_READY | Opcode::PERSISTENT_RESERVE_IN | Opcode::PERSISTENT_RESERVE_OUT
        )
    }
}

/// PREVENT of PREVENT ALLOW MEDIUM REMOVAL.
const PREVENT: u8 = 3;
