//! Departure of a controller whose client has left.
//!
//! What is in flight keeps the guest's memory and the volumes, and ends as slowly as the slowest SSD. Nobody waits for
//! that but a thread of the controller's own, which is not made if nothing is in flight.

use super::device::Controller;
use super::job::RunningJob;
use super::mounts::Mounts;
use super::running::RunningQueue;
use super::running_format::Format;
use crate::ids::NamespaceId;
use crate::subsystem::{ServedNamespace, Subsystem};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parts of a controller that commands in flight need, in the order in which they are dropped.
struct Remains {
    running: Vec<RunningQueue>,
    jobs: Vec<RunningJob>,
    format: Option<Format>,
    mounts: Mounts,
    namespaces: BTreeMap<NamespaceId, Arc<ServedNamespace>>,
    subsystem: Arc<Subsystem>,
}

impl Remains {
    /// Takes everything off the cores. Waits until nothing is in flight.
    fn leave(self) {
        let Self { running, jobs, format, mounts, namespaces, subsystem } = self;
        running.into_iter().for_each(|running| drop(running.remove()));
        jobs.into_iter().for_each(RunningJob::remove);
        drop(format);
        mounts.leave();
        drop(mounts);
        drop(namespaces);
        drop(subsystem);
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.hold_queues();
        self.jobs.iter().for_each(RunningJob::stop);
        let waits = !self.jobs.is_empty() || !self.has_drained();
        if let Some(link) = self.parts.link.take() {
            self.parts.subsystem.remove_controller(&link);
        }
        let remains = Remains {
            running: std::mem::take(&mut self.running).into_values().collect(),
            jobs: std::mem::take(&mut self.jobs),
            format: self.format.take(),
            mounts: self.mounts.take(),
            namespaces: std::mem::take(&mut self.namespaces),
            subsystem: self.parts.subsystem.clone(),
        };
        if !waits {
            return remains.leave();
        }
        let departing = self.parts.subsystem.departs();
        let leave = move || {
            remains.leave();
            drop(departing);
        };
        let spawned = std::thread::Builder::new().name("departure".into()).spawn(leave);
        // Sessions that are not taken off their cores stay there, held, and keep all that they need.
        drop(spawned.inspect_err(|error| {
            tracing::error!("cannot start a thread: {error}; queues stay on their cores")
        }));
    }
}
