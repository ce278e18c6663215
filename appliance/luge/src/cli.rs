//! The command line: what was typed.

use clap::{Args, Parser, Subcommand};
use luge_socket::{Group, Mode};
use std::path::PathBuf;

/// Where the RPC socket is by default: where clients look for it.
const RPC_SOCKET: &str = "/var/tmp/spdk.sock";

/// Serves NVMe SSDs as disks to virtual machines, from user space.
#[derive(Debug, Parser)]
#[command(name = "luge", version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve disks until SIGTERM or SIGINT
    Serve(Serve),
    /// Call an RPC method of a running Luge
    Rpc(Rpc),
    /// Load a vhost-user-blk disk with requests, and measure
    Bench(Bench),
    /// Measure an ideal device between two CPUs: what the memory between them allows
    Ideal(luge_bench::IdealOptions),
}

/// `luge serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
A second SIGTERM or SIGINT ends at once, without waiting for requests in flight.

Example: luge serve -S /run/luge -m 0x3 -s 512
         luge rpc bdev_malloc_create '{\"name\": \"m0\", \"num_blocks\": 131072, \"block_size\": 512}'
         luge rpc vhost_create_blk_controller '{\"ctrlr\": \"vhost.0\", \"dev_name\": \"m0\"}'")]
pub struct Serve {
    /// Folder for vhost-user sockets
    #[arg(short = 'S', value_name = "DIR", default_value = ".")]
    pub sockets: PathBuf,
    /// CPUs that serve disks: a mask (0x3) or a list ([0,2-5]); the first one if not given
    #[arg(short = 'm', long = "cpumask", value_name = "CPUMASK", allow_hyphen_values = true)]
    pub cpus: Option<String>,
    /// Mode of vhost-user sockets; 0660, if not given
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<Mode>,
    /// Group of vhost-user sockets, such as that of QEMU's user: a name or a number
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<Group>,
    /// RPC socket
    #[arg(short = 'r', long = "rpc-socket", value_name = "RPC_SOCKET", default_value = RPC_SOCKET)]
    pub rpc_socket: PathBuf,
    /// Mode of the RPC socket; 0600, if not given. Whoever may write to it may do everything
    #[arg(long, value_name = "MODE")]
    pub rpc_socket_mode: Option<Mode>,
    /// Group of the RPC socket: a name or a number
    #[arg(long, value_name = "GROUP")]
    pub rpc_socket_group: Option<Group>,
    /// Memory for disks in MiB, of hugepages; all that are free if not given
    #[arg(short = 's', long = "mem-size", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub memory_mib: Option<u64>,
    /// Configuration to start with, as save_config writes it; comments are allowed
    #[arg(short = 'c', long = "config", value_name = "CONFIG.json")]
    pub config: Option<PathBuf>,
    /// Wait for the RPC framework_start_init before serving
    #[arg(long)]
    pub wait_for_rpc: bool,
    /// Use ordinary pages instead of hugepages: slower, for trying things out
    #[arg(long)]
    pub no_huge: bool,
}

/// `luge rpc`.
#[derive(Debug, Args)]
#[command(after_help = "`luge rpc rpc_get_methods` lists the methods.")]
pub struct Rpc {
    /// RPC socket of the running Luge
    #[arg(short = 's', long = "socket", value_name = "SOCKET", default_value = RPC_SOCKET)]
    pub socket: PathBuf,
    /// How long to wait for the answer, in seconds
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub timeout_s: u64,
    /// Method to call
    pub method: String,
    /// Its parameters, as a JSON object; `-` reads them from standard input
    #[arg(value_name = "JSON")]
    pub params: Option<String>,
}

/// `luge bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
It works against any vhost-user-blk server. `target CPU per I/O` is what all the server's threads
spent; a generator that is 100 % busy is itself the limit. Ctrl-C ends it and reports what was
measured until then. Data that is not as it was written, or a request that fails, is an error.

Example: luge bench /run/luge/vhost.0 --rw randread --bs 512 --iodepth 128 --runtime 10
         luge bench /run/luge/vhost.0 --rw randrw --bs 4k --queues 2 --verify crc32c --json")]
pub struct Bench {
    /// What to do
    #[command(flatten)]
    pub options: luge_bench::Options,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_begins_with_what_luge_is_for() {
        let help = Cli::command().render_help().to_string();
        assert!(help.starts_with("Serves NVMe SSDs as disks to virtual machines"), "{help}");
    }

    #[test]
    fn the_letters_are_those_that_storage_people_know() {
        let line = "luge serve -S /run -m 0x3 -r /run/r.sock -s 64 -c c.json --wait-for-rpc";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        assert_eq!((serve.cpus.as_deref(), serve.memory_mib), (Some("0x3"), Some(64)));
        assert!(serve.wait_for_rpc && !serve.no_huge);
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in
            ["luge serve -s 0", "luge serve -s x", "luge serve -x", "luge rpc", "luge rpc m -t 0", "luge"]
        {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
