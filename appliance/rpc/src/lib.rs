//! JSON-RPC 2.0 on a unix socket: requests and answers follow each other without framing.
//!
//! Path: client -> **server -> dispatcher** -> control thread. No guest I/O passes here.
//!
//! - [`Dispatcher`]: the methods by name, with their parameters and help, for the socket and the
//!   console.
//! - [`Server`]: the socket and its connections, each with a thread of its own.
//! - [`Client`]: the calling side, for `luge rpc` and tests.
//! - [`Caller`]: the client of one call, which may disconnect before the answer is ready.
//! - [`RpcError`], [`Code`]: all errors that can be answered.
//! - [`Unique`]: JSON without duplicate members.
//!
//! Invariants
//! - Each request is bounded in bytes, depth, time and the memory of its values before it is parsed. The
//!   requests of all clients, and the answers to them, are bounded together.
//! - A method runs only if all its parameters are known, present and of the right type.
//! - A slow, silent or hostile client delays no other client: idle, disconnected and waiting clients
//!   never take all connections.
//!
//! Not here: what the methods do (`luge`); who may call them, apart from the socket's mode.

#![deny(clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod answer;
mod ascii;
mod caller;
mod client;
mod connection_table;
mod connections;
mod dispatcher;
mod entry;
mod error;
mod framing;
mod log_limit;
mod message;
mod params;
mod parsing;
mod server;
mod socket;
mod timed;
mod unique;

pub use caller::{Caller, WaitPermit};
pub use client::{CallError, Client};
pub use dispatcher::{Dispatcher, Method, PreparedCall, Stage};
pub use error::{Code, RpcError};
pub use params::{NoParams, Param, Params, Value as ParamValue};
pub use server::Server;
pub use socket::{ListenError, lock_path};
pub use unique::Unique;
