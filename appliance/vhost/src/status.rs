//! The status of an endpoint, and the ledger that it is read from.

use crate::backoff::{Backoff, BackoffLimits, BackoffStatus};
use crate::config_notices::ConfigKnowledge;
use crate::counters::QueueCounters;
use luge_block::CoreId;
use luge_memory::stall::Stalls;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    pub counts: FrontEndCounts,
    /// Back-off after front ends that were cut off for cause.
    pub backoff: BackoffStatus,
    /// The front end that is connected.
    pub front_end: Option<FrontEndStatus>,
    /// Its knowledge about the configuration space.
    pub config: Option<ConfigKnowledge>,
}

/// Counts of the front ends of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontEndCounts {
    /// Front ends that were served so far.
    pub connections: u64,
    /// Of these, those that were cut off for breaking the protocol.
    pub protocol_errors: u64,
    /// Of these, those that connected and then said nothing.
    pub silent: u64,
    /// Front ends that came while another was served, so far.
    pub waited: u64,
    /// Front ends that wait now.
    pub waiting: usize,
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

/// Departure of an endpoint's front end. Waiting for it keeps neither endpoint nor volume.
#[derive(Clone)]
pub struct Departure(pub(crate) Arc<Ledger>);

impl Departure {
    /// Waits until no front end is connected and the requests of the last one have been answered,
    /// but no longer than `timeout`; returns whether that is so.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.0.wait_until_left(timeout)
    }
}

/// Record of front ends and queues, written by the threads of an endpoint.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    left: Condvar,
}

#[derive(Default)]
struct Entries {
    counts: FrontEndCounts,
    backoff: Backoff,
    connected: bool,
    spoken: bool,
    stalls: Stalls,
    queues: Vec<RunningQueue>,
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
        let entries = Entries { backoff: Backoff::new(limits), ..Entries::default() };
        Self { entries: Mutex::new(entries), left: Condvar::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connected(&self) {
        let mut entries = self.entries();
        (entries.connected, entries.spoken, entries.stalls) = (true, false, Stalls::default());
        entries.counts.connections = entries.counts.connections.wrapping_add(1);
    }

    /// Notes that the front end's rings have left the cores because of its memory.
    pub(crate) fn left_cores(&self, stalls: Stalls) {
        self.entries().stalls = stalls;
    }

    /// Notes that the front end has sent a whole message.
    pub(crate) fn spoken(&self) {
        self.entries().spoken = true;
    }

    /// Whether the front end has sent a whole message.
    pub(crate) fn has_spoken(&self) -> bool {
        self.entries().spoken
    }

    pub(crate) fn silent(&self) {
        let mut entries = self.entries();
        entries.counts.silent = entries.counts.silent.wrapping_add(1);
    }

    pub(crate) fn waited(&self) {
        let mut entries = self.entries();
        entries.counts.waited = entries.counts.waited.wrapping_add(1);
    }

    pub(crate) fn set_waiting(&self, waiting: usize) {
        self.entries().counts.waiting = waiting;
    }

    pub(crate) fn disconnected(&self) {
        self.entries().connected = false;
        self.left.notify_all();
    }

    /// Waits until no front end is connected, but no longer than `timeout`; whether that is so.
    fn wait_until_left(&self, timeout: Duration) -> bool {
        let is_there = |entries: &mut Entries| entries.connected;
        let waited = self.left.wait_timeout_while(self.entries(), timeout, is_there);
        !waited.unwrap_or_else(PoisonError::into_inner).0.connected
    }

    /// The front end is cut off for cause; returns the pause before the next one is served.
    pub(crate) fn protocol_error(&self) -> Duration {
        let mut entries = self.entries();
        entries.counts.protocol_errors = entries.counts.protocol_errors.wrapping_add(1);
        entries.backoff.count(Instant::now())
    }

    /// Notes that a front end has left which had kept cores waiting for its memory: the next one is served after a
    /// pause, as after one that was cut off.
    pub(crate) fn left_after_stalls(&self) {
        let mut entries = self.entries();
        if entries.stalls.count > 0 {
            entries.backoff.count(Instant::now());
        }
    }

    /// Time until the next front end is served.
    pub(crate) fn pause_left(&self) -> Duration {
        self.entries().backoff.status(Instant::now()).pause_left
    }

    /// Adds a queue that has started.
    pub(crate) fn running(&self, queue: RunningQueue) {
        let mut entries = self.entries();
        let at = entries.queues.partition_point(|other| other.index < queue.index);
        entries.queues.insert(at, queue);
    }

    /// Removes a queue; returns its counters, if it ran.
    pub(crate) fn stopped(&self, index: u16) -> Option<Arc<QueueCounters>> {
        let mut entries = self.entries();
        let at = entries.queues.iter().position(|entry| entry.index == index)?;
        Some(entries.queues.remove(at).counters)
    }

    /// Completes a status that has the properties which do not change.
    pub(crate) fn read(&self, fixed: EndpointStatus) -> EndpointStatus {
        let entries = self.entries();
        let queues = entries.queues.iter().map(RunningQueue::status).collect();
        let Entries { counts, connected, stalls, backoff, .. } = *entries;
        let backoff = backoff.status(Instant::now());
        let front_end = connected.then_some(FrontEndStatus { number: counts.connections, queues, stalls });
        let config = fixed.config.filter(|_| connected);
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
