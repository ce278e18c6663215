//! The reactor: one pinned thread per core, its mailbox, its loop, its sleep.
//!
//! Path: none of its own; each turn it calls **sessions take -> channels commit and poll ->
//! sessions finish and publish**.
//!
//! - [`Core`] is the thread's side: the graph of channels, the sessions, the turn.
//! - [`CoreHandle`] is the side of all other threads: it sends tasks and waits for answers.
//! - [`Schedule`]: the sessions of a core and its turn; tests take turns without a thread.
//! - [`Tenant`]: an owner of rings; [`Account`]: the work that was done for one on a core.
//! - [`Assignment`]: a ring on the core that was chosen for it.
//! - [`Fence`]: blocks of a volume that no core works on for a while.
//! - [`Kick`] and [`Call`]: the eventfds between a guest and a core.
//! - [`ThreadBell`]: the eventfd by which a thread that is no core is woken.
//! - [`Descriptors`]: the budget of file descriptors, of which each queue takes three.
//!
//! Invariants
//! - A core never waits for a guest, a peer, an SSD, a file or a lock.
//! - A turn does a bounded amount of work, of which each tenant with work gets an equal share (`schedule.rs`).
//! - A session leaves its core only when none of its requests is in flight.
//! - What leaves a core is dropped by the thread that asked for it, never by the core.
//!
//! Not here: what a session speaks (`vhost`), what a channel drives (`block`, `nvme`).

mod account;
mod answer;
mod attachment;
mod attachments;
mod background;
mod descriptors;
mod drain;
mod fence;
mod handle;
mod load;
mod mailbox;
mod notify;
mod numa;
mod open_sources;
mod placement;
mod reactor;
mod rotation;
mod schedule;
mod session;
mod sessions;
mod sites;
mod sleep;
mod stall_watch;
mod stats;
mod tenant;
mod thread_bell;

pub use account::{Account, Accounts};
pub use attachment::{AttachError, Attachment};
pub use attachments::Attachments;
pub use background::{BackgroundCore, BackgroundError};
pub use descriptors::{Ceiling, Descriptors, Promise, TooFewDescriptors};
pub use drain::drain;
pub use fence::Fence;
pub use handle::{CoreHandle, SpawnError};
pub use luge_volume::{Ticks, Work, tick_rate, ticks};
pub use notify::{Call, Kick, NotifyError};
pub use placement::{Assignment, Locality, ServingCore, best_first};
pub use reactor::Core;
pub use schedule::Schedule;
pub use session::{Armed, Published, Session, SessionId, Took};
pub use stats::CoreStats;
pub use tenant::Tenant;
pub use thread_bell::ThreadBell;
