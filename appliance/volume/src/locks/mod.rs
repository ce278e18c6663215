//! Locks on blocks of a device or composite, which all cores obey: nobody else reads or writes the blocks meanwhile.
//!
//! Path: none of reads and writes. A compare-and-write locks its blocks first.
//!
//! A *member* is a volume on one core. Its *peers* are the other members on the same source that have blocks in
//! common with it: its volume on other cores, read-only views, extents that overlap. Splits that do not overlap are
//! no peers, and do not delay each other. A member locks one range at a time, and the next one after it:
//!
//! ```text
//!  (1) free     --a request wants blocks-->                     (2) asking: takes a ticket, shows it with the blocks
//!  (2) asking   --all peers agree, nothing of its own is in flight--> (3) locked: the request goes on
//!  (3) locked   --the request is over-->                        (1): withdraws the ticket
//! ```
//!
//! The next ticket of a member comes after all have seen that the last one was withdrawn, and have taken what they
//! held meanwhile. So a guest that locks blocks without end keeps nobody from them.
//!
//! A peer that sees a ticket holds new requests to the blocks (`hold.rs`). It agrees as soon as what it had in flight
//! before has ended, and no ticket of its own to common blocks is lower. So of two that ask at once the lower ticket
//! goes first (Ricart and Agrawala's algorithm), and no one waits in a circle.
//!
//! A core looks at its members in its turn, when one was marked by another core; that rings a core that sleeps.
//! No core waits: what is not agreed yet is looked at in the next turn.
//!
//! Invariants
//! - A member that has agreed to a ticket submits nothing to its blocks before the ticket is withdrawn.
//! - A ticket taken after another one was seen is higher: both are taken from one counter.
//! - The control plane adds and removes peers. A core that finds the list of peers in use looks again in its next
//!   turn; a member that was never looked at takes no request.
//!
//! Not here: fences, which wait for everything and are raised by a thread (`core`). Sources that are served both by
//! themselves and as parts of a composite: each locks its own blocks only.

mod member;
mod registry;
mod seat;
mod signal;

pub use member::Member;
pub(crate) use registry::Locks;
pub use registry::Membership;
pub(crate) use seat::{Place, Seat};
pub use signal::{Signal, Wake};
