//! Persistent reservations of a volume: registrants, the holder, and who may read and write.
//!
//! - [`State`] is the state machine of the standards (NVMe Base 2.0, section 8.19; SPC-4, section 5.13), in terms
//!   that both share; with the older reservations of SPC-2 beside them. It knows no cores and no clocks.
//! - [`Reservations`] is the state of one volume, shared by all that serve it. A [`Nexus`] is one way of an
//!   initiator to the volume: a controller, or a port. Its rights are a word that cores load.
//!
//! Invariants
//! - The state is kept with its volume, once, for every protocol that serves it.
//! - A registration belongs to its [`Identity`], and stays when the nexus goes.
//! - A change is over only when every core that serves the volume obeys it. One that aborts commands is over only
//!   when the victims' requests have ended.
//!
//! Not here: the commands of a protocol and its reports (`nvme-target`); the requests that rights allow (`volume`);
//! persistence through power loss, which no front end offers.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod action;
mod change;
mod identity;
mod nexus;
mod report;
mod reservation;
mod reservations;
mod rights;
mod site;
mod state;
mod table;

pub use action::{Action, Claim, Key, Notice, Notification, Outcome, Own, Preempt, Refused};
pub use change::{Change, Receipt, Waker};
pub use identity::{Identity, Scope};
pub use nexus::{Nexus, NexusConfig, Serving};
pub use report::{Hold, Port, RegistrantReport, Report};
pub use reservation::{ReservationType, Role};
pub use reservations::Reservations;
pub use rights::{Rights, RightsWord};
pub use site::{Listener, Site};
pub use state::{REGISTRANTS_MAX, State};
