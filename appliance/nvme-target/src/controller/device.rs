//! A controller, on the thread of its client's connection.

use super::job::RunningJob;
use super::late_volumes::LateVolumes;
use super::limits::ControllerConfig;
use super::mounts::Mounts;
use super::pending_change::PendingChange;
use super::placement::Placement;
use super::running::RunningQueue;
use super::running_format::Format;
use super::state::{ControllerState, Phase, ShutdownPhase};
use crate::commands::CommandStatus;
use crate::ids::{NamespaceId, QueueId};
use crate::queues::{DoorbellPages, ShadowDoorbells};
use crate::relay::{Relay, Relayed};
use crate::subsystem::{ControllerLink, ControllerPhase, QueueStatus, ServedNamespace, Subsystem};
use luge_core::{Descriptors, Promise, ServingCore, Tenant};
use luge_memory::GuestMemory;
use luge_reservations::Port;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// Parts of a new controller.
pub(crate) struct ControllerParts {
    /// Subsystem that it belongs to.
    pub(crate) subsystem: Arc<Subsystem>,
    /// Link to the subsystem; none where all identifiers of controllers are in use: it will not start.
    pub(crate) link: Option<Arc<ControllerLink>>,
    /// Way of commands from the sessions.
    pub(crate) relay: Arc<Relay>,
    /// Doorbells.
    pub(crate) doorbells: Arc<DoorbellPages>,
    /// Numbers of queues and vectors.
    pub(crate) config: ControllerConfig,
    /// Name of the listener, for messages.
    pub(crate) name: Arc<str>,
    /// Eventfd that wakes the thread: that of the relay.
    pub(crate) bell: Arc<OwnedFd>,
    /// Owner of the queues.
    pub(crate) tenant: Tenant,
    /// Budget of file descriptors of its queues.
    pub(crate) descriptors: Arc<Descriptors>,
    /// File descriptors of its own.
    pub(crate) _promise: Promise,
}

/// A controller, on the thread of its client's connection.
pub(crate) struct Controller {
    pub(crate) state: ControllerState,
    pub(crate) parts: ControllerParts,
    pub(super) memory: Arc<GuestMemory>,
    pub(super) running: BTreeMap<QueueId, RunningQueue>,
    /// Cores that can serve queues.
    pub(super) cores: Vec<ServingCore>,
    pub(super) placement: Placement,
    pub(super) late_volumes: LateVolumes,
    /// Whether the function may read and write memory.
    pub(crate) is_bus_master: bool,
    pub(super) vectors: Vec<Option<OwnedFd>>,
    pub(super) shadow: Option<ShadowDoorbells>,
    /// Namespaces that are attached.
    pub(super) namespaces: BTreeMap<NamespaceId, Arc<ServedNamespace>>,
    pub(super) mounts: Mounts,
    /// Asynchronous Event Requests that wait.
    pub(crate) event_requests: VecDeque<Relayed>,
    /// Delete I/O Submission Queue commands that wait for commands in flight.
    pub(super) deletions: Vec<Deletion>,
    pub(super) jobs: Vec<RunningJob>,
    /// Reservation commands that wait until every core obeys.
    pub(super) changes: Vec<PendingChange>,
    /// Whether a shutdown waits for caches to be flushed.
    pub(super) flushing: bool,
    /// Format NVM whose job runs.
    pub(super) format: Option<Format>,
    /// Time at which the host is gone, if it does not keep the controller alive.
    pub(super) keep_alive_until: Option<Instant>,
}

/// A submission queue that is being deleted, and the command that waits for it.
pub(super) struct Deletion {
    pub(super) queue: QueueId,
    pub(super) completion_queue: QueueId,
    pub(super) command: Relayed,
}

impl Controller {
    /// A controller as after power-on.
    pub(crate) fn new(parts: ControllerParts) -> Self {
        let vectors = (0..parts.config.vectors).map(|_| None).collect();
        let namespaces =
            parts.link.as_ref().map(|link| parts.subsystem.attached(link.id())).unwrap_or_default();
        let number = parts.link.as_ref().map_or(0, |link| link.id());
        let target = u64::try_from(Arc::as_ptr(&parts.subsystem).addr()).unwrap_or(0);
        let mounts = Mounts::new(Port { target, number }, parts.config, parts.relay.clone());
        Self {
            state: ControllerState::default(),
            parts,
            memory: Arc::default(),
            running: BTreeMap::new(),
            cores: Vec::new(),
            placement: Placement::default(),
            late_volumes: LateVolumes::default(),
            is_bus_master: false,
            vectors,
            shadow: None,
            namespaces,
            mounts,
            event_requests: VecDeque::new(),
            deletions: Vec::new(),
            jobs: Vec::new(),
            changes: Vec::new(),
            flushing: false,
            format: None,
            keep_alive_until: None,
        }
    }

    /// CNTLID; zero where there is none.
    pub(crate) fn id(&self) -> u16 {
        self.parts.link.as_ref().map_or(0, |link| link.id())
    }

    /// Guest memory.
    pub(crate) fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Namespaces that are attached.
    pub(crate) fn namespaces(&self) -> &BTreeMap<NamespaceId, Arc<ServedNamespace>> {
        &self.namespaces
    }

    /// Completes a command that was relayed. One of a session that is gone is forgotten.
    pub(crate) fn complete(&self, command: &Relayed, status: CommandStatus, result: u64) {
        let Some(running) = self.running.get(&command.completion_queue) else { return };
        let id = command.id;
        running.call(move |session| session.complete_relayed(id, status, result));
    }

    /// Wakes the thread again.
    pub(crate) fn ring(&self) {
        // It fails only if the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.parts.bell, &1_u64.to_ne_bytes());
    }

    /// Tells the subsystem the present status, for the operator.
    pub(crate) fn report(&self) {
        let Some(link) = &self.parts.link else { return };
        let phase = self.phase();
        let queues = self.queue_status();
        let unseen = self.state.events.changed_namespaces().iter().copied().map(NamespaceId).collect();
        link.update(|status| {
            status.unseen = unseen;
            status.phase = phase;
            status.queues = queues;
            status.host_id = self.state.features.host_id;
        });
    }

    fn phase(&self) -> ControllerPhase {
        match (self.state.is_failed, self.state.phase, self.state.shutdown) {
            (true, _, _) => ControllerPhase::Failed,
            (_, Phase::Resetting, _) | (_, Phase::Ready, ShutdownPhase::Occurring) => {
                ControllerPhase::Stopping
            }
            (_, _, ShutdownPhase::Complete) => ControllerPhase::ShutDown,
            (_, Phase::Ready, ShutdownPhase::None) => ControllerPhase::Ready,
            (_, Phase::Disabled, _) => ControllerPhase::Disabled,
        }
    }

    fn queue_status(&self) -> Vec<QueueStatus> {
        let status = |(&id, queue): (&u16, &super::state::SubmissionQueueState)| {
            let completion_queue = QueueId(queue.completion_queue);
            let core = self.running.get(&completion_queue)?.core.id();
            Some(QueueStatus { id: QueueId(id), completion_queue, entries: queue.entries, core })
        };
        self.state.submission_queues.iter().filter_map(status).collect()
    }
}
