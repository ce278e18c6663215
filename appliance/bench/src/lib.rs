//! The load generator: a vhost-user-blk front end that polls its rings.
//!
//! Path: **requests** -> guest ring -> (the server) -> used ring -> **latencies**.
//!
//! The generator works against any vhost-user-blk server. Its report says how busy it was itself (a generator
//! that is always busy measures itself), the distance between its core and the server's, and the CPU time of
//! the server's threads for each request.
//!
//! - [`Options`]: a load. [`run`] runs it. [`Report`]: the result.
//! - [`ideal`]: an ideal device between the same CPUs, the limit of any server.
//!
//! Not here: guests, other protocols, files.

mod arena;
mod checks;
mod choice;
mod clock;
mod error;
mod frontend;
pub mod ideal;
mod load;
mod options;
mod pace;
mod pattern;
mod report;
mod ring;
mod round_trip;
mod talk;
mod target;
mod time_limit;

pub use error::BenchError;
pub use ideal::{IdealOptions, IdealReport};
pub use options::{Direction, Options, Verify};
pub use report::Report;

use std::sync::atomic::AtomicBool;

/// Runs the load and measures it. `progress` is called with a line when it begins, and about every
/// second; `stop` ends it early, and the report is on what was done until then.
///
/// # Errors
/// [`BenchError`].
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, BenchError> {
    options.check()?;
    let mut disk = frontend::Disk::connect(options, stop)?;
    let server = &target::Server::find(disk.peer());
    let home = round_trip::pin(options.cpu)?;
    let mut surroundings = load::Surroundings { server, stop, progress };
    let away = load::warm_up(&mut disk, options, &mut surroundings)?;
    let distance = round_trip::measure(home, away);
    let known = distance.map_or("unknown".into(), |ns| format!("{ns:.1} ns"));
    (surroundings.progress)(&format!("cache line {known} there and back"));
    let measured = load::run(&mut disk, options, &mut surroundings)?;
    Ok(Report::new(options, measured, distance))
}
