//! Storage server that drives NVMe SSDs from user space and serves them as disks to virtual machines.
//!
//! - `cli`: the command line; `serve`, `call`, `bench`, `host`, `top`, `trace`, `generate`: the commands. `boot`: the
//!   appliance's PID 1.
//! - `appliance`: start and stop of all parts.
//! - `control`: the thread that owns all objects.
//! - `service_manager`: what the daemon tells systemd. `methods`: the RPC methods. `relay`: serial consoles of VMs, in the log.
//! - `allocator`, `config`, `cpus`, `hugepages`, `log`: settings.

#[cfg(target_env = "gnu")]
mod allocator;
mod appliance;
mod bench;
mod boot;
mod call;
mod cli;
mod config;
mod control;
mod cpus;
mod error_log;
mod generate;
mod host;
mod hugepages;
mod log;
mod methods;
mod relay;
mod serve;
mod service_manager;
mod stall_log;
mod top;
mod trace;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    allocator::set_up();
    if is_first_process() {
        boot::run();
    }
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args).map_err(|error| error.to_string()),
        Command::Rpc(args) => call::run(&args).map_err(|error| error.to_string()),
        Command::Bench(args) => bench::run(&args).map_err(|error| error.to_string()),
        Command::Host(args) => host::run(&args).map_err(|error| error.to_string()),
        Command::Exporter(args) => luge_exporter::run(&args.options).map_err(|error| error.to_string()),
        Command::Top(args) => top::run(&args).map_err(|error| error.to_string()),
        Command::Generate(args) => generate::run(&args.folder).map_err(|error| error.to_string()),
        Command::Trace(args) => trace::run(&args).map_err(|error| error.to_string()),
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

/// Whether this process is the appliance's PID 1. In a container, `luge serve` may be process 1 as well.
fn is_first_process() -> bool {
    let typed = std::env::args_os().nth(1);
    let is_command = typed.is_some_and(|word| Cli::command().find_subcommand(&word).is_some());
    rustix::process::getpid().is_init() && !is_command
}
