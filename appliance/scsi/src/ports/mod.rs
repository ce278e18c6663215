//! Ports of targets, their groups, and the initiators that are connected to them.
//!
//! Each target of an adapter has one port, to which one initiator is connected. Ports whose access state is one make a
//! group. SPC-4, clause 5.15.

mod group;
mod groups;
mod initiator;
mod numbers;
mod port;

pub(crate) use group::{AccessState, StateObserver};
pub use group::{GroupError, PortGroup, TRANSITION_SECONDS_MAX};
pub use groups::PortGroups;
pub(crate) use initiator::identity_hash;
pub use initiator::{Initiator, InitiatorConfig, UnitListener, UnitReset};
pub use port::Port;
