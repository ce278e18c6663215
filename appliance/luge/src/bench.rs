//! `luge bench`: runs the load generator and prints what it found.

use crate::cli::Bench;
use luge_bench::BenchError;
use std::io::{IsTerminal, Write, stderr};

/// Runs it, with a live line on a terminal.
pub fn run(args: &Bench) -> Result<(), BenchError> {
    let live = stderr().is_terminal();
    let report = luge_bench::run(&args.options, &mut |line| {
        if live {
            eprint!("\r{line}");
        }
    })?;
    if live {
        eprint!("\r\x1b[K");
        // A terminal that is gone takes nothing of the result along.
        let _ = stderr().flush();
    }
    if args.options.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    Ok(())
}
