//! Sense data, in fixed and in descriptor format. Clause 4.5.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Response codes, which tell the format.
pub mod response_code {
    /// Current error in fixed format.
    pub const FIXED: u8 = 0x70;
    /// Deferred error in fixed format.
    pub const FIXED_DEFERRED: u8 = 0x71;
    /// Current error in descriptor format.
    pub const DESCRIPTOR: u8 = 0x72;
    /// VALID: the information field of fixed format has something.
    pub const VALID: u8 = 0x80;
}

/// Bits of the first sense-key-specific byte for ILLEGAL REQUEST. Clause 4.5.2.4.2.
pub mod field_pointer {
    /// SKSV: the bytes are valid.
    pub const VALID: u8 = 1 << 7;
    /// C/D: the field is in the CDB, not in the parameters.
    pub const IN_CDB: u8 = 1 << 6;
    /// BPV: the low three bits are valid.
    pub const BIT_VALID: u8 = 1 << 3;
}

/// Sense data in fixed format, up to the field pointer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FixedSense {
    /// Response code, and VALID.
    pub response_code: u8,
    /// Obsolete.
    pub obsolete: u8,
    /// Sense key in the low four bits; FILEMARK, EOM, ILI, SDAT_OVFL.
    pub key: u8,
    /// Information.
    pub information: U32,
    /// Number of bytes that follow this one.
    pub additional_length: u8,
    /// Command-specific information.
    pub command_specific: U32,
    /// Additional sense code with its qualifier.
    pub additional_sense: U16,
    /// Field-replaceable unit code.
    pub fru: u8,
    /// Flags of the field pointer.
    pub pointer_flags: u8,
    /// Number of the byte that a field begins in.
    pub pointer: U16,
}

const _: () = assert!(size_of::<FixedSense>() == 18);

/// Header of sense data in descriptor format.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DescriptorSense {
    /// Response code.
    pub response_code: u8,
    /// Sense key in the low four bits.
    pub key: u8,
    /// Additional sense code with its qualifier.
    pub additional_sense: U16,
    /// SDAT_OVFL and reserved bits.
    pub flags: u8,
    /// Reserved.
    pub reserved: [u8; 2],
    /// Number of bytes that follow this one.
    pub additional_length: u8,
}

const _: () = assert!(size_of::<DescriptorSense>() == 8);

/// Information sense data descriptor. Clause 4.5.2.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InformationDescriptor {
    /// Descriptor type: zero.
    pub kind: u8,
    /// Number of bytes that follow this one: ten.
    pub additional_length: u8,
    /// VALID: 80h.
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// Information.
    pub information: U64,
}

const _: () = assert!(size_of::<InformationDescriptor>() == 12);

/// Sense-key-specific sense data descriptor with a field pointer. Clause 4.5.2.4.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FieldPointerDescriptor {
    /// Descriptor type: two.
    pub kind: u8,
    /// Number of bytes that follow this one: six.
    pub additional_length: u8,
    /// Reserved.
    pub reserved: [u8; 2],
    /// Flags of the field pointer.
    pub pointer_flags: u8,
    /// Number of the byte that the field begins in.
    pub pointer: U16,
    /// Reserved.
    pub reserved_end: u8,
}

const _: () = assert!(size_of::<FieldPointerDescriptor>() == 8);

impl InformationDescriptor {
    /// Descriptor type.
    pub const KIND: u8 = 0;
}

impl FieldPointerDescriptor {
    /// Descriptor type.
    pub const KIND: u8 = 2;
}
