//! A running machine: QEMU, its serial console and its machine protocol.

use crate::accelerator::Accelerator;
use crate::deadline::Deadline;
use crate::error::TestError;
use crate::lab::Bench;
use crate::machine::Machine;
use crate::process::Process;
use crate::qmp::{Qmp, QmpListener};

/// Time limit for the start of QEMU.
const START_SECONDS: u32 = 60;

/// A running machine. Dropping it kills QEMU.
pub struct Running {
    /// QEMU, whose input and output are the serial console.
    pub process: Process,
    /// Connection to QEMU's machine protocol.
    pub qmp: Qmp,
}

impl Running {
    /// Starts QEMU for a machine; an error contains its output.
    pub(crate) fn start(
        machine: &Machine,
        bench: &Bench,
        accelerator: Accelerator,
    ) -> Result<Self, TestError> {
        let socket = bench.path(&format!("{}.qmp", machine.name));
        let listener = QmpListener::at(&socket)?;
        let qemu = bench.lab().qemu();
        let mut command = qemu.command("qemu-system-x86_64");
        command.args(machine.arguments(accelerator, &socket));
        command.args(machine.boot_arguments(qemu, bench)?);
        let process = Process::start(&machine.name, command, &bench.log(&machine.name))?;
        let deadline = Deadline::within(START_SECONDS);
        match listener.accept(&process, deadline)? {
            Some(qmp) => Ok(Self { process, qmp }),
            None => {
                // QEMU has ended; the end of its output completes the log.
                process.output.wait_end(deadline)?;
                Err(process.output.missed("its QMP greeting", deadline))
            }
        }
    }
}
