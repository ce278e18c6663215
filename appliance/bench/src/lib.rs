//! The load generator: a vhost-user front end, or an NVMe host over vfio-user, that polls its queues.
//!
//! Path: **requests** -> guest ring -> (the server) -> used ring -> **latencies**.
//!
//! The generator works against any server of these protocols. Its report says how busy it was itself (a generator
//! that is always busy measures itself), the distance between its core and the server's, and the CPU time of
//! the server's threads for each request.
//!
//! - [`Options`]: a load. [`run`] runs it. [`Report`]: the result.
//! - `queue`: what the loop (`load`) asks of a protocol; `vhost` and `nvme` are the two.
//! - [`increment`]: increments of a number on a disk by compare-and-write.
//! - [`ideal`]: an ideal device between the same CPUs, the limit of any server.
//!
//! Not here: guests, files.

mod arena;
mod checks;
mod choice;
mod clock;
mod disks;
mod error;
pub mod ideal;
mod increments;
mod load;
mod nvme;
mod options;
mod pace;
mod pattern;
mod queue;
mod report;
mod round_trip;
mod swap;
mod target;
mod vhost;

pub use error::BenchError;
pub use ideal::{IdealOptions, IdealReport};
pub use increments::{Increments, increment};
pub use options::{Direction, Options, Verify};
pub use report::Report;

use disks::Disks;
use options::Protocol;
use queue::Disk;
use std::sync::atomic::AtomicBool;
use vhost::{Blk, Scsi, VhostDisk};

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
    let paths = options.disks.iter();
    match options.check()? {
        Protocol::VhostUserBlk => {
            let disks = paths.map(|path| VhostDisk::<Blk>::connect(options, path, stop));
            run_on(Disks::connect(disks)?, options, stop, progress)
        }
        Protocol::VhostUserScsi => {
            let disks = paths.map(|path| VhostDisk::<Scsi>::connect(options, path, stop));
            run_on(Disks::connect(disks)?, options, stop, progress)
        }
        Protocol::Nvme => {
            let disks = Disks::connect(paths.map(|path| nvme::NvmeDisk::connect(options, path)))?;
            run_on(disks, options, stop, progress)
        }
    }
}

/// Runs the load on disks of one kind.
fn run_on<D: Disk>(
    mut disks: Disks<D>,
    options: &Options,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, BenchError> {
    let server = &target::Server::find(disks.peer());
    let home = round_trip::pin(options.cpu)?;
    let mut surroundings = load::Surroundings { server, stop, progress };
    let away = load::warm_up(&mut disks, options, &mut surroundings)?;
    let distance = round_trip::measure(home, away);
    let known = distance.map_or("unknown".into(), |ns| format!("{ns:.1} ns"));
    (surroundings.progress)(&format!("cache line {known} there and back"));
    let measured = load::run(&mut disks, options, &mut surroundings)?;
    Ok(Report::new(options, measured, distance))
}
