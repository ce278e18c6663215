//! From a command to its answer.
//!
//! Whatever keeps a command from being looked at comes in this order: a reset that the initiator has to be told of, a
//! path in transition, a reservation conflict, another unit attention (SAM-5, clause 5.3.3); then its CDB is checked, and
//! whether the unit is started.

use super::exchange::{Answer, Incoming, Reply};
use super::permission::Kind;
use super::sense::request_sense;
use super::small;
use crate::attention::Attention;
use crate::bytes::u8_at;
use crate::capacity::{get_lba_status, read_capacity_10, read_capacity_16};
use crate::catalog::{self, Entry};
use crate::command::Command;
use crate::decode::decode;
use crate::ports::AccessState;
use crate::sense::Sense;
use crate::status::Ending;
use crate::unit::Nexus;
use crate::view::UnitView;
use crate::{inquiry, log, mode, report, reservation};
use luge_reservations::{Hold, Rights};
use luge_spec::scsi::{AdditionalSense, Opcode, SenseKey, ServiceAction};

const TRANSITION: Sense = Sense::new(SenseKey::NOT_READY, AdditionalSense::ACCESS_STATE_TRANSITION);
const STOPPED: Sense = Sense::new(SenseKey::NOT_READY, AdditionalSense::INITIALIZING_COMMAND_REQUIRED);
const NOTHING: Sense = Sense::new(SenseKey::NO_SENSE, AdditionalSense::NONE);

impl Nexus {
    /// Serves a command. Waits for nothing.
    #[must_use]
    pub fn serve(&self, incoming: &Incoming<'_>) -> Reply {
        let view = self.unit.view();
        let reply = self.try_serve(incoming, &view);
        reply.unwrap_or_else(|ending| Reply::Done(Answer::bare(ending, view.sense_format)))
    }

    fn try_serve(&self, incoming: &Incoming<'_>, view: &UnitView) -> Result<Reply, Ending> {
        let kind = Kind::of(incoming.cdb);
        let entry = catalog::find(incoming.cdb, view);
        self.check_resets(kind)?;
        self.check_path(kind)?;
        // A command that the unit does not have conflicts with nothing.
        if entry.is_ok() && self.conflicts(kind) {
            return Err(Ending::RESERVATION_CONFLICT);
        }
        self.check_attentions(kind)?;
        let entry = entry?;
        self.check_started(entry)?;
        self.dispatch(entry, incoming, view)
    }

    /// Reports a reset that the initiator was not told of.
    fn check_resets(&self, kind: Kind) -> Result<(), Ending> {
        let pending = self.pending(kind).filter(|attention| attention.precedes_conflicts());
        pending.map_or(Ok(()), |attention| Err(self.report(attention)))
    }

    /// Refuses a command while the path is in transition.
    fn check_path(&self, kind: Kind) -> Result<(), Ending> {
        let state = self.link.access_state();
        let is_refused = state == AccessState::Transitioning && !kind.disregards_transition();
        if is_refused { Err(TRANSITION.into()) } else { Ok(()) }
    }

    /// Refuses a command that needs the medium while the unit is stopped. SBC-4, clause 4.20.5.
    fn check_started(&self, entry: &Entry) -> Result<(), Ending> {
        let needs_it = entry.kind.needs_medium() || entry.opcode() == Opcode::TEST_UNIT_READY;
        if needs_it && self.unit.is_stopped() { Err(STOPPED.into()) } else { Ok(()) }
    }

    /// Reports a unit attention.
    fn check_attentions(&self, kind: Kind) -> Result<(), Ending> {
        self.pending(kind).map_or(Ok(()), |attention| Err(self.report(attention)))
    }

    /// The unit attention that a command would report.
    fn pending(&self, kind: Kind) -> Option<Attention> {
        self.link.attentions.first().filter(|_| !kind.disregards_attentions())
    }

    /// End of a command that reports a unit attention, which is no longer pending then.
    fn report(&self, attention: Attention) -> Ending {
        self.link.attentions.clear(attention);
        Sense::new(SenseKey::UNIT_ATTENTION, attention.code()).into()
    }

    fn conflicts(&self, kind: Kind) -> bool {
        let rights = self.reservations().rights();
        let is_excluded = || rights == Rights::None && self.reservations().hold() == Hold::Another;
        rights < kind.needs() || kind.conflicts_with_hold() && is_excluded()
    }

    fn dispatch(&self, entry: &Entry, incoming: &Incoming<'_>, view: &UnitView) -> Result<Reply, Ending> {
        if entry.kind.needs_medium() {
            return Ok(Reply::GoOn);
        }
        match entry.opcode() {
            Opcode::PERSISTENT_RESERVE_OUT => reservation::change(self, incoming),
            Opcode::RESERVE_6 | Opcode::RESERVE_10 => reservation::hold(self),
            Opcode::RELEASE_6 | Opcode::RELEASE_10 => reservation::unhold(self),
            Opcode::MODE_SELECT_6 | Opcode::MODE_SELECT_10 => self.mode_select(incoming, view),
            Opcode::START_STOP_UNIT => self.start_stop(incoming.cdb, view),
            _ => {
                let data_in = self.data(incoming, view)?;
                Ok(Reply::Done(Answer { ending: Ending::GOOD, data_in, format: view.sense_format }))
            }
        }
    }

    fn mode_select(&self, incoming: &Incoming<'_>, view: &UnitView) -> Result<Reply, Ending> {
        let geometry = self.unit.geometry();
        let select = |settings| mode::select(incoming, &geometry, settings);
        let change = self.unit.change_settings(&self.link, self.waker(), select)?;
        Ok(change.map_or_else(|| Reply::Done(Answer::bare(Ending::GOOD, view.sense_format)), Reply::Later))
    }

    fn start_stop(&self, cdb: &[u8], view: &UnitView) -> Result<Reply, Ending> {
        match small::start_stop_unit(cdb)? {
            small::PowerChange::Start => self.unit.start(),
            small::PowerChange::Stop => self.unit.stop(),
        }
        // What is in the volatile cache is written by the core.
        let is_flushed = decode(cdb, view)? == Command::Stop;
        Ok(if is_flushed { Reply::GoOn } else { Reply::Done(Answer::bare(Ending::GOOD, view.sense_format)) })
    }

    /// Data of a command that changes nothing.
    fn data(&self, incoming: &Incoming<'_>, view: &UnitView) -> Result<Vec<u8>, Sense> {
        let cdb = incoming.cdb;
        match Opcode(u8_at(cdb, 0)) {
            Opcode::TEST_UNIT_READY => Ok(Vec::new()),
            Opcode::REQUEST_SENSE => Ok(request_sense(cdb, self.pending_sense())),
            Opcode::INQUIRY => inquiry::inquiry(self, cdb, view),
            Opcode::REPORT_LUNS => {
                let data = report::report_luns(cdb, incoming.luns)?;
                self.luns_seen();
                Ok(data)
            }
            Opcode::MODE_SENSE_6 | Opcode::MODE_SENSE_10 => mode::sense(&self.unit, cdb),
            Opcode::LOG_SENSE => log::log_sense(&self.unit, cdb),
            Opcode::SEND_DIAGNOSTIC => small::send_diagnostic(cdb),
            Opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => small::prevent_allow(cdb),
            Opcode::READ_CAPACITY_10 => Ok(read_capacity_10(cdb, view)?.to_vec()),
            Opcode::PERSISTENT_RESERVE_IN => reservation::report(self, cdb),
            Opcode::SERVICE_ACTION_IN_16 => service_action_in(cdb, view),
            Opcode::MAINTENANCE_IN => self.maintenance_in(cdb, view),
            _ => Err(Sense::invalid_opcode()),
        }
    }

    fn maintenance_in(&self, cdb: &[u8], view: &UnitView) -> Result<Vec<u8>, Sense> {
        match action(cdb) {
            ServiceAction::REPORT_TARGET_PORT_GROUPS => report::port_groups(&self.unit, cdb),
            ServiceAction::REPORT_SUPPORTED_OPERATION_CODES => report::operation_codes(cdb, view),
            ServiceAction::REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS => Ok(report::task_management(cdb)),
            _ => Err(Sense::invalid_bit_in_cdb(1, 4)),
        }
    }

    /// Sense data of REQUEST SENSE: the unit attention that is reported next, which is no longer pending then, or the
    /// state of the path, or that the unit is stopped.
    fn pending_sense(&self) -> Sense {
        let attention = self.link.attentions.take();
        let transition = (self.link.access_state() == AccessState::Transitioning).then_some(TRANSITION);
        let attention = attention.map(|attention| Sense::new(SenseKey::UNIT_ATTENTION, attention.code()));
        let stopped = self.unit.is_stopped().then_some(STOPPED);
        attention.or(transition).or(stopped).unwrap_or(NOTHING)
    }
}

fn service_action_in(cdb: &[u8], view: &UnitView) -> Result<Vec<u8>, Sense> {
    match action(cdb) {
        ServiceAction::READ_CAPACITY_16 => Ok(read_capacity_16(cdb, view)?.to_vec()),
        ServiceAction::GET_LBA_STATUS => Ok(get_lba_status(cdb, view)?.to_vec()),
        _ => Err(Sense::invalid_bit_in_cdb(1, 4)),
    }
}

fn action(cdb: &[u8]) -> ServiceAction {
    ServiceAction(u8_at(cdb, 1) & ServiceAction::MASK)
}
