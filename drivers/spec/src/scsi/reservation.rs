//! Parameters of PERSISTENT RESERVE IN and OUT. Clauses 6.15 and 6.16.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bits and values of both commands.
pub mod persistent_reserve {
    /// SPEC_I_PT: the list names initiator ports.
    pub const SPEC_I_PT: u8 = 1 << 3;
    /// ALL_TG_PT: for all target ports.
    pub const ALL_TG_PT: u8 = 1 << 2;
    /// APTPL: registrations persist through a loss of power.
    pub const APTPL: u8 = 1;
    /// Scope and type, in their byte: the type.
    pub const TYPE: u8 = 0x0f;
    /// CRH: RESERVE and RELEASE are compatible.
    pub const COMPATIBLE_RESERVE_HANDLING: u8 = 1 << 4;
    /// TMV: the mask of types is valid.
    pub const TYPE_MASK_VALID: u8 = 1 << 7;
    /// ALLOW COMMANDS: as tables 66 and 67 say, no more.
    pub const ALLOW_COMMANDS: u8 = 1 << 4;
    /// Mask of all six types.
    pub const ALL_TYPES: u16 = 0xea01;
    /// R_HOLDER, in full status.
    pub const HOLDER: u8 = 1;
    /// ALL_TG_PT, in full status.
    pub const ALL_PORTS: u8 = 1 << 1;
}

/// Parameter list of PERSISTENT RESERVE OUT.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReserveOutParameters {
    /// Reservation key of the initiator.
    pub key: U64,
    /// Service action reservation key.
    pub action_key: U64,
    /// Obsolete.
    pub obsolete: U32,
    /// SPEC_I_PT, ALL_TG_PT, APTPL.
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// Obsolete.
    pub obsolete_end: U16,
}

const _: () = assert!(size_of::<ReserveOutParameters>() == 24);

/// Header of keys, reservation and full status.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReserveInHeader {
    /// PRgeneration.
    pub generation: U32,
    /// Number of bytes that follow this field.
    pub length: U32,
}

const _: () = assert!(size_of::<ReserveInHeader>() == 8);

/// The reservation, behind the header.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReservationDescriptor {
    /// Key of the holder.
    pub key: U64,
    /// Obsolete.
    pub obsolete: U32,
    /// Reserved.
    pub reserved: u8,
    /// Scope and type.
    pub scope_type: u8,
    /// Obsolete.
    pub obsolete_end: U16,
}

const _: () = assert!(size_of::<ReservationDescriptor>() == 16);

/// Capabilities.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ReserveCapabilities {
    /// Bytes of all: eight.
    pub length: U16,
    /// RLR_C, CRH, SIP_C, ATP_C, PTPL_C.
    pub abilities: u8,
    /// TMV, ALLOW COMMANDS, PTPL_A.
    pub more_abilities: u8,
    /// Mask of types.
    pub types: U16,
    /// Reserved.
    pub reserved: U16,
}

const _: () = assert!(size_of::<ReserveCapabilities>() == 8);

/// A registrant in full status, whose TransportID follows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FullStatusDescriptor {
    /// Key.
    pub key: U64,
    /// Reserved.
    pub reserved: U32,
    /// ALL_TG_PT, R_HOLDER.
    pub flags: u8,
    /// Scope and type.
    pub scope_type: u8,
    /// Reserved.
    pub reserved_middle: U32,
    /// Relative target port identifier.
    pub port: U16,
    /// Bytes of the TransportID.
    pub transport_id_bytes: U32,
}

const _: () = assert!(size_of::<FullStatusDescriptor>() == 24);

/// TransportID of an SAS port. Clause 7.6.4.7.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SasTransportId {
    /// Format code and protocol identifier.
    pub protocol: u8,
    /// Reserved.
    pub reserved: [u8; 3],
    /// SAS address.
    pub address: U64,
    /// Reserved.
    pub reserved_end: [u8; 12],
}

const _: () = assert!(size_of::<SasTransportId>() == 24);

impl SasTransportId {
    /// Protocol identifier: SAS.
    pub const PROTOCOL: u8 = 6;
}
