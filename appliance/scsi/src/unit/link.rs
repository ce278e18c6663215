//! The unit's end of a nexus.

use crate::attention::Attentions;
use crate::gate::Closed;
use crate::ports::{AccessState, Port, UnitListener, UnitReset};
use luge_reservations::Receipt;
use std::sync::Arc;

/// The unit's end of a nexus.
pub(crate) struct Link {
    /// Number of the target through which the initiator reaches the unit.
    pub(super) target: u8,
    pub(crate) port: Arc<Port>,
    pub(crate) attentions: Arc<Attentions>,
    pub(crate) listener: Arc<dyn UnitListener>,
}

impl Link {
    /// Tells the owner of the nexus that another initiator has reset the unit.
    pub(super) fn end_commands(&self, receipt: Receipt) {
        let gate = self.attentions.gate().clone();
        self.listener.unit_reset(UnitReset { target: self.target, gate, receipt });
    }

    /// State of the path at this moment, which the gate follows.
    pub(crate) fn access_state(&self) -> AccessState {
        let state = self.port.group().state();
        match state {
            AccessState::Active => self.attentions.gate().open(Closed::Transition),
            AccessState::Transitioning => self.attentions.gate().close(Closed::Transition),
        }
        state
    }
}
