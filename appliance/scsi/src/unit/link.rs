//! The unit's end of a nexus.

use crate::attention::Attentions;
use crate::gate::Closed;
use crate::ports::{AccessState, Port, UnitListener};
use std::sync::Arc;

/// The unit's end of a nexus.
pub(crate) struct Link {
    pub(crate) port: Arc<Port>,
    pub(crate) attentions: Arc<Attentions>,
    pub(crate) listener: Arc<dyn UnitListener>,
}

impl Link {
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
