//! Observer of a running Luge: reads its numbers by RPC methods, and computes rates.
//!
//! Path: **source -> snapshot -> rates** -> a screen (`luge top`) or a page (`luge exporter`). No guest I/O
//! passes here.
//!
//! - [`Source`]: calls methods, over the RPC socket ([`Socket`]) or within the process.
//! - [`Observer`]: takes snapshots; the health of the SSDs it asks for more seldom, on a thread of its own.
//! - [`Snapshot`]: the numbers at one moment, typed.
//! - [`Histogram`]: latencies of one operation.
//! - [`Rates`]: the change between two snapshots.
//!
//! Invariants
//! - Only methods that change nothing are called.
//! - Answers are not trusted: lists and texts are cut at limits, values of a wrong type count as absent.
//! - A number that the answer does not have is `None`, never zero.
//!
//! Not here: terminals, HTTP.

#![deny(clippy::indexing_slicing, clippy::panic)]

mod answer;
mod endpoint;
mod health;
mod health_watch;
mod histogram;
mod observer;
mod rates;
mod snapshot;
mod socket;
mod source;
mod ssd;
mod volume;

pub use endpoint::{Endpoint, EndpointKind};
pub use health::Health;
pub use histogram::{Bucket, Histogram, Operation};
pub use observer::Observer;
pub use rates::{CoreRates, OperationRates, Rates, VolumeRates};
pub use snapshot::{Core, Missing, Snapshot, Tenant, Vm};
pub use socket::Socket;
pub use source::{Source, SourceError};
pub use ssd::Ssd;
pub use volume::{Counters, OperationCounters, Volume};
