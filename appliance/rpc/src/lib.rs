//! JSON-RPC 2.0 on a unix socket: requests back to back without framing, answers likewise.
//!
//! Path: none of a guest's; an operator's: client -> **server -> dispatcher** -> control thread.
//!
//! - [`Dispatcher`]: the methods by name, with their parameters and help. The socket's
//!   connections and the console call the same one.
//! - [`Server`]: the socket and its connections, each with a thread of its own.
//! - [`Client`]: the other side, for `luge rpc` and tests.
//! - [`Caller`]: whoever waits for an answer, and may leave before it is there.
//! - [`RpcError`], [`Code`]: every error that can be answered.
//! - [`Unique`]: JSON in which no member is there twice.
//!
//! Invariants
//! - What a client sends is bounded in size, depth and number before it is parsed; what all of them
//!   send, and are sent, is bounded together.
//! - A method runs only with parameters that are all known, present and of their type.
//! - A client that is slow, silent or hostile holds up nobody else: connections are never all taken
//!   by clients that are idle, gone, or waiting for something to happen.
//!
//! Not here: what the methods do (`luge`); who may call them, beyond the socket's mode.

#![deny(clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod answer;
mod ascii;
mod caller;
mod client;
mod connections;
mod dispatcher;
mod error;
mod framing;
mod message;
mod params;
mod places;
mod server;
mod socket;
mod unique;

pub use caller::{Caller, WaitPermit};
pub use client::{CallError, Client};
pub use dispatcher::{Dispatcher, Method, PreparedCall, Stage};
pub use error::{Code, RpcError};
pub use params::{NoParams, Param, Params, Value as ParamValue};
pub use server::Server;
pub use socket::{ListenError, lock_path};
pub use unique::Unique;
