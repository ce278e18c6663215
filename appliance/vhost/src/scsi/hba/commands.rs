//! Commands that cores do not serve themselves.
//!
//! ```text
//!  (1) relayed --answered, or the core is to serve it--> (3) over
//!  (1) relayed --it changes what cores obey--> (2) waiting
//!  (2) waiting --every core obeys--> (3) over
//!  (2) waiting --a task management function aborts it--> (3) over; the change goes on
//! ```

use super::life::Luns;
use super::waiting::{RequestName, WaitingCommand};
use super::worker::Worker;
use crate::scsi::cancel::Scope;
use crate::scsi::lun::{LunAddress, LunPlace};
use crate::scsi::relay::{CommandReply, Ended, RelayedCommand};
use crate::scsi::session::RequestSession;
use luge_scsi::{AbsentLun, Answer, Ending, Incoming, Nexus, Reply, absent};
use luge_spec::scsi::Opcode;
use std::sync::Arc;

impl Worker {
    /// (1), to (2) or (3).
    pub(super) fn serve_command(&mut self, name: RequestName, command: &RelayedCommand) {
        let Some(addressee) = addressee(&self.shared.luns(), command.place) else {
            return self.complete(name, CommandReply::NoTarget);
        };
        let incoming = Incoming { cdb: &command.cdb, data_out: &command.data_out, luns: &addressee.luns };
        let reply = match &addressee.unit {
            Ok((_, nexus)) => nexus.serve(&incoming),
            Err(lun) => Reply::Done(absent(&incoming, *lun)),
        };
        match (reply, addressee.unit) {
            (Reply::Later(change), Ok((address, _))) => {
                let data_out_bytes = incoming.parameter_bytes();
                self.commands.push(WaitingCommand {
                    name,
                    address,
                    tag: command.tag,
                    change,
                    data_out_bytes,
                });
            }
            (Reply::Done(answer), _) => {
                self.note_answer(command, &answer);
                self.complete(name, done(&answer, incoming.parameter_bytes()));
            }
            (Reply::GoOn | Reply::Later(_), _) => self.complete(name, CommandReply::GoOn),
        }
    }

    /// A guest that has read the LUNs of a target by one of them need not be told of a change by the others.
    fn note_answer(&self, command: &RelayedCommand, answer: &Answer) {
        let [opcode, ..] = command.cdb;
        let Some(target) = command.place.target() else { return };
        if Opcode(opcode) == Opcode::REPORT_LUNS && answer.ending == Ending::GOOD {
            self.shared.luns().of_target(target).for_each(|(_, lun)| lun.nexus.luns_seen());
        }
    }

    /// (2) to (3), for the commands whose changes every core obeys.
    pub(super) fn finish_commands(&mut self) {
        let over = self.commands.extract_if(.., |waiting| waiting.change.is_over());
        let over: Vec<WaitingCommand> = over.collect();
        for WaitingCommand { name, data_out_bytes, .. } in over {
            self.complete(name, CommandReply::Done(Ended { data_out_bytes, ..Ended::default() }));
        }
    }

    /// (2) to (3), for commands that are aborted: their sessions know, and tell the guest.
    pub(super) fn abandon_changes(&mut self, scope: Scope) {
        let aborted = self.commands.extract_if(.., |waiting| waiting.is_in(scope));
        let names: Vec<RequestName> = aborted.map(|waiting| waiting.name).collect();
        names.into_iter().for_each(|name| self.complete(name, CommandReply::Done(Ended::default())));
    }

    /// (3). A session that has left needs no reply.
    fn complete(&self, RequestName { seat, id }: RequestName, reply: CommandReply) {
        if let Some(seat) = self.shared.sessions().get(seat) {
            // The reply comes back, so that the core frees nothing.
            seat.call_with_graph(move |session: &mut RequestSession, graph| {
                (session.complete_relayed(graph, id, &reply), reply)
            });
        }
    }
}

/// Logical unit that a command is for, and all LUNs of its target.
struct Addressee {
    unit: Result<(LunAddress, Arc<Nexus>), AbsentLun>,
    luns: Vec<u8>,
}

/// Whom a command is for; none where there is no such target.
fn addressee(luns: &Luns, place: LunPlace) -> Option<Addressee> {
    // Without a target, the well-known logical unit is that of the first one.
    let target = place.target().or_else(|| luns.live().next().map(|(address, _)| address.target))?;
    let of_target: Vec<u8> = luns.of_target(target).map(|(address, _)| address.lun).collect();
    if of_target.is_empty() {
        return None;
    }
    let unit = match place {
        LunPlace::Lun(address) => {
            luns.get(address).map(|lun| (address, lun.nexus.clone())).ok_or(AbsentLun::Lun)
        }
        LunPlace::Beyond(_) => Err(AbsentLun::Lun),
        LunPlace::ReportLuns(_) => Err(AbsentLun::ReportLuns),
    };
    Some(Addressee { unit, luns: of_target })
}

/// The end of a command that has asked for so many bytes of data-out. One that has failed has used none.
fn done(answer: &Answer, parameter_bytes: u32) -> CommandReply {
    CommandReply::Done(Ended {
        status: answer.ending.status,
        sense: answer.sense_bytes().to_vec(),
        data_in: answer.data_in.clone(),
        data_out_bytes: if answer.ending == Ending::GOOD { parameter_bytes } else { 0 },
    })
}
