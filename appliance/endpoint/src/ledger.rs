//! Record of an endpoint's peers, which its status is read from.

use crate::backoff::{Backoff, BackoffLimits, BackoffStatus};
use luge_memory::stall::Stalls;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts of the peers of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Peers that were served so far.
    pub connections: u64,
    /// Of these, those that were cut off for breaking the protocol.
    pub protocol_errors: u64,
    /// Of these, those that connected and then said nothing.
    pub silent: u64,
    /// Peers that came while another was served, so far.
    pub waited: u64,
    /// Peers that were told that another is served, so far.
    pub refused: u64,
    /// Peers that wait now.
    pub waiting: usize,
}

/// Peers of an endpoint, as they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    /// Counts of peers.
    pub counts: PeerCounts,
    /// Back-off after peers that were cut off for cause.
    pub backoff: BackoffStatus,
    /// Whether a peer is served.
    pub is_connected: bool,
    /// Waits of cores for the memory of the peer that is served, or was the last. If there were some, a slow thread of
    /// its own serves it.
    pub stalls: Stalls,
}

/// Departure of an endpoint's peer. Waiting for it keeps nothing of the endpoint.
#[derive(Clone)]
pub struct Departure(Arc<Ledger>);

impl Departure {
    /// Departure of the peer that a ledger has.
    #[must_use]
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        Self(ledger.clone())
    }

    /// Waits until no peer is connected and the requests of the last one have been answered,
    /// but no longer than `timeout`; returns whether that is so.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.0.wait_until_left(timeout)
    }
}

/// Record of peers, written by the threads of an endpoint.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
    left: Condvar,
}

#[derive(Default)]
struct Entries {
    counts: PeerCounts,
    backoff: Backoff,
    is_connected: bool,
    has_spoken: bool,
    stalls: Stalls,
}

impl Ledger {
    /// Record without entries.
    #[must_use]
    pub fn new(limits: BackoffLimits) -> Self {
        let entries = Entries { backoff: Backoff::new(limits), ..Entries::default() };
        Self { entries: Mutex::new(entries), left: Condvar::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Peers as they are now.
    #[must_use]
    pub fn state(&self) -> PeerState {
        let entries = self.entries();
        let backoff = entries.backoff.status(Instant::now());
        PeerState {
            counts: entries.counts,
            backoff,
            is_connected: entries.is_connected,
            stalls: entries.stalls,
        }
    }

    /// Notes that the peer has sent a whole message.
    pub fn spoken(&self) {
        self.entries().has_spoken = true;
    }

    /// Whether the peer has sent a whole message.
    pub(crate) fn has_spoken(&self) -> bool {
        self.entries().has_spoken
    }

    pub(crate) fn connected(&self) {
        let mut entries = self.entries();
        entries.is_connected = true;
        entries.has_spoken = false;
        entries.stalls = Stalls::default();
        entries.counts.connections = entries.counts.connections.wrapping_add(1);
    }

    /// Notes that the peer's queues have left the cores because of its memory.
    pub fn left_cores(&self, stalls: Stalls) {
        self.entries().stalls = stalls;
    }

    pub(crate) fn disconnected(&self) {
        self.entries().is_connected = false;
        self.left.notify_all();
    }

    pub(crate) fn silent(&self) {
        let mut entries = self.entries();
        entries.counts.silent = entries.counts.silent.wrapping_add(1);
    }

    pub(crate) fn waited(&self) {
        let mut entries = self.entries();
        entries.counts.waited = entries.counts.waited.wrapping_add(1);
    }

    pub(crate) fn refused(&self) {
        let mut entries = self.entries();
        entries.counts.refused = entries.counts.refused.wrapping_add(1);
    }

    pub(crate) fn set_waiting(&self, waiting: usize) {
        self.entries().counts.waiting = waiting;
    }

    /// Waits until no peer is connected, but no longer than `timeout`; whether that is so.
    fn wait_until_left(&self, timeout: Duration) -> bool {
        let is_there = |entries: &mut Entries| entries.is_connected;
        let waited = self.left.wait_timeout_while(self.entries(), timeout, is_there);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_connected
    }

    /// The peer is cut off for cause; returns the pause before the next one is served.
    pub(crate) fn protocol_error(&self) -> Duration {
        let mut entries = self.entries();
        entries.counts.protocol_errors = entries.counts.protocol_errors.wrapping_add(1);
        entries.backoff.count(Instant::now())
    }

    /// Notes that a peer has left. After one whose memory had kept cores waiting the next one is served after a pause, as
    /// after one that was cut off.
    pub(crate) fn left(&self) {
        let mut entries = self.entries();
        if entries.stalls.count > 0 {
            entries.backoff.count(Instant::now());
        }
    }

    /// Time until the next peer is served.
    pub(crate) fn pause_left(&self) -> Duration {
        self.entries().backoff.status(Instant::now()).pause_left
    }
}
