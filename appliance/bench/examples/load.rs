//! The load generator by itself, for trying a server: `cargo run --release --example load -- SOCKET`.

use clap::Parser;
use luge_bench::Options;
use std::sync::atomic::AtomicBool;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> Result<(), luge_bench::BenchError> {
    let cli = Cli::parse();
    let report = luge_bench::run(&cli.options, &AtomicBool::new(false), &mut |line| eprintln!("{line}"))?;
    println!("{report}");
    Ok(())
}
