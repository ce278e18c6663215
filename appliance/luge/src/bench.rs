//! `luge bench` and `luge ideal`: run the load generator and print the results.

use crate::cli::Bench;
use luge_bench::{BenchError, IdealOptions};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Runs the load generator, with a live line on a terminal. SIGINT or SIGTERM ends the run early: the
/// results so far are printed.
pub fn run(args: &Bench) -> Result<(), BenchError> {
    let stop = stop_at_signals().map_err(|source| BenchError::System { what: "signals", source })?;
    let live = stderr().is_terminal();
    let report = luge_bench::run(&args.options, &stop, &mut |line| {
        if live {
            eprint!("\r{line}\x1b[K");
        }
    });
    if live {
        eprint!("\r\x1b[K");
        // A terminal that is gone takes nothing of the result along.
        let _ = stderr().flush();
    }
    let report = report?;
    print(&if args.options.json { report.to_json() } else { report.to_string() })
}

/// Makes a flag that SIGINT and SIGTERM set. Further signals have no effect: `timeout`, for one, sends two.
fn stop_at_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Runs the ideal device instead of a served disk.
pub fn run_ideal(options: &IdealOptions) -> Result<(), BenchError> {
    let report = luge_bench::ideal::run(options)?;
    print(&if options.json { report.to_json() } else { report.to_string() })
}

fn print(report: &str) -> Result<(), BenchError> {
    let printed = writeln!(stdout(), "{report}");
    printed.map_err(|source| BenchError::System { what: "cannot print the result", source })
}
