//! What cores and the control plane of one controller tell each other without a lock.
//!
//! Path: read once per submit and poll by every channel of the controller; written a few
//! times a second.

use crate::Fault;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How a controller is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ControllerState {
    /// It serves, or is being reset.
    Live = 0,
    /// It failed, and could not yet be kept from accessing memory: requests wait.
    Stuck = 1,
    /// It was given up, or shut down: requests fail.
    Gone = 2,
}

/// Ticks of the supervisor, the first fault that somebody saw, and what became of it.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Health {
    tick: AtomicU32,
    fault: AtomicU32,
    state: AtomicU32,
    bounced: Bounced,
}

/// A line of its own: cores that bounce do not disturb those that do not.
#[derive(Default)]
#[repr(align(64))]
struct Bounced(AtomicU64);

impl Health {
    /// The supervisor's ticks so far: how a core measures a timeout without a clock.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        // Relaxed: a number of its own, nothing is published by it.
        self.tick.load(Ordering::Relaxed)
    }

    /// One tick more.
    pub(crate) fn beat(&self) {
        self.tick.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports a fault; the first one is kept.
    pub(crate) fn raise(&self, fault: Fault) {
        // Relaxed: the supervisor asks the controller itself before it acts on memory.
        let _ = self.fault.compare_exchange(0, fault as u32, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The fault reported, which stays.
    pub(crate) fn fault(&self) -> Option<Fault> {
        Fault::from_number(self.fault.load(Ordering::Relaxed))
    }

    /// The fault reported, which is then forgotten.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        Fault::from_number(self.fault.swap(0, Ordering::Relaxed))
    }

    /// How the controller is.
    pub(crate) fn state(&self) -> ControllerState {
        match self.state.load(Ordering::Relaxed) {
            0 => ControllerState::Live,
            1 => ControllerState::Stuck,
            _ => ControllerState::Gone,
        }
    }

    /// Says how the controller is; only the holder of its lock does.
    pub(crate) fn set_state(&self, state: ControllerState) {
        // Relaxed: a statement for people; channels go by their links.
        self.state.store(state as u32, Ordering::Relaxed);
    }

    /// One more request went through bounce buffers.
    pub(crate) fn count_bounced(&self) {
        self.bounced.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that went through bounce buffers.
    pub(crate) fn bounced(&self) -> u64 {
        self.bounced.0.load(Ordering::Relaxed)
    }
}
