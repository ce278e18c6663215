//! Format NVM of a namespace, as a job on the core of the admin queue.

use super::device::Controller;
use super::job::{JobOutcome, JobStep, RunningJob};
use super::running_format::Format;
use crate::commands::CommandStatus;
use crate::ids::QueueId;
use crate::relay::Relayed;
use crate::subsystem::ServedNamespace;
use luge_block::{Lba, Operation};
use luge_spec::nvme::StatusCode;
use std::sync::Arc;

impl Controller {
    /// Starts to format a namespace, for a command that is completed when that is done; returns whether it has started.
    /// A controller formats one at a time.
    pub(crate) fn start_format(&mut self, served: &Arc<ServedNamespace>, command: &Relayed) -> bool {
        let admin = self.running.get(&QueueId::ADMIN).filter(|_| self.format.is_none());
        let Some(core) = admin.map(|running| running.core.clone()) else { return false };
        let table = self.mounts.table(&core, &self.namespaces, self.parts.subsystem.namespaces_max());
        let Some(namespace) = table.get(served.id) else { return false };
        let link = self.parts.link.as_ref();
        let formatting = link.and_then(|link| self.parts.subsystem.begin_format(served, link));
        let Some(formatting) = formatting else { return false };
        let step = JobStep {
            volume: namespace.volume,
            operation: Operation::WriteZeroesUnmap,
            lba: Lba(0),
            blocks: namespace.geometry.blocks.0,
            block_bytes: namespace.geometry.block_bytes,
        };
        let job = RunningJob::start(&core, vec![step], &self.parts.tenant, &self.parts.bell);
        self.format = job.as_ref().map(|_| Format { command: Some(*command), formatting });
        self.jobs.extend(job);
        self.replace_tables();
        self.format.is_some()
    }

    /// Ends Format NVM, if it was under way; returns whether it was.
    pub(super) fn finish_format(&mut self, outcome: JobOutcome) -> bool {
        let Some(Format { command, formatting }) = self.format.take() else { return false };
        drop(formatting);
        self.replace_tables();
        let status = match outcome {
            JobOutcome::Done => CommandStatus::SUCCESS,
            JobOutcome::Failed => CommandStatus::failed(StatusCode::INTERNAL_ERROR),
        };
        command.inspect(|command| self.complete(command, status, 0));
        true
    }
}
