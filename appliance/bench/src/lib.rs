//! The load generator: a vhost-user-blk front end that polls its rings.
//!
//! Path: **requests** -> guest ring -> (the server) -> used ring -> **latencies**.
//!
//! It works against any vhost-user-blk server. It says how busy it was itself (a generator
//! that is always busy measures itself), how far its core and the server's are apart, and
//! what the server's threads spent on each request.
//!
//! - [`Options`]: what to do. [`run`]: does it. [`Report`]: what came out.
//! - [`ideal`]: what no server can pass: an ideal device between the same CPUs.
//!
//! Not here: guests, other protocols, files.

mod arena;
mod clock;
mod frontend;
pub mod ideal;
mod load;
mod options;
mod pattern;
mod report;
mod ring;
mod round_trip;
mod target;

pub use ideal::{IdealOptions, IdealReport};
pub use options::{Direction, Options, Verify};
pub use report::Report;

use thiserror::Error;

/// Why there is no result.
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
        /// What happened.
        reason: String,
    },
    /// The server ended a request otherwise than well.
    #[error("the server failed {failed} of {total} requests; the first with status {status}")]
    Failed {
        /// Failed requests.
        failed: u64,
        /// All requests.
        total: u64,
        /// The first bad status.
        status: u8,
    },
    /// The server did not end all requests.
    #[error("{0} requests were not answered within 10 s after the end of the run")]
    Stuck(usize),
    /// What was read is not what was written.
    #[error("block {lba}: {what}")]
    Corrupt {
        /// The block.
        lba: u64,
        /// How it differs.
        what: &'static str,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// Runs the load and measures it. `progress` is called about every second with a line.
///
/// # Errors
/// [`BenchError`].
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, BenchError> {
    options.check()?;
    let mut disk = frontend::Disk::connect(options)?;
    let server = target::Server::find(disk.peer());
    let home = round_trip::pin(options.cpu)?;
    let away = load::warm_up(&mut disk, options, &server)?;
    let distance = round_trip::measure(home, away);
    let measured = load::run(&mut disk, options, (&server, progress))?;
    Ok(Report::new(options, measured, distance))
}
