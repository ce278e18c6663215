//! The command `luge trace`.

use super::{client, print};
use crate::cli::TraceArgs;
use luge_rpc::CallError;
use luge_trace::{Trace, TraceError};
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;

/// Error of `luge trace`.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The file cannot be read as a trace.
    #[error("{path}: {source}")]
    Trace {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: TraceError,
    },
    /// The end of the file is missing.
    #[error("{path}: the last {bytes} bytes of the trace are missing; events that they had are not shown")]
    Missing {
        /// Path of the file.
        path: PathBuf,
        /// Number of bytes.
        bytes: u64,
    },
    /// The running Luge does not answer.
    #[error("{0}; `luge trace FILE` prints a trace that has been written to a file")]
    Call(#[from] CallError),
    /// Standard output does not take the text.
    #[error("the trace cannot be printed: {0}")]
    Output(#[from] io::Error),
}

/// Prints a trace.
///
/// # Errors
/// [`PrintError`]. Of a file whose end is missing, the rest is printed.
pub fn run(args: &TraceArgs) -> Result<(), PrintError> {
    let trace = match &args.file {
        Some(path) => Trace::read(path).map_err(|source| PrintError::Trace { path: path.clone(), source })?,
        None => client::trace_at(&args.socket)?,
    };
    let mut out = io::stdout().lock();
    let text = match (args.json, out.is_terminal()) {
        (true, _) => print::json(&trace),
        (false, true) => print::lines(&trace, &print::COLOURED),
        (false, false) => print::lines(&trace, &print::PLAIN),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result?,
    }
    match (trace.missing_bytes, &args.file) {
        (1.., Some(path)) => Err(PrintError::Missing { path: path.clone(), bytes: trace.missing_bytes }),
        _ => Ok(()),
    }
}
