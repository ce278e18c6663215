//! Format NVM of a namespace, as a job on the core of the admin queue.

use super::device::Controller;
use super::job::{JobStep, RunningJob};
use crate::ids::{NamespaceId, QueueId};
use crate::relay::Relayed;
use luge_block::{Lba, Operation};

impl Controller {
    /// Starts to format a namespace, for a command that is completed when that is done; returns whether it has started.
    /// One is formatted at a time.
    pub(crate) fn start_format(&mut self, id: NamespaceId, operation: Operation, command: &Relayed) -> bool {
        let Some(running) = self.running.get(&QueueId::ADMIN).filter(|_| self.format.is_none()) else {
            return false;
        };
        let core = running.core.clone();
        let table = self.mounts.table(&core, &self.namespaces, self.parts.subsystem.namespaces_max());
        let Some(namespace) = table.get(id) else { return false };
        let step = JobStep {
            volume: namespace.volume,
            operation,
            lba: Lba(0),
            blocks: namespace.geometry.blocks.0,
            block_bytes: namespace.geometry.block_bytes,
        };
        let job = RunningJob::start(&core, vec![step], &self.parts.tenant, &self.parts.bell);
        self.format = job.as_ref().map(|_| *command);
        self.jobs.extend(job);
        self.format.is_some()
    }
}
