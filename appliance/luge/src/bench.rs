//! `luge bench` and `luge ideal`: run the load generator and print what it found.

use crate::cli::Bench;
use luge_bench::{BenchError, IdealOptions};
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

/// Runs the ideal device instead of one that is served.
pub fn run_ideal(options: &IdealOptions) -> Result<(), BenchError> {
    let report = luge_bench::ideal::run(options)?;
    if options.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    Ok(())
}
