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
mod inquiry;
mod lba_status;
mod log;
mod mode;
mod opcode;
mod report;
mod reservation;
mod sense;
mod sense_key;
mod service_action;
mod status;
mod unmap;
mod vpd;

pub use additional_sense::AdditionalSense;
pub use capacity::{Capacity10, Capacity16, capacity_flags};
pub use cdb::{Cdb6, Cdb10, Cdb12, Cdb16, control, flags, start_stop_unit};
pub use inquiry::{StandardInquiry, inquiry_flags, peripheral, version_descriptor};
pub use lba_status::{LbaStatusDescriptor, LbaStatusHeader, ProvisioningStatus};
pub use log::{LogHeader, LogPage, LogParameter, log_bits};
pub use mode::{
    CachingPage, ControlPage, ErrorRecoveryPage, ExceptionsPage, LongDescriptor, ModeHeader6, ModeHeader10,
    ModePage, ShortDescriptor, mode_bits,
};
pub use opcode::Opcode;
pub use report::{
    CommandDescriptor, CommandTimeouts, LunListHeader, OneCommandHeader, PortDescriptor, PortGroupDescriptor,
    PortGroupsExtension, PortGroupsHeader, SelectReport, TaskManagementReport, access_state, operation_codes,
};
pub use reservation::{
    FullStatusDescriptor, ReservationDescriptor, ReserveCapabilities, ReserveInHeader, ReserveOutParameters,
    SasTransportId, persistent_reserve,
};
pub use sense::{
    DescriptorSense, FieldPointerDescriptor, FixedSense, InformationDescriptor, field_pointer, response_code,
};
pub use sense_key::SenseKey;
pub use service_action::ServiceAction;
pub use status::ScsiStatus;
pub use unmap::{UnmapDescriptor, UnmapHeader};
pub use vpd::{
    BlockCharacteristics, BlockLimits, DesignatorHeader, ExtendedInquiry, ModePolicy, NoCopyCommands,
    Provisioning, VpdHeader, VpdPage, designator, extended_inquiry, provisioning,
};
