//! `luge serve` as a child process.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::lab::Bench;
use crate::process::Process;
use crate::rpc::Rpc;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Time limit until the daemon is ready.
const READY_SECONDS: u32 = 60;

/// Messages of a daemon that has done all it does at its start: the second one if it has the option
/// `--wait-for-rpc`.
const READY: [&str; 2] = ["luge is ready: RPC on ", "luge waits for framework_start_init: RPC on "];

/// Folder of the kernel's counters of 2 MiB pages.
const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// A daemon to be started.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Name in logs and errors.
    pub name: String,
    /// Cores that it may use, as a mask in SPDK's syntax.
    pub cpu_mask: String,
    /// Memory in MiB, of hugepages if the host has or can allocate them.
    pub memory_mib: u32,
    /// Memory in MiB of the same kind for its virtual machines.
    pub spare_memory_mib: u32,
    /// More arguments.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            name: "luge".to_owned(),
            cpu_mask: "0x1".to_owned(),
            memory_mib: 64,
            spare_memory_mib: 0,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

impl Serve {
    /// Starts the daemon and waits until it has loaded its configuration and is ready.
    ///
    /// # Errors
    /// If the daemon does not start; the error contains its log.
    pub fn start(&self, bench: &Bench<'_>) -> Result<Daemon, TestError> {
        // Until the daemon has taken its pages, others would count them as free.
        let _alone = bench.lab().lock("hugepages")?;
        let pages: &[&str] =
            if provide_hugepages(self.memory_mib + self.spare_memory_mib) { &[] } else { &["--no-huge"] };
        let folder = bench.path(&self.name);
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        let socket = folder.join("rpc.sock");
        let mut command = Command::new(bench.lab().luge()?);
        command.arg("serve").arg("-S").arg(&folder).arg("-r").arg(&socket);
        command
            .args(["-m", &self.cpu_mask, "-s", &self.memory_mib.to_string()])
            .args(pages)
            .args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(&self.name, command, &bench.log(&self.name))?;
        process.output.wait_any(&READY, Deadline::within(READY_SECONDS))?;
        let rpc = Rpc::connect(&socket)?;
        Ok(Daemon { process, rpc, folder })
    }
}

/// A running daemon. Dropping it kills the process.
pub struct Daemon {
    /// Process of the daemon.
    pub process: Process,
    /// Connection to its RPC socket.
    pub rpc: Rpc,
    folder: PathBuf,
}

impl Daemon {
    /// Path of a vhost controller's socket.
    #[must_use]
    pub fn socket(&self, controller: &str) -> PathBuf {
        self.folder.join(controller)
    }

    /// Opens another RPC connection.
    ///
    /// # Errors
    /// If the daemon accepts no more.
    pub fn connect(&self) -> Result<Rpc, TestError> {
        Rpc::connect(&self.folder.join("rpc.sock"))
    }
}

/// Makes the kernel reserve `memory_mib` of free hugepages, which needs root. Returns whether they are
/// free.
fn provide_hugepages(memory_mib: u32) -> bool {
    let number = |name: &str| {
        let text = fs::read_to_string(format!("{PAGES}/{name}")).ok()?;
        text.trim().parse::<u32>().ok()
    };
    let wanted = memory_mib.div_ceil(2);
    let (Some(free), Some(all)) = (number("free_hugepages"), number("nr_hugepages")) else { return false };
    if free < wanted {
        // The check below shows whether this worked.
        let _ = fs::write(format!("{PAGES}/nr_hugepages"), (all + wanted - free).to_string());
    }
    number("free_hugepages") >= Some(wanted)
}
