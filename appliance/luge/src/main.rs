//! Luge: NVMe SSDs, driven from user space, served as disks to virtual machines.
//!
//! - `cli`: what was typed; `serve`, `call`: what it means.
//! - `appliance`: everything that runs, from a plan.
//! - `control`: the one thread that owns what exists.
//! - `methods`: what can be asked of it.
//! - `config`, `cpus`, `hugepages`, `log`: what the plan is made of.

mod appliance;
mod call;
mod cli;
mod config;
mod control;
mod cpus;
mod hugepages;
mod log;
mod methods;
mod serve;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args).map_err(|error| error.to_string()),
        Command::Rpc(args) => call::run(&args).map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("luge: {message}");
            ExitCode::FAILURE
        }
    }
}
