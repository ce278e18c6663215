//! NVM Express: registers, queue entries, identify pages and log pages.
//!
//! Clauses are those of the NVM Express Base Specification 2.0, or of the NVM Command Set
//! Specification 1.0 where a comment says "NVM". The wire is little-endian, and so are all CPUs that
//! Luge runs on; fields are therefore integers of Rust.
//!
//! Invariants
//! - Every structure has its wire size asserted beside it, and no padding.
//! - Values that a device may choose freely (opcodes, status codes) are transparent structs, because
//!   unknown values are legal.
//!
//! Not here: the use of these structures (`drivers/nvme`).

mod command;
mod completion;
mod event;
mod feature;
mod identify;
mod log;
mod opcode;
mod registers;
mod sgl;
mod status;

pub use command::{CopySource, DataPointerKind, DatasetRange, Fuse, SubmissionEntry, io_flags};
pub use completion::{CompletionEntry, StatusField};
pub use event::{AsyncEvent, EventType};
pub use feature::{FeatureId, QueueCounts, event_config};
pub use identify::{
    Cns, CommandSetCombinations, ControllerList, IdentifyController, IdentifyNamespace,
    IdentifyNvmController, IndependentNamespace, LbaFormat, NamespaceDescriptors, NamespaceList, oacs, oncs,
};
pub use log::{EffectsLog, ErrorEntry, FirmwareLog, LogPage, SmartLog, effects};
pub use opcode::{AdminOpcode, IoOpcode};
pub use registers::{
    AdminQueueAttributes, Capabilities, Configuration, ControllerStatus, SUBSYSTEM_RESET, Shutdown,
    ShutdownStatus, Version, command_sets, offset,
};
pub use sgl::{SglDescriptor, SglType};
pub use status::StatusCode;

#[cfg(not(target_endian = "little"))]
compile_error!("the structures of luge_spec::nvme are little-endian, like the wire");
