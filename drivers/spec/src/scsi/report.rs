//! Parameters of reports: LUNs, target port groups, operation codes, task management functions. Clauses 6.33 to 6.37.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SELECT REPORT of REPORT LUNS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct SelectReport(pub u8);

impl SelectReport {
    /// Logical units that are not well known.
    pub const ORDINARY: Self = Self(0);
    /// Well-known logical units.
    pub const WELL_KNOWN: Self = Self(1);
    /// All logical units.
    pub const ALL: Self = Self(2);
}

/// Header of a list of LUNs, of eight bytes each.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LunListHeader {
    /// Bytes of the list behind the header.
    pub length: U32,
    /// Reserved.
    pub reserved: U32,
}

const _: () = assert!(size_of::<LunListHeader>() == 8);

/// Header of a report of target port groups.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PortGroupsHeader {
    /// Number of bytes that follow this field.
    pub length: U32,
}

const _: () = assert!(size_of::<PortGroupsHeader>() == 4);

/// Rest of an extended header of a report of target port groups.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PortGroupsExtension {
    /// Format: 10h is the extended one.
    pub format: u8,
    /// Implicit transition time in seconds.
    pub transition_seconds: u8,
    /// Reserved.
    pub reserved: U16,
}

const _: () = assert!(size_of::<PortGroupsExtension>() == 4);

/// A target port group, whose ports follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PortGroupDescriptor {
    /// PREF, and the access state.
    pub state: u8,
    /// Access states that there are.
    pub supported: u8,
    /// Number of the group.
    pub group: U16,
    /// Reserved.
    pub reserved: u8,
    /// Status code.
    pub status: u8,
    /// Vendor specific.
    pub vendor_specific: u8,
    /// Number of ports.
    pub ports: u8,
}

const _: () = assert!(size_of::<PortGroupDescriptor>() == 8);

/// A port of a target port group.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PortDescriptor {
    /// Obsolete.
    pub obsolete: U16,
    /// Relative target port identifier.
    pub port: U16,
}

const _: () = assert!(size_of::<PortDescriptor>() == 4);

/// Access states, and bits of those that there are. Tables 308 and 309.
pub mod access_state {
    /// Active/optimized.
    pub const ACTIVE: u8 = 0x0;
    /// Transitioning.
    pub const TRANSITIONING: u8 = 0xf;
    /// AO_SUP.
    pub const ACTIVE_SUPPORTED: u8 = 1;
    /// T_SUP.
    pub const TRANSITIONING_SUPPORTED: u8 = 1 << 7;
    /// Status: changed implicitly.
    pub const CHANGED_IMPLICITLY: u8 = 2;
}

/// A command in a report of all operation codes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CommandDescriptor {
    /// Operation code.
    pub opcode: u8,
    /// Reserved.
    pub reserved: u8,
    /// Service action.
    pub service_action: U16,
    /// Reserved.
    pub reserved_middle: u8,
    /// CTDP and SERVACTV.
    pub flags: u8,
    /// Bytes of the CDB.
    pub cdb_bytes: U16,
}

const _: () = assert!(size_of::<CommandDescriptor>() == 8);

/// Timeouts of a command; zeroes where nothing is said.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CommandTimeouts {
    /// Number of bytes that follow this field: ten.
    pub length: U16,
    /// Reserved.
    pub reserved: u8,
    /// Command specific.
    pub command_specific: u8,
    /// Nominal processing time in seconds.
    pub nominal_seconds: U32,
    /// Recommended timeout in seconds.
    pub recommended_seconds: U32,
}

const _: () = assert!(size_of::<CommandTimeouts>() == 12);

/// Header of a report of one operation code, whose CDB usage data follows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OneCommandHeader {
    /// Reserved.
    pub reserved: u8,
    /// CTDP and SUPPORT.
    pub flags: u8,
    /// Bytes of the CDB.
    pub cdb_bytes: U16,
}

const _: () = assert!(size_of::<OneCommandHeader>() == 4);

/// Bits of reports of operation codes.
pub mod operation_codes {
    /// RCTD, in the CDB: timeouts are wanted.
    pub const TIMEOUTS: u8 = 1 << 7;
    /// CTDP in a report of all: timeouts follow.
    pub const TIMEOUTS_FOLLOW: u8 = 1 << 1;
    /// SERVACTV: the service action is valid.
    pub const HAS_SERVICE_ACTION: u8 = 1;
    /// CTDP in a report of one.
    pub const ONE_TIMEOUTS_FOLLOW: u8 = 1 << 7;
    /// SUPPORT: not supported.
    pub const ABSENT: u8 = 1;
    /// SUPPORT: as the standard says.
    pub const SUPPORTED: u8 = 3;
}

/// Task management functions that there are, in the extended form.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TaskManagementReport {
    /// ATS, ATSS, CACAS, CTSS, LURS, QTS.
    pub functions: u8,
    /// QAES, QTSS, ITNRS.
    pub more_functions: u8,
    /// Reserved.
    pub reserved: u8,
    /// Number of bytes that follow this one; zero in the short form, which ends here.
    pub length: u8,
    /// Timeouts; zeroes where nothing is said.
    pub timeouts: [u8; 12],
}

const _: () = assert!(size_of::<TaskManagementReport>() == 16);
