//! Vital product data. Clause 7.8; SBC, clause 6.6.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Code of a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct VpdPage(pub u8);

impl VpdPage {
    /// Supported pages.
    pub const SUPPORTED: Self = Self(0x00);
    /// Unit serial number.
    pub const SERIAL: Self = Self(0x80);
    /// Device identification.
    pub const IDENTIFICATION: Self = Self(0x83);
    /// Extended INQUIRY data.
    pub const EXTENDED_INQUIRY: Self = Self(0x86);
    /// Mode page policy.
    pub const MODE_POLICY: Self = Self(0x87);
    /// Third-party copy.
    pub const THIRD_PARTY_COPY: Self = Self(0x8f);
    /// Block limits.
    pub const BLOCK_LIMITS: Self = Self(0xb0);
    /// Block device characteristics.
    pub const BLOCK_CHARACTERISTICS: Self = Self(0xb1);
    /// Logical block provisioning.
    pub const PROVISIONING: Self = Self(0xb2);
}

/// Header of a page.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct VpdHeader {
    /// Peripheral qualifier and device type.
    pub peripheral: u8,
    /// Code of the page.
    pub page: u8,
    /// Number of bytes that follow this field.
    pub length: U16,
}

const _: () = assert!(size_of::<VpdHeader>() == 4);

/// Values of designation descriptors. Clause 7.8.6.
pub mod designator {
    /// Code set: binary.
    pub const BINARY: u8 = 1;
    /// Code set: ASCII.
    pub const ASCII: u8 = 2;
    /// Association: the port through which the page is read.
    pub const PORT: u8 = 1 << 4;
    /// Designator type: T10 vendor identification.
    pub const VENDOR: u8 = 1;
    /// Designator type: NAA.
    pub const NAA: u8 = 3;
    /// Designator type: relative target port.
    pub const RELATIVE_PORT: u8 = 4;
    /// Designator type: target port group.
    pub const PORT_GROUP: u8 = 5;
    /// Designator type: UUID (SPC-5).
    pub const UUID: u8 = 0xa;
    /// First byte of a UUID designator: its type.
    pub const UUID_RFC_4122: u8 = 0x10;
}

/// Header of a designation descriptor.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DesignatorHeader {
    /// Protocol identifier and code set.
    pub code_set: u8,
    /// PIV, association and designator type.
    pub kind: u8,
    /// Reserved.
    pub reserved: u8,
    /// Bytes of the designator.
    pub length: u8,
}

const _: () = assert!(size_of::<DesignatorHeader>() == 4);

/// Extended INQUIRY data, behind the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtendedInquiry {
    /// ACTIVATE_MICROCODE, SPT, GRD_CHK, APP_CHK, REF_CHK.
    pub protection: u8,
    /// UASK_SUP, GROUP_SUP, PRIOR_SUP, HEADSUP, ORDSUP, SIMPSUP.
    pub tasks: u8,
    /// WU_SUP, CRD_SUP, NV_SUP, V_SUP.
    pub cache: u8,
    /// P_I_I_SUP, LUICLR.
    pub clearing: u8,
    /// R_SUP, CBCS.
    pub referrals: u8,
    /// Multi I_T nexus microcode download.
    pub microcode: u8,
    /// Minutes of an extended self-test.
    pub self_test_minutes: U16,
    /// POA_SUP, HRA_SUP, VSA_SUP.
    pub activation: u8,
    /// The most bytes of sense data.
    pub sense_bytes_max: u8,
    /// Reserved.
    pub reserved: [u8; 50],
}

const _: () = assert!(size_of::<ExtendedInquiry>() == 60);

/// Bits of [`ExtendedInquiry`].
pub mod extended_inquiry {
    /// SIMPSUP: simple tasks.
    pub const SIMPLE_TASKS: u8 = 1;
    /// V_SUP: there is a volatile cache.
    pub const VOLATILE_CACHE: u8 = 1;
}

/// Policy of mode pages.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ModePolicy {
    /// Code of the page; 3Fh is all.
    pub page: u8,
    /// Code of the subpage; FFh is all.
    pub subpage: u8,
    /// MLUS, and the policy: zero is one set of values for all nexuses.
    pub policy: u8,
    /// Reserved.
    pub reserved: u8,
}

const _: () = assert!(size_of::<ModePolicy>() == 4);

/// Block limits, behind the header.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BlockLimits {
    /// WSNZ: a WRITE SAME of zero blocks is refused.
    pub write_same_non_zero: u8,
    /// The most blocks of COMPARE AND WRITE.
    pub compare_and_write_blocks_max: u8,
    /// Optimal granularity of transfers, in blocks.
    pub granularity_blocks: U16,
    /// The most blocks of a transfer.
    pub transfer_blocks_max: U32,
    /// Optimal blocks of a transfer.
    pub transfer_blocks_optimal: U32,
    /// The most blocks of a prefetch.
    pub prefetch_blocks_max: U32,
    /// The most blocks of one UNMAP.
    pub unmap_blocks_max: U32,
    /// The most descriptors of one UNMAP.
    pub unmap_descriptors_max: U32,
    /// Optimal granularity of UNMAP, in blocks.
    pub unmap_granularity_blocks: U32,
    /// UGAVALID, and the first block of the granularity.
    pub unmap_alignment: U32,
    /// The most blocks of WRITE SAME.
    pub write_same_blocks_max: U64,
    /// Limits of atomic writes (SBC-4).
    pub atomic: [u8; 20],
}

const _: () = assert!(size_of::<BlockLimits>() == 60);

/// Block device characteristics, behind the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockCharacteristics {
    /// Medium rotation rate: 1 is a medium that does not rotate.
    pub rotation_rate: U16,
    /// Product type.
    pub product_type: u8,
    /// Nominal form factor.
    pub form_factor: u8,
    /// FUAB, VBULS.
    pub flags: u8,
    /// Reserved.
    pub reserved: [u8; 55],
}

const _: () = assert!(size_of::<BlockCharacteristics>() == 60);

/// Logical block provisioning, behind the header.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Provisioning {
    /// Threshold exponent.
    pub threshold_exponent: u8,
    /// LBPU, LBPWS, LBPWS10, LBPRZ, ANC_SUP, DP.
    pub flags: u8,
    /// Provisioning type.
    pub kind: u8,
    /// Threshold percentage.
    pub threshold_percentage: u8,
}

const _: () = assert!(size_of::<Provisioning>() == 4);

/// Values of [`Provisioning`].
pub mod provisioning {
    /// LBPU, LBPWS and LBPWS10: UNMAP and both kinds of WRITE SAME deallocate blocks.
    pub const ALL_COMMANDS: u8 = 7 << 5;
    /// Provisioning type: thin.
    pub const THIN: u8 = 2;
}

/// Supported commands descriptor of the third-party copy page, with an empty list. Clause 7.8.17.5.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct NoCopyCommands {
    /// Descriptor type: one.
    pub kind: U16,
    /// Number of bytes that follow this field: four.
    pub length: U16,
    /// Bytes of the list of commands.
    pub list_bytes: u8,
    /// Padding.
    pub padding: [u8; 3],
}

const _: () = assert!(size_of::<NoCopyCommands>() == 8);

impl NoCopyCommands {
    /// Descriptor type.
    pub const KIND: u16 = 1;
}
