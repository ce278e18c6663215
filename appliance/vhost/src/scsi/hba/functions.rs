//! Task management functions (SAM-5, clause 7; virtio 1.3, clause 5.6.6.2), and notifications.
//!
//! ```text
//!  (1) begun   --no request that it is about is in flight--> (3) answered
//!  (1) begun   --some are: their sessions have its token--> (2) waiting
//!  (2) waiting --the last of them has ended, and the guest has been shown that--> (3) answered
//!  (3)         --the session of the control queue has left--> forgotten
//! ```
//!
//! A request that is aborted cannot be taken back from an SSD. It ends when the SSD has ended it, because the SSD may
//! write to its memory until then, and its response says that it was aborted.
//!
//! Each nexus has a task set of its own (TST = 001b): a function ends requests of this adapter's initiator only. But a
//! reset of the logical unit ends those of all initiators: their adapters do that (`resets.rs`), and (2) waits for them.

use super::cancellation::Cancellation;
use super::life::Luns;
use super::waiting::{RequestName, WaitingFunction};
use super::worker::Worker;
use crate::scsi::cancel::{CancelledAs, Scope};
use crate::scsi::control::{ControlReply, ControlSession};
use crate::scsi::lun::{LunAddress, LunPlace};
use crate::scsi::relay::{Notification, TaskFunction, TaskManagement};
use crate::scsi::session::RequestSession;
use luge_reservations::Change;
use luge_spec::virtio::scsi::Response;
use std::sync::Arc;

/// Effect of a function.
enum Plan {
    /// Ends requests.
    Cancel(Scope, CancelledAs),
    /// Asks for requests.
    Query(Scope),
}

impl Worker {
    /// (1), to (2) or (3).
    pub(super) fn begin_function(&mut self, name: RequestName, request: &TaskManagement) {
        let plan = plan(&self.shared.luns(), request);
        match plan {
            Err(response) => self.answer(name, response),
            Ok(Plan::Query(scope)) => self.answer(name, self.query(scope)),
            Ok(Plan::Cancel(scope, end)) => {
                let change = self.note_reset(request.function, scope);
                let wait = Cancellation::begin(scope, end, Arc::default(), &self.shared.sessions());
                self.functions.push(WaitingFunction { name, wait, change });
                self.abandon_changes(scope);
            }
        }
    }

    /// (2) to (3), for the functions whose requests have ended.
    pub(super) fn finish_functions(&mut self) {
        let sessions = self.shared.sessions();
        let over = self.functions.extract_if(.., |waiting| waiting.is_over(&sessions));
        let over: Vec<RequestName> = over.map(|waiting| waiting.name).collect();
        drop(sessions);
        over.into_iter().for_each(|name| self.answer(name, Response::FUNCTION_COMPLETE));
    }

    /// Tells units of a reset, which becomes known to the initiators that it concerns. Returns what it changes for others
    /// than this adapter.
    fn note_reset(&self, function: TaskFunction, scope: Scope) -> Option<Change> {
        let nexuses = || self.shared.luns().nexuses(scope);
        match function {
            // There is one: the scope is a LUN.
            TaskFunction::UnitReset => nexuses().first().map(|nexus| nexus.reset()),
            TaskFunction::NexusReset => {
                nexuses().iter().for_each(|nexus| nexus.lost());
                None
            }
            TaskFunction::AbortTask
            | TaskFunction::AbortTaskSet
            | TaskFunction::ClearAca
            | TaskFunction::ClearTaskSet
            | TaskFunction::QueryTask
            | TaskFunction::QueryTaskSet => None,
        }
    }

    fn query(&self, scope: Scope) -> Response {
        let sessions = self.shared.sessions();
        let mut seats = sessions.requests().filter_map(|name| sessions.get(name));
        let is_there = seats.any(|seat| {
            let asked = seat.call(move |session: &mut RequestSession| match scope {
                Scope::Task { lun, tag } => session.is_in_flight(lun, tag),
                Scope::Lun(lun) => session.has_any(lun),
                Scope::Target(_) | Scope::All => false,
            });
            asked.unwrap_or(false)
        });
        if is_there { Response::FUNCTION_SUCCEEDED } else { Response::FUNCTION_COMPLETE }
    }

    /// (3).
    fn answer(&self, name: RequestName, response: Response) {
        self.reply(name, ControlReply { response, events: 0 });
    }

    /// Answers a query or subscription of notifications: no unit has any.
    pub(super) fn answer_notification(&self, name: RequestName, request: &Notification) {
        let addressed = addressed(&self.shared.luns(), request.place);
        self.answer(name, addressed.map_or_else(|response| response, |_| Response::OK));
    }

    /// Replies to a session. One that has left needs no reply.
    fn reply(&self, RequestName { seat, id }: RequestName, reply: ControlReply) {
        if let Some(seat) = self.shared.sessions().get(seat) {
            seat.call(move |session: &mut ControlSession| session.complete(id, reply));
        }
    }
}

/// Looks what a function does.
fn plan(luns: &Luns, request: &TaskManagement) -> Result<Plan, Response> {
    let &TaskManagement { function, place, tag } = request;
    let on_task = || addressed(luns, place).map(|lun| Scope::Task { lun, tag });
    let on_lun = || addressed(luns, place).map(Scope::Lun);
    match function {
        TaskFunction::AbortTask => Ok(Plan::Cancel(on_task()?, CancelledAs::Aborted)),
        TaskFunction::AbortTaskSet | TaskFunction::ClearTaskSet => {
            Ok(Plan::Cancel(on_lun()?, CancelledAs::Aborted))
        }
        TaskFunction::UnitReset => Ok(Plan::Cancel(on_lun()?, CancelledAs::Reset)),
        TaskFunction::NexusReset => {
            Ok(Plan::Cancel(Scope::Target(target_of(luns, place)?), CancelledAs::Reset))
        }
        TaskFunction::QueryTask => Ok(Plan::Query(on_task()?)),
        TaskFunction::QueryTaskSet => Ok(Plan::Query(on_lun()?)),
        // No unit has NORMACA = 1, so none ever has an ACA condition.
        TaskFunction::ClearAca => on_lun().and(Err(Response::FUNCTION_REJECTED)),
    }
}

/// The target of a place. Its LUNs may all be those that are being removed, with requests in flight.
fn target_of(luns: &Luns, place: LunPlace) -> Result<u8, Response> {
    let target = place.target().ok_or(Response::INCORRECT_LUN)?;
    if luns.has_target(target) { Ok(target) } else { Err(Response::BAD_TARGET) }
}

/// The LUN of a place, which may be one that is being removed.
fn addressed(luns: &Luns, place: LunPlace) -> Result<LunAddress, Response> {
    target_of(luns, place)?;
    match place {
        LunPlace::Lun(address) if luns.may_have_requests(address) => Ok(address),
        LunPlace::Lun(_) | LunPlace::Beyond(_) | LunPlace::ReportLuns(_) => Err(Response::INCORRECT_LUN),
    }
}
