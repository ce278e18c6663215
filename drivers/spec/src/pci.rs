//! Configuration space of a PCI function: header of type 0 and capabilities (PCI Local Bus 3.0, chapter 6; PCI Express
//! Base 5.0, chapter 7).

use crate::bits::bits;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the configuration space of a conventional function, in bytes.
pub const CONFIG_BYTES: u32 = 256;
/// Length of the configuration space of a PCI Express function, in bytes.
pub const EXPRESS_CONFIG_BYTES: u32 = 4096;

/// Header of type 0, of a function that is no bridge. Clause 7.5.1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Type0Header {
    /// Vendor ID.
    pub vendor: U16,
    /// Device ID.
    pub device: U16,
    /// Command register.
    pub command: Command,
    /// Status register.
    pub status: Status,
    /// Revision ID.
    pub revision: u8,
    /// Class code: programming interface, sub-class, base class.
    pub class: [u8; 3],
    /// Cache line size, in words of four bytes.
    pub cache_line: u8,
    /// Latency timer: zero.
    pub latency: u8,
    /// Layout of the header: zero, with bit 7 in functions of a device with several.
    pub header_type: u8,
    /// Built-in self-test.
    pub bist: u8,
    /// Base address registers.
    pub bars: [BaseAddress; 6],
    /// CardBus CIS pointer.
    pub cardbus_cis: U32,
    /// Subsystem vendor ID.
    pub subsystem_vendor: U16,
    /// Subsystem ID.
    pub subsystem: U16,
    /// Expansion ROM base address.
    pub rom: U32,
    /// Offset of the first capability.
    pub capabilities: u8,
    /// Zeroes.
    pub reserved: [u8; 7],
    /// Interrupt line, which software assigns.
    pub interrupt_line: u8,
    /// Interrupt pin: zero where there is none, 1 for INTA.
    pub interrupt_pin: u8,
    /// Minimum grant: zero.
    pub min_grant: u8,
    /// Maximum latency: zero.
    pub max_latency: u8,
}

const _: () = assert!(size_of::<Type0Header>() == 64);

/// Offsets in the configuration space, in bytes.
pub mod offset {
    /// Vendor ID, 16 bits.
    pub const VENDOR: u32 = 0x00;
    /// Command register, 16 bits.
    pub const COMMAND: u32 = 0x04;
    /// Status register, 16 bits.
    pub const STATUS: u32 = 0x06;
    /// Cache line size, 8 bits.
    pub const CACHE_LINE: u32 = 0x0c;
    /// BAR 0, 32 bits. Five more follow.
    pub const BAR0: u32 = 0x10;
    /// Expansion ROM base address, 32 bits.
    pub const ROM: u32 = 0x30;
    /// Offset of the first capability, 8 bits.
    pub const CAPABILITIES: u32 = 0x34;
    /// Interrupt line, 8 bits.
    pub const INTERRUPT_LINE: u32 = 0x3c;
    /// First extended capability.
    pub const EXTENDED_CAPABILITIES: u32 = 0x100;
}

/// Class code of an NVMe controller, in the order of the header.
pub const CLASS_NVME: [u8; 3] = [0x02, 0x08, 0x01];

bits! {
    /// Command register. Clause 7.5.1.1.3.
    Command: U16 = u16 {
        /// The function answers in I/O space.
        IO_SPACE = 1 << 0;
        /// The function answers in memory space.
        MEMORY_SPACE = 1 << 1;
        /// The function may access memory and send interrupts by messages.
        BUS_MASTER = 1 << 2;
        /// Parity errors are reported.
        PARITY_ERROR_RESPONSE = 1 << 6;
        /// System errors are reported.
        SERR_ENABLE = 1 << 8;
        /// The interrupt line is disabled.
        INTERRUPT_DISABLE = 1 << 10;
    }
}

bits! {
    /// Status register. Clause 7.5.1.1.4.
    Status: U16 = u16 {
        /// An interrupt by the line is pending.
        INTERRUPT = 1 << 3;
        /// There is a list of capabilities.
        CAPABILITIES_LIST = 1 << 4;
    }
}

bits! {
    /// Base address register. Clause 7.5.1.2.1.
    BaseAddress: U32 = u32 {
        /// The addresses are in I/O space.
        IO_SPACE = 1 << 0;
        /// The addresses have 64 bits: the next register has the upper 32.
        BITS_64 = 1 << 2;
        /// Reads have no side effects.
        PREFETCHABLE = 1 << 3;
        /// Bits that are no address, of a register of memory space.
        MEMORY_FLAGS = 0xf;
    }
}

/// Identifier of a capability. Clause 7.9.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct CapabilityId(pub u8);

impl CapabilityId {
    /// Power management.
    pub const POWER_MANAGEMENT: Self = Self(0x01);
    /// MSI.
    pub const MSI: Self = Self(0x05);
    /// PCI Express.
    pub const EXPRESS: Self = Self(0x10);
    /// MSI-X.
    pub const MSIX: Self = Self(0x11);
}

/// Power management capability. Clause 7.5.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PowerManagement {
    /// [`CapabilityId::POWER_MANAGEMENT`].
    pub id: CapabilityId,
    /// Offset of the next capability; zero at the last one.
    pub next: u8,
    /// Capabilities: the version in bits 2:0.
    pub capabilities: U16,
    /// Control and status.
    pub control: PowerControl,
    /// Bridge extensions: zero.
    pub bridge: u8,
    /// Data: zero.
    pub data: u8,
}

const _: () = assert!(size_of::<PowerManagement>() == 8);

impl PowerManagement {
    /// Version of PCI Power Management 1.2.
    pub const VERSION: u16 = 3;
}

bits! {
    /// Control and status of power management. Clause 7.5.2.2.
    PowerControl: U16 = u16 {
        /// Bits of the power state.
        STATE = 0x3;
        /// State D3hot.
        D3_HOT = 0x3;
        /// The function keeps its state from D3hot to D0.
        NO_SOFT_RESET = 1 << 3;
    }
}

/// MSI-X capability. Clause 7.7.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Msix {
    /// [`CapabilityId::MSIX`].
    pub id: CapabilityId,
    /// Offset of the next capability; zero at the last one.
    pub next: u8,
    /// Control.
    pub control: MsixControl,
    /// Place of the table.
    pub table: MsixPlace,
    /// Place of the pending bits.
    pub pending: MsixPlace,
}

const _: () = assert!(size_of::<Msix>() == 12);

bits! {
    /// Control of MSI-X. Clause 7.7.2.2.
    MsixControl: U16 = u16 {
        /// Bits of the number of vectors, zero-based.
        VECTORS_Z = 0x7ff;
        /// All vectors are masked.
        MASK_ALL = 1 << 14;
        /// MSI-X is enabled.
        ENABLE = 1 << 15;
    }
}

/// Place of a table of MSI-X: the BAR in bits 2:0, and the offset in bytes, a multiple of eight.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct MsixPlace(pub U32);

impl MsixPlace {
    /// Place in a BAR.
    #[must_use]
    pub const fn new(bar: u8, offset: u32) -> Self {
        Self(U32::new(offset & !7 | (bar & 7) as u32))
    }
}

/// Entry of a table of MSI-X vectors. Clause 7.7.2.5.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MsixEntry {
    /// Lower half of the address of the message.
    pub address_low: U32,
    /// Upper half of the address of the message.
    pub address_high: U32,
    /// Data of the message.
    pub data: U32,
    /// Bit 0: whether the vector is masked.
    pub control: U32,
}

const _: () = assert!(size_of::<MsixEntry>() == 16);

/// PCI Express capability, version 2. Clause 7.5.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Express {
    /// [`CapabilityId::EXPRESS`].
    pub id: CapabilityId,
    /// Offset of the next capability; zero at the last one.
    pub next: u8,
    /// Capabilities: the version in bits 3:0, the type in bits 7:4.
    pub capabilities: U16,
    /// Device capabilities.
    pub device_capabilities: ExpressDeviceCapabilities,
    /// Device control.
    pub device_control: ExpressDeviceControl,
    /// Device status.
    pub device_status: U16,
    /// Link capabilities.
    pub link_capabilities: U32,
    /// Link control.
    pub link_control: U16,
    /// Link status.
    pub link_status: U16,
    /// Slot capabilities, control and status, and root control, capabilities and status: zeroes in an endpoint.
    pub slot_and_root: [u8; 16],
    /// Device capabilities 2.
    pub device_capabilities2: U32,
    /// Device control 2.
    pub device_control2: U16,
    /// Device status 2.
    pub device_status2: U16,
    /// Link capabilities 2.
    pub link_capabilities2: U32,
    /// Link control 2.
    pub link_control2: U16,
    /// Link status 2.
    pub link_status2: U16,
    /// Slot capabilities, control and status 2: zeroes in an endpoint.
    pub slot2: [u8; 8],
}

const _: () = assert!(size_of::<Express>() == 60);

impl Express {
    /// Capabilities of an endpoint: version 2, type 0.
    pub const ENDPOINT: u16 = 2;
}

bits! {
    /// Device capabilities of PCI Express. Clause 7.5.3.3.
    ExpressDeviceCapabilities: U32 = u32 {
        /// Errors are reported by their role.
        ROLE_BASED_ERRORS = 1 << 15;
        /// The function can be reset alone.
        FUNCTION_LEVEL_RESET = 1 << 28;
    }
}

bits! {
    /// Device control of PCI Express. Clause 7.5.3.4.
    ExpressDeviceControl: U16 = u16 {
        /// Resets the function; reads as zero.
        INITIATE_FUNCTION_LEVEL_RESET = 1 << 15;
    }
}

/// Header of an extended capability. Clause 7.6.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct ExtendedHeader(pub U32);

impl ExtendedHeader {
    /// Header of a capability with an identifier and a version; `next` is the offset of the next one, zero at the
    /// last.
    #[must_use]
    pub const fn new(id: u16, version: u8, next: u16) -> Self {
        Self(U32::new(id as u32 | ((version & 0xf) as u32) << 16 | (next as u32) << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        assert_eq!(offset_of!(Type0Header, bars), 0x10);
        assert_eq!(offset_of!(Type0Header, subsystem_vendor), 0x2c);
        assert_eq!(offset_of!(Type0Header, rom), 0x30);
        assert_eq!(offset_of!(Type0Header, capabilities), 0x34);
        assert_eq!(offset_of!(Type0Header, interrupt_line), 0x3c);
        assert_eq!(offset_of!(Express, link_capabilities), 0x0c);
        assert_eq!(offset_of!(Express, device_capabilities2), 0x24);
        assert_eq!(offset_of!(Express, slot2), 0x34);
    }

    #[test]
    fn a_place_of_msix_has_the_bar_in_its_lowest_bits() {
        assert_eq!(MsixPlace::new(4, 0x2000).0.get(), 0x2004);
    }

    #[test]
    fn an_extended_header_has_id_version_and_next() {
        assert_eq!(ExtendedHeader::new(3, 1, 0x148).0.get(), 0x1481_0003);
    }
}
