//! Health of a controller: what its cores and its control plane share without a lock.
//!
//! Path: every channel of the controller reads it once per submit and poll; it is written a few times a second.

use crate::Fault;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// State of a controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ControllerState {
    /// Serving, or being reset.
    Live = 0,
    /// Failed, and not yet kept from accessing memory: requests wait.
    Stuck = 1,
    /// Given up, or shut down: requests fail.
    Gone = 2,
}

/// Ticks of the supervisor, the first fault that was reported, the state, and a counter.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Health {
    tick: AtomicU32,
    fault: AtomicU32,
    state: AtomicU32,
    bounced: Bounced,
}

/// Counter of bounced requests, on a cache line of its own: cores that bounce do not slow down the others.
#[derive(Default)]
#[repr(align(64))]
struct Bounced(AtomicU64);

impl Health {
    /// Number of ticks of the supervisor so far, by which cores measure timeouts without a clock.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        // Relaxed: a number of its own, nothing is published by it.
        self.tick.load(Ordering::Relaxed)
    }

    /// Counts a tick.
    pub(crate) fn beat(&self) {
        self.tick.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports a fault. The first one is kept.
    pub(crate) fn raise(&self, fault: Fault) {
        // Relaxed: the supervisor asks the controller itself before it acts on memory.
        let _ = self.fault.compare_exchange(0, fault as u32, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Fault that was reported; it stays reported.
    pub(crate) fn fault(&self) -> Option<Fault> {
        Fault::from_number(self.fault.load(Ordering::Relaxed))
    }

    /// Takes the fault that was reported.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        Fault::from_number(self.fault.swap(0, Ordering::Relaxed))
    }

    /// State of the controller.
    pub(crate) fn state(&self) -> ControllerState {
        match self.state.load(Ordering::Relaxed) {
            0 => ControllerState::Live,
            1 => ControllerState::Stuck,
            _ => ControllerState::Gone,
        }
    }

    /// Sets the state of the controller; only the holder of its lock does.
    pub(crate) fn set_state(&self, state: ControllerState) {
        // Relaxed: only the control plane reads it; channels read their links.
        self.state.store(state as u32, Ordering::Relaxed);
    }

    /// Counts a request that goes through bounce pages.
    pub(crate) fn count_bounced(&self) {
        self.bounced.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of requests that went through bounce pages.
    pub(crate) fn bounced(&self) -> u64 {
        self.bounced.0.load(Ordering::Relaxed)
    }
}
