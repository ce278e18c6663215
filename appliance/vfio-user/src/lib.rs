//! The vfio-user protocol, server side: an emulated PCI function on a unix socket.
//!
//! Path: none; a client's messages set up what the sessions of a function use.
//!
//! - [`Function`]: the contract between a function and its connection.
//! - [`FunctionSource`]: maker of a function for each client.
//! - [`Endpoint`]: functions on a socket, for one client at a time.
//!
//! Invariants
//! - Nothing that a client sends panics, is waited for, allocates by its word, or reaches beyond its regions and memory.
//! - A client's memory and function are gone when its connection is, and the next client finds nothing of them.
//!
//! Not here: the function itself (`nvme-target`); live migration, whose messages are refused; access to memory of the
//! client by message (DMA_READ, DMA_WRITE): memory without a file cannot be reached.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

/// Most bytes that a client reads or writes with one message.
pub const DATA_BYTES_MAX: u32 = 64 << 10;

mod client;
mod connection;
mod endpoint;
mod function;
mod served;
mod service;

pub use client::Client;
pub use endpoint::{Endpoint, EndpointConfig};
pub use function::{Area, Function, FunctionSource, Mappable, Progress, Region, RegionAccess};
pub use luge_endpoint::{BackoffLimits, BackoffStatus, Departure, EndpointError, PeerCounts, PeerState};
pub use luge_spec::vfio_user::RegionIndex;
