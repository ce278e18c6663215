//! `luge bench` and `luge ideal`: run the load generator and print what it found.

use crate::cli::Bench;
use luge_bench::{BenchError, IdealOptions};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Runs it, with a live line on a terminal. SIGINT or SIGTERM ends it early: what was measured until
/// then is printed.
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

/// A signal sets the flag. A second one does no more: `timeout`, for one, sends two, and the end is
/// near in any case.
fn stop_at_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Runs the ideal device instead of one that is served.
pub fn run_ideal(options: &IdealOptions) -> Result<(), BenchError> {
    let report = luge_bench::ideal::run(options)?;
    print(&if options.json { report.to_json() } else { report.to_string() })
}

fn print(report: &str) -> Result<(), BenchError> {
    let printed = writeln!(stdout(), "{report}");
    printed.map_err(|source| BenchError::System { what: "cannot print the result", source })
}
