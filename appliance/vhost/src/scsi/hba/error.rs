//! Errors of a host bus adapter, for its operator.

use crate::scsi::lun::LunAddress;
use luge_core::AttachError;
use std::io;
use thiserror::Error;

/// Error of a host bus adapter that cannot be.
#[derive(Debug, Error)]
pub enum HbaError {
    /// The number of request queues.
    #[error("{0} request queues are not possible: 1 to {max} are", max = super::REQUEST_QUEUES_MAX)]
    Queues(u16),
    /// There is no core.
    #[error("no core can serve the controller: name one at least")]
    NoCores,
    /// The kernel gives no eventfd or no thread.
    #[error("the controller gets no thread: {0}")]
    Thread(#[from] io::Error),
}

/// Error of a LUN that cannot be added or removed.
#[derive(Debug, Error)]
pub enum LunError {
    /// The place is taken.
    #[error("{0} exists: remove it first, or choose another number")]
    Exists(LunAddress),
    /// There is no such LUN.
    #[error("{0} does not exist")]
    Absent(LunAddress),
    /// Another LUN of the adapter is the same unit.
    #[error("{address} is not added: its block device is {other} of the controller already")]
    Twice {
        /// The LUN.
        address: LunAddress,
        /// The one that there is.
        other: LunAddress,
    },
    /// The LUN is being added.
    #[error("{0} is just being added: try again when that is over")]
    Attaching(LunAddress),
    /// The LUN is being removed.
    #[error("{0} is just being removed: try again when its last requests have ended")]
    Removing(LunAddress),
    /// The LUN's device went while it was being added.
    #[error("{0} is not added: its device has gone meanwhile")]
    Gone(LunAddress),
    /// A core cannot serve it.
    #[error("{address} is not added: {source}")]
    Attach {
        /// The LUN.
        address: LunAddress,
        /// Refusal of the core.
        source: AttachError,
    },
    /// The controller is being deleted.
    #[error("{0} is not added: the controller is being deleted")]
    Stopping(LunAddress),
}
