//! Commands: from the 64 bytes of a submission entry to a request of a volume, or a status.

mod status;

pub use status::CommandStatus;
