//! Dispatch of admin commands by their opcodes.

use super::outcome::{INVALID_FIELD, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::{Controller, EVENT_REQUESTS_MAX_Z, ErrorRecord};
use crate::ids::{CommandId, QueueId};
use crate::queues::{ShadowDoorbells, ShadowLayout};
use crate::relay::Relayed;
use luge_memory::GuestAddress;
use luge_spec::nvme::{AdminOpcode, StatusCode, SubmissionEntry};

impl Controller {
    /// Serves a command that a session has relayed.
    pub(crate) fn serve(&mut self, command: &Relayed) {
        // What a session has relayed before it was held is not answered.
        if !self.state.serves() {
            return;
        }
        let reply = match command.queue {
            QueueId::ADMIN => self.admin(command),
            _ => self.reservation_command(command),
        };
        match reply {
            Ok(Outcome::Completed(result)) => self.complete(command, CommandStatus::SUCCESS, result),
            Ok(Outcome::Later) => {}
            Err(status) => {
                let status = self.log_error(command, status);
                self.complete(command, status, 0);
            }
        }
        self.tell_events();
    }

    /// Serves an admin command.
    fn admin(&mut self, command: &Relayed) -> Reply {
        let entry = &command.entry;
        // FUSE and PSDT: admin commands are not fused, and have PRPs.
        if entry.flags != 0 {
            return Err(INVALID_FIELD);
        }
        match AdminOpcode(entry.opcode) {
            AdminOpcode::DELETE_SUBMISSION_QUEUE => self.delete_io_submission_queue(command),
            AdminOpcode::CREATE_SUBMISSION_QUEUE => self.create_io_submission_queue(entry),
            AdminOpcode::GET_LOG_PAGE => {
                self.log_failures();
                self.get_log_page(entry)
            }
            AdminOpcode::DELETE_COMPLETION_QUEUE => self.delete_io_completion_queue(entry),
            AdminOpcode::CREATE_COMPLETION_QUEUE => self.create_io_completion_queue(entry),
            AdminOpcode::IDENTIFY => self.identify(entry),
            AdminOpcode::ABORT => self.abort_command(entry),
            AdminOpcode::SET_FEATURES => self.set_features(entry),
            AdminOpcode::GET_FEATURES => self.get_features(entry),
            AdminOpcode::ASYNC_EVENT_REQUEST => self.request_event(command),
            AdminOpcode::NAMESPACE_ATTACHMENT => self.attach_namespace(entry),
            AdminOpcode::KEEP_ALIVE => self.keep_alive(),
            AdminOpcode::DOORBELL_BUFFER_CONFIG if self.parts.config.shadow_doorbells => {
                self.configure_doorbell_buffer(entry)
            }
            AdminOpcode::FORMAT => self.format(command),
            _ => refuse(StatusCode::INVALID_OPCODE),
        }
    }

    /// Adds a refusal to the error log; returns the status with More.
    fn log_error(&mut self, command: &Relayed, status: CommandStatus) -> CommandStatus {
        let status = status.with_more();
        self.state.errors.add(ErrorRecord {
            queue: command.queue.0,
            command: command.entry.command_id,
            status: status.field(),
            namespace: command.entry.namespace,
            lba: 0,
        });
        status
    }

    /// Adds commands that cores have completed with errors to the error log.
    pub(crate) fn log_failures(&mut self) {
        let relay = self.parts.relay.clone();
        for failure in std::iter::from_fn(|| relay.next_failure()) {
            self.state.errors.add(ErrorRecord {
                queue: failure.queue.0,
                command: failure.command.0,
                status: failure.status.field(),
                namespace: failure.namespace.0,
                lba: failure.lba.0,
            });
        }
        self.state.errors.add_unknown(relay.take_more_failures());
    }

    /// Abort. Base 2.0, clause 5.1. Bit 0 of the result is set if the command was not aborted.
    fn abort_command(&mut self, entry: &SubmissionEntry) -> Reply {
        let [cdw10, ..] = entry.cdw10;
        let (queue, command) = (low(cdw10), high(cdw10));
        let aborted = self.abort(QueueId(queue), CommandId(command));
        Ok(Outcome::Completed(u64::from(!aborted)))
    }

    /// Asynchronous Event Request. Base 2.0, clause 5.2.
    fn request_event(&mut self, command: &Relayed) -> Reply {
        if self.event_requests.len() > usize::from(EVENT_REQUESTS_MAX_Z) {
            return refuse(StatusCode::EVENT_LIMIT_EXCEEDED);
        }
        self.event_requests.push_back(*command);
        Ok(Outcome::Later)
    }

    /// Keep Alive. Base 2.0, clause 5.18.
    fn keep_alive(&mut self) -> Reply {
        self.kept_alive();
        Ok(Outcome::DONE)
    }

    /// Doorbell Buffer Config. Base 2.0, clause 5.8.
    fn configure_doorbell_buffer(&mut self, entry: &SubmissionEntry) -> Reply {
        let layout = ShadowLayout { doorbells: GuestAddress(entry.prp1), events: GuestAddress(entry.prp2) };
        let page_bytes = self.state.configuration().page_bytes();
        let is_aligned = |at: u64| at.is_multiple_of(page_bytes.into());
        if !is_aligned(entry.prp1) || !is_aligned(entry.prp2) || entry.prp1 == entry.prp2 {
            return Err(INVALID_FIELD);
        }
        let shadow = ShadowDoorbells::find(layout, page_bytes, self.memory());
        let shadow = shadow.ok_or(CommandStatus::refused(StatusCode::DATA_TRANSFER_ERROR))?;
        self.set_shadow(shadow, [entry.prp1, entry.prp2]);
        Ok(Outcome::DONE)
    }
}

/// Lower half of a word.
pub(super) fn low(word: u32) -> u16 {
    u16::try_from(word & 0xffff).unwrap_or(u16::MAX)
}

/// Upper half of a word.
pub(super) fn high(word: u32) -> u16 {
    low(word >> 16)
}
