//! The peer: `qemu-storage-daemon` with vhost-user-blk disks.
//!
//! One I/O thread serves all disks, as one core does in Luge. It polls for as long as QEMU's default
//! adaptive polling allows, and uses io_uring for files, as Luge does for files that are not in memory.

use crate::cpus;
use crate::files::{Files, NULL_BYTES};
use crate::rows::Device;
use luge_qemu_test::{Bench, Deadline, Process, TestError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Queues of each disk: the most that a row uses.
const QUEUES: u16 = 4;

/// Time limit for the start.
const READY_SECONDS: u32 = 60;

/// Name of the program.
const PROGRAM: &str = "qemu-storage-daemon";

/// The running peer. Dropping it kills the process.
pub(crate) struct Peer {
    process: Process,
    sockets: PathBuf,
}

impl Peer {
    /// Starts the peer on `cpu`, and waits until it serves all disks.
    ///
    /// # Errors
    /// If the peer does not start; the error contains its output.
    pub(crate) fn start(bench: &Bench<'_>, files: &Files, cpu: u16) -> Result<Self, TestError> {
        let (sockets, ready) = (bench.path("peer"), bench.path("peer.pid"));
        std::fs::create_dir_all(&sockets)
            .map_err(|source| TestError::Io { doing: format!("making {}", sockets.display()), source })?;
        let mut command = bench.lab().qemu().command(PROGRAM);
        command.arg("--pidfile").arg(&ready).args(["--object", "iothread,id=serving"]);
        for device in Device::ALL {
            let node = node(device, files);
            command.args(["--blockdev", &node.to_string()]);
            command.args(["--export", &export(device, &socket(&sockets, device)).to_string()]);
        }
        let process = cpus::on(cpu, || Process::start("peer", command, &bench.log("peer")))?;
        let mut peer = Self { process, sockets };
        peer.wait_until_ready(&ready)?;
        Ok(peer)
    }

    /// Socket of the disk on `device`.
    pub(crate) fn socket(&self, device: Device) -> PathBuf {
        socket(&self.sockets, device)
    }

    /// Waits for the pid file, which the peer writes when it serves all disks.
    fn wait_until_ready(&mut self, ready: &Path) -> Result<(), TestError> {
        let answer = Deadline::within(READY_SECONDS).poll(|| match self.process.is_running() {
            Ok(true) => ready.exists().then_some(true),
            _ => Some(false),
        });
        if answer == Some(true) {
            return Ok(());
        }
        let status = if answer.is_some() { "failure" } else { "no pid file after a minute" };
        let (program, said) = (PROGRAM.to_owned(), self.process.output.text());
        Err(TestError::Program { program, status: status.to_owned(), said })
    }
}

/// Name and version of the peer, as `qemu-storage-daemon` prints them.
///
/// # Errors
/// If the program does not start.
pub(crate) fn version(bench: &Bench<'_>) -> Result<String, TestError> {
    let output = bench.lab().qemu().command(PROGRAM).arg("--version").output();
    let output = output.map_err(|source| TestError::Io { doing: format!("starting {PROGRAM}"), source })?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or(PROGRAM).to_owned())
}

fn socket(sockets: &Path, device: Device) -> PathBuf {
    sockets.join(device.name())
}

/// Block device behind a disk, in QEMU's syntax.
fn node(device: Device, files: &Files) -> Value {
    let file = |path: PathBuf| {
        // Luge has the file open as well, but only one of them gets load at a time.
        json!({ "driver": "file", "node-name": device.name(), "filename": path, "aio": "io_uring",
            "locking": "off", "cache": { "direct": !files.in_memory } })
    };
    match device {
        Device::Null => {
            json!({ "driver": "null-co", "node-name": "null", "size": NULL_BYTES, "read-zeroes": true })
        }
        Device::Memory => file(files.memory()),
        Device::File => file(files.file()),
    }
}

fn export(device: Device, socket: &Path) -> Value {
    json!({ "type": "vhost-user-blk", "id": device.name(), "node-name": device.name(), "writable": true,
        "num-queues": QUEUES, "iothread": "serving", "addr": { "type": "unix", "path": socket } })
}
