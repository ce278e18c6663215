//! One peer at a time on a unix socket, for protocols by which peers give Luge their memory.
//!
//! Path: none; peers connect before the first request.
//!
//! - [`Service`]: the protocol of an endpoint's connections.
//! - [`Listening`]: a socket with the thread that accepts and the thread that serves.
//! - [`Ledger`]: counts and state of peers, for the status of an endpoint.
//! - [`BackoffLimits`]: limits of the pause after a peer that was cut off for cause.
//! - [`watch_memory`]: watch of peers whose memory keeps cores waiting.
//! - [`Limit`]: rate limit of log lines.
//!
//! Invariants
//! - One connection is served at a time, by a thread of its own.
//! - A peer that says nothing keeps nobody out, and one that breaks the protocol again and again is served less and less
//!   often.
//!
//! Not here: the protocols (`vhost`, `vfio-user`); how sockets are made (`socket`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod accept;
mod backoff;
mod ledger;
mod limit;
mod listening;
mod memory_watch;
mod quit;
mod service;
mod signals;
mod waiting;

pub use backoff::{BackoffLimits, BackoffStatus};
pub use ledger::{Departure, Ledger, PeerCounts, PeerState};
pub use limit::Limit;
pub use listening::{EndpointError, Listening};
pub use memory_watch::{MemoryUser, watch_memory};
pub use quit::Quit;
pub use service::{Busy, End, Incoming, Resumed, Service};
pub use signals::Ending;
