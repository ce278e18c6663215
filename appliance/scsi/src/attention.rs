//! Unit attentions of a nexus. SAM-5, clause 5.14.
//!
//! Invariants
//! - An attention is pending at most once, so that there are never more than there are kinds.
//! - The gate is closed while one is pending.
//! - A reset takes the place of all attentions that are older. Others are reported in the order in which they came.

use crate::gate::{Closed, Gate};
use luge_reservations::{Listener, Notice};
use luge_spec::scsi::AdditionalSense;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that an initiator is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attention {
    PowerOn,
    LogicalUnitReset,
    NexusLoss,
    ModeParametersChanged,
    ReservationsPreempted,
    ReservationsReleased,
    RegistrationsPreempted,
    AccessStateChanged,
    CapacityChanged,
    LunsChanged,
}

impl Attention {
    /// Additional sense code.
    pub(crate) const fn code(self) -> AdditionalSense {
        match self {
            Self::PowerOn => AdditionalSense::POWER_ON_OR_RESET,
            Self::LogicalUnitReset => AdditionalSense::BUS_DEVICE_RESET_FUNCTION,
            Self::NexusLoss => AdditionalSense::I_T_NEXUS_LOSS,
            Self::ModeParametersChanged => AdditionalSense::MODE_PARAMETERS_CHANGED,
            Self::ReservationsPreempted => AdditionalSense::RESERVATIONS_PREEMPTED,
            Self::ReservationsReleased => AdditionalSense::RESERVATIONS_RELEASED,
            Self::RegistrationsPreempted => AdditionalSense::REGISTRATIONS_PREEMPTED,
            Self::AccessStateChanged => AdditionalSense::ACCESS_STATE_CHANGED,
            Self::CapacityChanged => AdditionalSense::CAPACITY_CHANGED,
            Self::LunsChanged => AdditionalSense::REPORTED_LUNS_CHANGED,
        }
    }

    /// Rank of a reset: a higher one takes the place of a lower one. SAM-5, table 62.
    const fn rank(self) -> Option<u8> {
        match self {
            Self::PowerOn => Some(2),
            Self::LogicalUnitReset => Some(1),
            Self::NexusLoss => Some(0),
            _ => None,
        }
    }

    /// Whether it is reported rather than a reservation conflict: resets are. SAM-5, clause 5.3.3.
    pub(crate) const fn precedes_conflicts(self) -> bool {
        self.rank().is_some()
    }

    /// Whether an initiator needs no more be told when it is told of a reset: it looks at these anew.
    const fn is_covered_by_reset(self) -> bool {
        !matches!(self, Self::LunsChanged | Self::CapacityChanged)
    }
}

/// Attentions that wait for a command of a nexus, and its gate.
#[derive(Debug, Default)]
pub(crate) struct Attentions {
    pending: Mutex<Vec<Attention>>,
    gate: Arc<Gate>,
}

impl Attentions {
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Adds an attention that is not pending.
    pub(crate) fn raise(&self, attention: Attention) {
        let mut pending = self.pending();
        match attention.rank() {
            Some(rank) => add_reset(&mut pending, attention, rank),
            None if pending.contains(&attention) => {}
            None => pending.push(attention),
        }
        self.gate.close(Closed::Attention);
    }

    /// The attention to be reported next.
    pub(crate) fn first(&self) -> Option<Attention> {
        self.pending().first().copied()
    }

    /// Takes the attention that is reported next.
    pub(crate) fn take(&self) -> Option<Attention> {
        let first = self.first()?;
        self.clear(first);
        Some(first)
    }

    /// Removes an attention: the initiator knows of it.
    pub(crate) fn clear(&self, attention: Attention) {
        let mut pending = self.pending();
        pending.retain(|&other| other != attention);
        if pending.is_empty() {
            self.gate.open(Closed::Attention);
        }
    }

    pub(crate) fn is_pending(&self, attention: Attention) -> bool {
        self.pending().contains(&attention)
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Attention>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a reset, unless a higher one is pending.
fn add_reset(pending: &mut Vec<Attention>, reset: Attention, rank: u8) {
    if pending.iter().any(|other| other.rank() > Some(rank)) {
        return;
    }
    pending.retain(|other| other.rank().is_none() && !other.is_covered_by_reset());
    pending.insert(0, reset);
}

impl Listener for Attentions {
    fn notify(&self, notice: Notice) {
        self.raise(match notice {
            Notice::RegistrationPreempted => Attention::RegistrationsPreempted,
            Notice::ReservationReleased => Attention::ReservationsReleased,
            Notice::ReservationPreempted => Attention::ReservationsPreempted,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(attentions: &Attentions) -> Vec<Attention> {
        std::iter::from_fn(|| attentions.take()).collect()
    }

    #[test]
    fn attentions_come_in_the_order_in_which_they_were_raised_and_once() {
        let attentions = Attentions::default();
        let raised =
            [Attention::CapacityChanged, Attention::ModeParametersChanged, Attention::CapacityChanged];
        raised.into_iter().for_each(|attention| attentions.raise(attention));
        assert!(!attentions.gate().is_open());
        assert_eq!(all(&attentions), [Attention::CapacityChanged, Attention::ModeParametersChanged]);
        assert!(attentions.gate().is_open());
    }

    #[test]
    fn a_reset_comes_first_and_takes_the_place_of_lower_ones() {
        let attentions = Attentions::default();
        attentions.raise(Attention::NexusLoss);
        attentions.raise(Attention::ReservationsReleased);
        attentions.raise(Attention::CapacityChanged);
        attentions.raise(Attention::PowerOn);
        attentions.raise(Attention::LogicalUnitReset);
        assert_eq!(all(&attentions), [Attention::PowerOn, Attention::CapacityChanged]);
    }

    #[test]
    fn an_attention_that_the_initiator_knows_of_opens_the_gate_when_it_is_the_last() {
        let attentions = Attentions::default();
        attentions.raise(Attention::LunsChanged);
        attentions.raise(Attention::CapacityChanged);
        attentions.clear(Attention::LunsChanged);
        assert!(!attentions.gate().is_open());
        attentions.clear(Attention::CapacityChanged);
        assert!(attentions.gate().is_open());
    }
}
