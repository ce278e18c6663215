//! Errors of attaching a server; each message names the thing and the remedy.

use super::connection::CallError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Failure to attach the function of a vfio-user server; the connection is closed then.
#[derive(Debug, Error)]
pub enum VfioUserError {
    /// No server listens.
    #[error(
        "cannot connect to the vfio-user server at {}: {source}; start the server first, and name its socket, or the \
         directory with its socket `cntrl`",
        socket.display()
    )]
    NoServer {
        /// Socket.
        socket: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The server takes no client.
    #[error(
        "the vfio-user server at {} takes no client: it has one, or does not answer; end that client, or restart the \
         server",
        socket.display()
    )]
    Busy {
        /// Socket.
        socket: PathBuf,
    },
    /// A message failed.
    #[error("{}: {what} failed: {source}", socket.display())]
    Server {
        /// Socket.
        socket: PathBuf,
        /// Step.
        what: &'static str,
        /// Failure.
        source: CallError,
    },
    /// The function is of another kind.
    #[error("{} is no NVMe controller: {why}; name the socket of one", socket.display())]
    NotNvme {
        /// Socket.
        socket: PathBuf,
        /// Difference.
        why: String,
    },
    /// Memory cannot be made reachable for the server, or its configuration failed.
    #[error("{}: {what} failed: {source}", socket.display())]
    System {
        /// Socket.
        socket: PathBuf,
        /// Step.
        what: &'static str,
        /// Error.
        source: io::Error,
    },
}
