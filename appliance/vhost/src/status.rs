//! The status of an endpoint, and the ledger that it is read from.

use crate::config_notices::ConfigKnowledge;
use crate::counters::QueueCounters;
use luge_block::CoreId;
use luge_endpoint::{BackoffLimits, BackoffStatus, PeerCounts, PeerState};
use luge_memory::stall::Stalls;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Status of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Name of the endpoint.
    pub name: String,
    /// Path of the socket.
    pub socket: PathBuf,
    /// The cores that serve its queues.
    pub cores: Vec<CoreId>,
    /// Number of queues that are offered.
    pub queues_max: u16,
    /// Counts of front ends.
    pub counts: PeerCounts,
    /// Back-off after front ends that were cut off for cause.
    pub backoff: BackoffStatus,
    /// The front end that is connected.
    pub front_end: Option<FrontEndStatus>,
    /// Knowledge of the front end about the configuration space.
    pub config: Option<ConfigKnowledge>,
}

/// A front end that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontEndStatus {
    /// Ordinal of this connection on its endpoint, from 1.
    pub number: u64,
    /// The queues that run.
    pub queues: Vec<QueueStatus>,
    /// Waits of cores for its memory. If there were some, a slow thread of its own serves its queues.
    pub stalls: Stalls,
}

/// A queue that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Number of the queue.
    pub index: u16,
    /// The core that serves the queue.
    pub core: CoreId,
    /// Entries of the ring.
    pub size: u16,
    /// Requests taken and not yet answered.
    pub in_flight: u32,
    /// Descriptor chains that broke the rules.
    pub faults: u64,
    /// Whether the ring itself is broken, so that no more is taken from it.
    pub broken: bool,
}

/// Record of front ends and queues, written by the threads of an endpoint.
#[derive(Default)]
pub(crate) struct Ledger {
    peers: Arc<luge_endpoint::Ledger>,
    queues: Mutex<Vec<RunningQueue>>,
}

/// A queue that runs, as the ledger has it.
pub(crate) struct RunningQueue {
    /// Number of the queue.
    pub(crate) index: u16,
    /// The core that serves the queue.
    pub(crate) core: CoreId,
    /// Entries of the ring.
    pub(crate) size: u16,
    pub(crate) counters: Arc<QueueCounters>,
}

impl Ledger {
    pub(crate) fn new(limits: BackoffLimits) -> Self {
        Self { peers: Arc::new(luge_endpoint::Ledger::new(limits)), queues: Mutex::default() }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<RunningQueue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Record of the front ends.
    pub(crate) fn peers(&self) -> &Arc<luge_endpoint::Ledger> {
        &self.peers
    }

    /// Notes that the front end has sent a whole message.
    pub(crate) fn spoken(&self) {
        self.peers.spoken();
    }

    /// Adds a queue that has started.
    pub(crate) fn running(&self, queue: RunningQueue) {
        let mut queues = self.queues();
        let at = queues.partition_point(|other| other.index < queue.index);
        queues.insert(at, queue);
    }

    /// Removes a queue; returns its counters, if it ran.
    pub(crate) fn stopped(&self, index: u16) -> Option<Arc<QueueCounters>> {
        let mut queues = self.queues();
        let at = queues.iter().position(|queue| queue.index == index)?;
        Some(queues.remove(at).counters)
    }

    /// Completes a status that has the properties which do not change.
    pub(crate) fn read(&self, fixed: EndpointStatus) -> EndpointStatus {
        let PeerState { counts, backoff, is_connected, stalls } = self.peers.state();
        let queues = self.queues().iter().map(RunningQueue::status).collect();
        let front_end = is_connected.then_some(FrontEndStatus { number: counts.connections, queues, stalls });
        let config = fixed.config.filter(|_| is_connected);
        EndpointStatus { counts, backoff, front_end, config, ..fixed }
    }
}

impl RunningQueue {
    fn status(&self) -> QueueStatus {
        QueueStatus {
            index: self.index,
            core: self.core,
            size: self.size,
            in_flight: self.counters.in_flight(),
            faults: self.counters.faults(),
            broken: self.counters.broken(),
        }
    }
}
