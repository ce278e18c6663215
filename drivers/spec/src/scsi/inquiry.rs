//! Standard data of INQUIRY. Clause 6.6.2.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bits of standard INQUIRY data.
pub mod inquiry_flags {
    /// EVPD, in the CDB: a page of vital product data is wanted.
    pub const EVPD: u8 = 1;
    /// HISUP: LUNs are those of REPORT LUNS.
    pub const HISUP: u8 = 1 << 4;
    /// Response data format.
    pub const FORMAT: u8 = 2;
    /// TPGS: access states change implicitly.
    pub const IMPLICIT_ACCESS: u8 = 1 << 4;
    /// MULTIP: there is more than one port.
    pub const MULTIP: u8 = 1 << 4;
    /// CMDQUE: commands are queued.
    pub const CMDQUE: u8 = 1 << 1;
    /// Version: SPC-4.
    pub const SPC_4: u8 = 6;
}

/// Peripheral qualifiers and device types, which share a byte. Tables 174 and 175.
pub mod peripheral {
    /// A direct-access block device that is connected.
    pub const DISK: u8 = 0x00;
    /// A well-known logical unit.
    pub const WELL_KNOWN: u8 = 0x1e;
    /// No logical unit.
    pub const ABSENT: u8 = 0x7f;
}

/// Version descriptors. Table 180.
pub mod version_descriptor {
    /// SAM-5, no version claimed.
    pub const SAM_5: u16 = 0x00a0;
    /// SPC-4, no version claimed.
    pub const SPC_4: u16 = 0x0460;
    /// SBC-3, no version claimed.
    pub const SBC_3: u16 = 0x04c0;
}

/// Standard data.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct StandardInquiry {
    /// Peripheral qualifier and device type.
    pub peripheral: u8,
    /// RMB and LU_CONG.
    pub removable: u8,
    /// Version.
    pub version: u8,
    /// NORMACA, HISUP, response data format.
    pub format: u8,
    /// Number of bytes that follow this one.
    pub additional_length: u8,
    /// SCCS, TPGS, 3PC, PROTECT.
    pub protection: u8,
    /// ENCSERV, MULTIP.
    pub ports: u8,
    /// CMDQUE.
    pub queueing: u8,
    /// T10 vendor identification.
    pub vendor: [u8; 8],
    /// Product identification.
    pub product: [u8; 16],
    /// Product revision level.
    pub revision: [u8; 4],
    /// Vendor specific.
    pub vendor_specific: [u8; 20],
    /// Reserved.
    pub reserved: [u8; 2],
    /// Version descriptors.
    pub versions: [U16; 8],
    /// Reserved.
    pub reserved_end: [u8; 22],
}

const _: () = assert!(size_of::<StandardInquiry>() == 96);
