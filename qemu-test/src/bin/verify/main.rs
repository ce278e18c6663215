//! `cargo verify`: all checks that a change has to pass.
//!
//! The steps run in order, each with its own log; a failed step does not stop the others. The last line
//! is `N passed, M failed`, where each test counts as one, and each step without tests. A test that this
//! machine cannot run is neither; the line before names it.
//!
//! Not here: the tests.

mod cargo;
mod deny;
mod log;
mod steps;
mod tally;

use clap::Parser;
use log::Log;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steps::{LONG, STEPS, Step};
use tally::Tally;

/// Checks formatting, lints, dependencies and documentation, and runs all tests, including those in
/// virtual machines.
#[derive(Parser)]
#[command(name = "cargo verify", version)]
struct Arguments {
    /// Names of steps to run; the default is all but `long`, which takes hours.
    #[arg(value_parser = STEPS.iter().chain([&LONG]).map(|step| step.name).collect::<Vec<_>>())]
    steps: Vec<String>,
}

fn main() -> ExitCode {
    let wanted = Arguments::parse().steps;
    let named = |step: &Step| wanted.iter().any(|name| name == step.name);
    let reports: Vec<Report> = STEPS
        .iter()
        .filter(|step| wanted.is_empty() || named(step))
        .chain([&LONG].into_iter().filter(|step| named(step)))
        .map(run)
        .collect();
    println!();
    for report in &reports {
        println!("{report}");
    }
    let total: Tally = reports.into_iter().map(|report| report.tally).sum();
    if !total.skipped.is_empty() {
        println!("this machine cannot run all tests: {total}");
    }
    println!("{}", total.summary());
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Result of a step.
struct Report {
    name: &'static str,
    tally: Tally,
    took: Duration,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.tally.failed == 0 { "ok" } else { "FAILED" };
        write!(f, "{:<14} {:>8.1} s  {verdict:<6} {}", self.name, self.took.as_secs_f64(), self.tally)
    }
}

fn run(step: &Step) -> Report {
    println!("{}: {} ...", step.name, step.what);
    let began = Instant::now();
    let tally = attempt(step).unwrap_or_else(|failure| {
        println!("{}: {failure}", step.name);
        failure.tally
    });
    let report = Report { name: step.name, tally, took: began.elapsed() };
    println!("{report}");
    report
}

fn attempt(step: &Step) -> Result<Tally, log::Failure> {
    let folder = cargo::target_folder().join("verify");
    let mut log = Log::create(&folder.join(format!("{}.log", step.name)))?;
    (step.work)(&mut log)
}
