//! Reasons why a load has no result.

use thiserror::Error;

/// Reason why there is no result.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The options contradict each other or the disk.
    #[error("{0}")]
    Options(String),
    /// The server did not answer as it must.
    #[error("{path}: {reason}")]
    Server {
        /// The socket.
        path: String,
        /// Event that should not have been.
        reason: String,
    },
    /// The server ended a request otherwise than well.
    #[error(
        "the server failed {failed} of {total} requests; the first, a {verb} of sector {sector}, with status {status}"
    )]
    Failed {
        /// Failed requests.
        failed: u64,
        /// All requests.
        total: u64,
        /// Kind of the first one: a read or a write.
        verb: &'static str,
        /// First sector of it.
        sector: u64,
        /// Status of it, in the protocol's words.
        status: String,
    },
    /// The server did not end all requests.
    #[error("{0} requests were not answered within 10 s after the last one was sent: the server is stuck")]
    Stuck(usize),
    /// Data that was read differs from what was written.
    #[error("wrong data in request {unit} of the disk, at byte {byte}: {what}")]
    Corrupt {
        /// Number of the request: the disk counted in requests.
        unit: u64,
        /// First byte of it.
        byte: u64,
        /// Difference, in words.
        what: String,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// Operation that was tried.
        what: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
}
