//! Commands: from the 64 bytes of a submission entry to a request of a volume, or a status.

mod command;
mod status;

pub(crate) use command::{BlockCommand, Command, CopyCommand};
pub use status::CommandStatus;
