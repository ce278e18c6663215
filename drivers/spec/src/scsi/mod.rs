//! SCSI: commands, status, sense data.
//!
//! Clauses are those of SPC-4, of SBC-3 where a comment says "SBC", of SAM-5 where it says "SAM". The wire is
//! big-endian.
//!
//! Invariants
//! - Every structure has its wire size asserted beside it, and no padding.
//! - Values that an initiator may choose freely (opcodes, service actions) are transparent structs, because unknown
//!   values are legal.
//!
//! Not here: the use of these structures (`appliance/scsi`).

mod additional_sense;
mod capacity;
mod cdb;
mod lba_status;
mod opcode;
mod sense;
mod sense_key;
mod service_action;
mod status;
mod unmap;

pub use additional_sense::AdditionalSense;
pub use capacity::{Capacity10, Capacity16, capacity_flags};
pub use cdb::{Cdb6, Cdb10, Cdb12, Cdb16, control, flags};
pub use lba_status::{LbaStatusDescriptor, LbaStatusHeader, ProvisioningStatus};
pub use opcode::Opcode;
pub use sense::{
    DescriptorSense, FieldPointerDescriptor, FixedSense, InformationDescriptor, field_pointer, response_code,
};
pub use sense_key::SenseKey;
pub use service_action::ServiceAction;
pub use status::ScsiStatus;
pub use unmap::{UnmapDescriptor, UnmapHeader};
