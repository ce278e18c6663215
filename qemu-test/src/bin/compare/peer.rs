//! The peer: `qemu-storage-daemon` with its own vhost-user-blk disks.
//!
//! One I/O thread serves them all, as one core does in Luge. It polls as long as QEMU finds
//! that this pays, which is QEMU's default, and does file I/O by io_uring, as Luge does where a
//! file is not in memory.

use crate::cpus;
use crate::files::Files;
use crate::rows::Device;
use crate::servers::NULL_BYTES;
use luge_qemu_test::{Bench, Deadline, Process, TestError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Queues of each disk: the most that are asked for.
const QUEUES: u16 = 4;

/// How long it may take to start.
const READY_SECONDS: u32 = 60;

/// The name of its program.
const PROGRAM: &str = "qemu-storage-daemon";

/// The running peer. Dropping it kills it.
pub(crate) struct Peer {
    process: Process,
    sockets: PathBuf,
}

impl Peer {
    /// Starts it on `cpu`, and waits until it serves.
    ///
    /// # Errors
    /// It does not start; what it said is in the error.
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

    /// Where it serves `device`.
    pub(crate) fn socket(&self, device: Device) -> PathBuf {
        socket(&self.sockets, device)
    }

    /// It writes its id into a file when all its disks are served.
    fn wait_until_ready(&mut self, ready: &Path) -> Result<(), TestError> {
        let answer = Deadline::within(READY_SECONDS).poll(|| match self.process.is_running() {
            Ok(true) => ready.exists().then_some(true),
            _ => Some(false),
        });
        if answer == Some(true) {
            return Ok(());
        }
        let status = if answer.is_some() { "failure" } else { "no id after a minute" };
        let (program, said) = (PROGRAM.to_owned(), self.process.output.text());
        Err(TestError::Program { program, status: status.to_owned(), said })
    }
}

/// What `qemu-storage-daemon` calls itself, with its version.
///
/// # Errors
/// It does not start.
pub(crate) fn version(bench: &Bench<'_>) -> Result<String, TestError> {
    let output = bench.lab().qemu().command(PROGRAM).arg("--version").output();
    let output = output.map_err(|source| TestError::Io { doing: format!("starting {PROGRAM}"), source })?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or(PROGRAM).to_owned())
}

fn socket(sockets: &Path, device: Device) -> PathBuf {
    sockets.join(device.name())
}

/// QEMU's description of what is behind a disk.
fn node(device: Device, files: &Files) -> Value {
    let file = |path: PathBuf| {
        // Luge has the file open as well, though only one of them is asked at a time.
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
