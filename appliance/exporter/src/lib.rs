//! Exporter: metrics for Prometheus and a web page, by the RPC socket of a running Luge.
//!
//! Path: client -> `http` -> **routes** -> `lookout` -> RPC socket. No guest I/O passes here, and this is a process
//! of its own: nothing that its clients do reaches the process with the disks, except for a few RPC calls that
//! read, at most every half second.
//!
//! - `http`: a small, bounded server. `routes`: the paths.
//! - `lookout`: looks at the sled. `metrics`: a look as Prometheus' text. `sled_json`: a look as JSON.
//! - `page/`: the page, which draws that JSON; `dashboards/luge.json`: a dashboard for Grafana.
//!
//! Invariants
//! - Nothing can be changed: only GET and HEAD are served, and only reading methods are called.
//! - A client is bounded in time, bytes and number, and delays no other.
//! - A sled that is away is a state that is shown, and not an error.
//!
//! Not here: TLS, users and passwords: a reverse proxy has them.

#![deny(clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod http;
mod lookout;
mod metrics;
mod options;
mod routes;
mod sled_json;

pub use options::Options;

use http::{Hosts, Rules, Server, Times};
use lookout::Lookout;
use std::io::{self, Write};
use std::net::SocketAddr;
use thiserror::Error;

/// Reason why the exporter ends.
#[derive(Debug, Error)]
pub enum ExporterError {
    /// The address cannot be had.
    #[error(
        "cannot serve on {address}: {source}; does another exporter serve there? Choose another address (--listen)"
    )]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Error of the kernel.
        source: io::Error,
    },
    /// There is no thread for the health of the SSDs.
    #[error("no thread can be started: {0}; is the number of threads limited (ulimit -u, TasksMax=)?")]
    Thread(io::Error),
    /// The address cannot be printed.
    #[error("cannot print: {0}")]
    Print(io::Error),
}

/// Serves until the process is ended.
///
/// # Errors
/// [`ExporterError`].
pub fn run(options: &Options) -> Result<(), ExporterError> {
    let failed = |source| ExporterError::Listen { address: options.listen, source };
    let rules = Rules { hosts: Hosts::with(&options.hosts), times: Times::default() };
    let server = Server::listen(options.listen, rules).map_err(failed)?;
    let address = server.address().map_err(failed)?;
    greet(address, options).map_err(ExporterError::Print)?;
    let lookout = Lookout::new(&options.socket).map_err(ExporterError::Thread)?;
    server.run(move |request| routes::answer(request, &lookout))
}

fn greet(address: SocketAddr, options: &Options) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "luge exporter is ready: http://{address}/ shows the Luge at {}, http://{address}/metrics is for Prometheus",
        options.socket.display()
    )?;
    if !address.ip().is_loopback() {
        writeln!(out, "{address} is no loopback address: whoever reaches it can read all numbers and names")?;
    }
    out.flush()
}
