//! Luge: NVMe SSDs, driven from user space, served as disks to virtual machines.
//!
//! - `cli`: what was typed; `serve`, `call`, `bench`: what it means. `boot`: what PID 1 does.
//! - `appliance`: everything that runs, from a plan.
//! - `control`: the one thread that owns what exists.
//! - `methods`: what can be asked of it. `relay`: what VMs say.
//! - `config`, `cpus`, `hugepages`, `log`: what the plan is made of.

mod appliance;
mod bench;
mod boot;
mod call;
mod cli;
mod config;
mod control;
mod cpus;
mod error_log;
mod hugepages;
mod log;
mod methods;
mod relay;
mod serve;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    if is_first_process() {
        boot::run();
    }
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args).map_err(|error| error.to_string()),
        Command::Rpc(args) => call::run(&args).map_err(|error| error.to_string()),
        Command::Bench(args) => bench::run(&args).map_err(|error| error.to_string()),
        Command::Ideal(options) => bench::run_ideal(&options).map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("luge: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether this is the appliance. In a container, `luge serve` may be process 1 as well.
fn is_first_process() -> bool {
    let typed = std::env::args_os().nth(1);
    let is_command =
        typed.is_some_and(|word| ["serve", "rpc", "bench", "ideal"].iter().any(|&one| word == one));
    rustix::process::getpid().is_init() && !is_command
}
