//! Errors of a controller, which operators read, and faults, which cores report to the supervisor.

use luge_memory::MemoryError;
use luge_spec::nvme::{AdminOpcode, StatusCode};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Failure of an operation on a controller.
#[derive(Debug, Error)]
#[error("{controller}: {kind}")]
pub struct ControllerError {
    /// Name of the PCI function.
    pub controller: String,
    /// Kind of the failure.
    pub kind: ErrorKind,
}

/// Kind of a [`ControllerError`].
#[derive(Debug, Error)]
pub enum ErrorKind {
    /// Registers read as all ones.
    #[error("the SSD does not answer: is it still in its slot, and has it power?")]
    Silent,
    /// Neither CAP.CSS nor Identify names the NVM command set.
    #[error("this is no SSD with the NVM command set, so Luge cannot drive it")]
    NoNvmCommands,
    /// CAP.CSS says that there is no I/O command set.
    #[error(
        "this controller takes admin commands only (CAP.CSS bit 7), so there is no disk on it: \
         attach the I/O controller of the same SSD"
    )]
    AdminOnly,
    /// CAP.MPSMIN is above 4 KiB.
    #[error("the SSD needs memory pages of {0} bytes at least, Luge has 4096")]
    PageSize(u64),
    /// CSTS did not follow CC in time.
    #[error("the SSD did not {wanted} within {} ms: power-cycle it, or replace it", waited.as_millis())]
    NotReady {
        /// Action that was waited for.
        wanted: &'static str,
        /// Time limit.
        waited: Duration,
    },
    /// CSTS.CFS is set.
    #[error("the SSD reports a fatal error (CSTS.CFS): power-cycle it, or replace it")]
    Fatal,
    /// An admin command did not complete in time.
    #[error("the SSD did not answer {} in time", .0.name())]
    Timeout(AdminOpcode),
    /// An admin command failed.
    #[error("the SSD refused {}: {status}", opcode.name())]
    Command {
        /// Kind of command.
        opcode: AdminOpcode,
        /// Status of its completion.
        status: StatusCode,
    },
    /// The controller broke the rules, and is being reset or given up.
    #[error("the SSD failed: {0}")]
    Fault(#[from] Fault),
    /// There is no memory for queues.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel, or what else is behind the PCI function, refused an operation.
    #[error("cannot {what}: {source}")]
    System {
        /// Operation.
        what: &'static str,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Another SSD, or other namespaces, are there after a reset; the text says which.
    #[error("after its reset the SSD is not what it was: {0}; detach it, and attach it again")]
    Changed(&'static str),
    /// The controller was given up earlier, or shut down.
    #[error("the SSD is no longer in use")]
    Gone,
}

impl ErrorKind {
    /// Error of the controller with that name.
    pub(crate) fn of(self, controller: &str) -> ControllerError {
        ControllerError { controller: controller.to_owned(), kind: self }
    }
}

/// Breach of the rules by a controller, which is not trusted from then on until it has been reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[repr(u32)]
pub enum Fault {
    /// A completion for a command identifier that does not exist.
    #[error("it completed a command that does not exist")]
    UnknownCommand = 1,
    /// A completion for a command that is not in flight: a repetition, or an invention.
    #[error("it completed a command that was not in flight")]
    NotInFlight,
    /// A completion that names another submission queue.
    #[error("it completed a command of another queue")]
    WrongQueue,
    /// A submission queue head that no fetch can have led to.
    #[error("it claims to have fetched commands that were never submitted")]
    HeadOutOfRange,
    /// CSTS.CFS is set.
    #[error("it reports a fatal error (CSTS.CFS)")]
    Fatal,
    /// Registers read as all ones.
    #[error("it no longer answers")]
    Silent,
    /// CSTS.RDY became 0 by itself.
    #[error("it stopped by itself (CSTS.RDY is 0)")]
    Stopped,
    /// A command took too long.
    #[error("a command did not complete in time")]
    Timeout,
    /// A queue could not be created or deleted.
    #[error("it refused to create or delete a queue")]
    Queue,
    /// No fault of the controller's: the operator has asked for a reset.
    #[error("its operator has asked for a reset")]
    Asked,
}

impl Fault {
    /// The fault with that number; none for zero.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [
            Self::UnknownCommand,
            Self::NotInFlight,
            Self::WrongQueue,
            Self::HeadOutOfRange,
            Self::Fatal,
            Self::Silent,
            Self::Stopped,
            Self::Timeout,
            Self::Queue,
            Self::Asked,
        ]
        .into_iter()
        .find(|fault| *fault as u32 == number)
    }
}
