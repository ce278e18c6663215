//! Commands: from the 64 bytes of a submission entry to a request of a volume, or a status.

mod command;
mod short;
mod status;

pub(crate) use command::{BlockCommand, Command};
pub(crate) use short::{ShortReader, ShortTransfer};
pub use status::CommandStatus;
