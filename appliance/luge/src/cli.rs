//! The command line.

use crate::control::PrScope;
use clap::{Args, Parser, Subcommand};
use luge_socket::{Group, Mode};
use luge_vfio::PciAddress;
use luge_vm::{FIRST_USER, USERS};
use std::path::PathBuf;

/// Default path of the RPC socket, which SPDK's clients use too.
const RPC_SOCKET: &str = "/var/tmp/spdk.sock";

/// Storage server: drives NVMe SSDs from user space and serves them as disks to virtual machines.
#[derive(Debug, Parser)]
#[command(name = "luge", version, max_term_width = 100)]
pub struct Cli {
    /// Command to run
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve disks until SIGTERM or SIGINT
    Serve(Serve),
    /// Call an RPC method of a running Luge
    Rpc(Rpc),
    /// Watch volumes, SSDs, endpoints, VMs and cores of a running Luge
    Top(Top),
    /// Send requests to a vhost-user-blk disk and measure rate, latency and CPU time
    Bench(Bench),
    /// Show and prepare this host: SSDs, hugepages, what costs latency
    Host(HostArgs),
    /// Serve metrics for Prometheus and a web page of a running Luge
    Exporter(Exporter),
    /// Print the trace that a Luge has left, or is writing
    Trace(TraceArgs),
    /// Measure an ideal device: the upper limit that memory shared by two CPUs sets
    Ideal(luge_bench::IdealOptions),
    /// Write manual pages and completions of shells into a folder, for packages
    #[command(hide = true)]
    Generate(Generate),
}

/// Arguments of `luge generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Folder of the files
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Arguments of `luge serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
A second SIGTERM or SIGINT ends Luge at once, without waiting for requests in flight.

Example: luge serve -S /run/luge -m 0x3 -s 512
         luge rpc bdev_malloc_create '{\"name\": \"m0\", \"num_blocks\": 131072, \"block_size\": 512}'
         luge rpc vhost_create_blk_controller '{\"ctrlr\": \"vhost.0\", \"dev_name\": \"m0\"}'")]
pub struct Serve {
    /// Folder where vhost-user sockets are made
    #[arg(short = 'S', value_name = "DIR", default_value = ".")]
    pub sockets: PathBuf,
    /// CPUs that serve disks: a mask (0x3) or a list ([0,2-5]); the first CPU if not given
    #[arg(short = 'm', long = "cpumask", value_name = "CPUMASK", allow_hyphen_values = true)]
    pub cpus: Option<String>,
    /// Mode of vhost-user sockets, in octal; 0660 if not given
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<Mode>,
    /// Group of vhost-user sockets, such as that of QEMU's user: a name or a number
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<Group>,
    /// Path of the RPC socket
    #[arg(short = 'r', long = "rpc-socket", value_name = "RPC_SOCKET", default_value = RPC_SOCKET)]
    pub rpc_socket: PathBuf,
    /// Mode of the RPC socket, in octal; 0600 if not given. Write access allows every method
    #[arg(long, value_name = "MODE")]
    pub rpc_socket_mode: Option<Mode>,
    /// Group of the RPC socket: a name or a number
    #[arg(long, value_name = "GROUP")]
    pub rpc_socket_group: Option<Group>,
    /// Memory for disks in MiB, taken from hugepages; all free hugepages if not given
    #[arg(short = 's', long = "mem-size", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub memory_mib: Option<u64>,
    /// Configuration file to load at the start, as save_config writes it; comments are allowed
    #[arg(short = 'c', long = "config", value_name = "CONFIG.json")]
    pub config: Option<PathBuf>,
    /// Wait for the RPC method framework_start_init before serving
    #[arg(long)]
    pub wait_for_rpc: bool,
    /// First of 65536 users and groups, by number, that VMs run as, each as one of its own, if Luge is
    /// root. Each Luge on a host needs users of its own
    #[arg(long, value_name = "UID", default_value_t = FIRST_USER,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(u32::MAX - USERS)))]
    pub vm_users: u32,
    /// Folder of a cgroup (v2) without processes, in which each VM gets a cgroup that bounds its CPU
    /// time and memory; /sys/fs/cgroup/luge if not given, and none where that cannot be made
    #[arg(long, value_name = "DIR")]
    pub vm_cgroup: Option<PathBuf>,
    /// Folder that QEMU needs in the sandbox of a VM, besides /usr, /lib and its own, such as /nix/store;
    /// every VM can read it. May be given several times
    #[arg(long, value_name = "DIR")]
    pub vm_files: Vec<PathBuf>,
    /// Users that share the persistent reservations of a volume: volume, for all that use it, or vm, for the
    /// controllers and subsystems of one tenant. Each can have a scope of its own
    #[arg(long, value_name = "SCOPE", default_value = "volume")]
    pub pr_scope: PrScope,
    /// File for the trace: the last events of each core, for `luge trace`. The trace of the process before is kept
    /// as FILE.previous
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Use ordinary pages instead of hugepages: slower, for trials
    #[arg(long)]
    pub no_huge: bool,
}

/// Arguments of `luge trace`.
#[derive(Debug, Args)]
#[command(after_help = "\
The trace has long turns of cores, sessions that start and stop, and the lines of the log. Without FILE, it is that of
the Luge that runs; a file can also be read after Luge has ended or was killed. Times are UTC.

Example: luge trace --socket /run/luge/rpc.sock
         luge serve --trace /run/luge/trace
         luge trace /run/luge/trace
         luge trace /run/luge/trace.previous --json")]
pub struct TraceArgs {
    /// File of the trace
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Path of the RPC socket of the running Luge
    #[arg(short = 's', long = "socket", value_name = "SOCKET", default_value = RPC_SOCKET, conflicts_with = "file")]
    pub socket: PathBuf,
    /// Print one JSON object for each event
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `luge rpc`.
#[derive(Debug, Args)]
#[command(after_help = "`luge rpc rpc_get_methods` lists the methods.")]
pub struct Rpc {
    /// Path of the RPC socket of the running Luge
    #[arg(short = 's', long = "socket", value_name = "SOCKET", default_value = RPC_SOCKET)]
    pub socket: PathBuf,
    /// Time limit of the answer, in seconds
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub timeout_s: u64,
    /// RPC method to call
    pub method: String,
    /// Parameters as a JSON object; `-` reads them from standard input
    #[arg(value_name = "JSON")]
    pub params: Option<String>,
}

/// Arguments of `luge top`.
#[derive(Debug, Args)]
#[command(after_help = "Keys: q leaves, Tab changes the view, s sorts, / filters, ? shows all keys.")]
pub struct Top {
    /// Path of the RPC socket of the running Luge
    #[arg(short = 's', long = "socket", value_name = "SOCKET", default_value = RPC_SOCKET)]
    pub socket: PathBuf,
}

/// Arguments of `luge bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Works with any vhost-user-blk server, and with NVMe controllers over vfio-user. `target CPU per I/O` is the CPU time of all the server's
threads. If the generator is 100 % busy, the generator is the limit. Ctrl-C ends the run early and
reports the results so far. Data other than written, or a failed request, is an error.

Example: luge bench /run/luge/vhost.0 --rw randread --bs 512 --iodepth 128 --runtime 10
         luge bench /run/luge/vhost.0 --rw randrw --bs 4k --queues 2 --verify crc32c --json
         luge bench /run/luge/nvme1 /run/luge/nvme2 --rw randread --bs 512 --iodepth 16")]
pub struct Bench {
    /// Options of the run
    #[command(flatten)]
    pub options: luge_bench::Options,
}

/// Arguments of `luge exporter`.
#[derive(Debug, Args)]
#[command(after_help = "\
The page is at /, the metrics at /metrics, a dashboard for Grafana at /grafana.json. Nothing can be changed there. There
is no encryption and no password: for clients of other machines, put a reverse proxy before it. Luge may go away and
come back; its state is shown.

Example: luge exporter
         luge exporter --socket /run/luge/rpc.sock --listen 127.0.0.1:9724")]
pub struct Exporter {
    /// Options
    #[command(flatten)]
    pub options: luge_exporter::Options,
}

/// Arguments of `luge host`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a command: the SSDs and who uses them, the hugepages, and what is missing. An SSD that is mounted or
otherwise in use is refused. What was changed is noted in the journal, and `luge host reset` undoes it.

Example: luge host
         luge host bind 0000:3b:00.0 0000:3c:00.0
         luge host hugepages 4096 --node 0
         luge host reset")]
pub struct HostArgs {
    /// Change to make; without one, the host is shown
    #[command(subcommand)]
    pub action: Option<HostAction>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print what would be done, and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// File in which changes are noted, so that they can be undone
    #[arg(long, global = true, value_name = "FILE", default_value = "/run/luge/host.json")]
    pub journal: PathBuf,
}

/// Changes of a host.
#[derive(Debug, Subcommand)]
pub enum HostAction {
    /// Bind SSDs to vfio-pci, for Luge
    Bind(SsdArgs),
    /// Give SSDs back to the kernel's driver
    Release(SsdArgs),
    /// Reserve hugepages on a NUMA node
    Hugepages(HugepagesArgs),
    /// Undo all changes that `luge host` has made
    Reset,
}

/// SSDs of a change.
#[derive(Debug, Args)]
pub struct SsdArgs {
    /// PCI addresses, such as 0000:3b:00.0
    #[arg(required = true, value_name = "PCI-ADDRESS")]
    pub ssds: Vec<PciAddress>,
}

/// Arguments of `luge host hugepages`.
#[derive(Debug, Args)]
pub struct HugepagesArgs {
    /// Memory in MiB, which the node is to have in hugepages of that size altogether
    #[arg(value_name = "MIB", value_parser = clap::value_parser!(u64).range(0..=1 << 30))]
    pub mib: u64,
    /// NUMA node
    #[arg(long, default_value_t = 0)]
    pub node: u32,
    /// Size of a page in KiB: 2048 or 1048576
    #[arg(long, value_name = "KIB", default_value_t = 2048)]
    pub page_kib: u64,
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
    fn help_begins_with_what_luge_is() {
        let help = Cli::command().render_help().to_string();
        assert!(help.starts_with("Storage server: drives NVMe SSDs from user space"), "{help}");
    }

    #[test]
    fn the_letters_are_those_that_storage_people_know() {
        let line = "luge serve -S /run -m 0x3 -r /run/r.sock -s 64 -c c.json --wait-for-rpc";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        assert_eq!(serve.cpus.as_deref(), Some("0x3"));
        assert_eq!(serve.memory_mib, Some(64));
        assert!(serve.wait_for_rpc && !serve.no_huge);
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [
            "luge serve -s 0",
            "luge serve --pr-scope host",
            "luge serve -s x",
            "luge serve -x",
            "luge rpc",
            "luge rpc m -t 0",
            "luge",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
