//! Configuration space of the function: header, and the capabilities for power management, MSI-X and PCI Express.
//!
//! Each byte has a mask of the bits that software can write.

use super::layout::{MSIX_BAR, msix_len, registers_len, table_len};
use crate::pci_ids::{DEVICE, SUBSYSTEM, SUBSYSTEM_VENDOR, VENDOR};
use luge_spec::pci::{
    BaseAddress, CLASS_NVME, CapabilityId, Command, EXPRESS_CONFIG_BYTES, Express, ExpressDeviceCapabilities,
    ExpressDeviceControl, Msix, MsixControl, MsixPlace, PowerControl, PowerManagement, Status, Type0Header,
    offset,
};
use std::mem::offset_of;
use zerocopy::{Immutable, IntoBytes};

/// Length of the configuration space.
pub(super) const BYTES: usize = EXPRESS_CONFIG_BYTES as usize;

/// Offsets of the capabilities.
const POWER_MANAGEMENT: usize = 0x40;
const MSIX: usize = 0x50;
const EXPRESS: usize = 0x60;

/// Offset of the register that resets the function.
const DEVICE_CONTROL: usize = EXPRESS + offset_of!(Express, device_control);

/// Bits of the command register that software can write.
const COMMAND: u16 = Command::MEMORY_SPACE
    | Command::BUS_MASTER
    | Command::PARITY_ERROR_RESPONSE
    | Command::SERR_ENABLE
    | Command::INTERRUPT_DISABLE;

/// Bits of device control that software can write, but for the reset: errors, payload, and read request size.
const DEVICE_CONTROL_BITS: u16 = 0x7fff;

/// Link of 8 GT/s and a width of 4, in capabilities and status.
const LINK: u16 = 3 | 4 << 4;

/// Consequence of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// None.
    Stored,
    /// The function is to be reset (FLR).
    Reset,
}

/// Shape of a function, on which its configuration space depends.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Interrupt vectors.
    pub(super) vectors: u16,
    /// Bytes of the doorbells.
    pub(super) doorbells: u64,
}

/// Configuration space of the function.
pub(super) struct ConfigSpace {
    shape: Shape,
    bytes: Vec<u8>,
    /// Bits that software can write.
    writable: Vec<u8>,
}

impl ConfigSpace {
    /// A configuration space as after power-on.
    pub(super) fn new(shape: Shape) -> Self {
        let mut space = Self { shape, bytes: vec![0; BYTES], writable: vec![0; BYTES] };
        space.set_header();
        space.set_power_management();
        space.set_msix();
        space.set_express();
        space
    }

    /// Resets it.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.shape);
    }

    /// Bytes from `at` on.
    pub(super) fn read(&self, at: u64, data: &mut [u8]) {
        let skipped = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self.bytes.iter().copied().skip(skipped).chain(std::iter::repeat(0));
        data.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    }

    /// Writes bytes from `at` on, as far as software can.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) -> Written {
        let skipped = usize::try_from(at).unwrap_or(usize::MAX);
        let places = self.bytes.iter_mut().zip(&self.writable).skip(skipped);
        for ((byte, writable), value) in places.zip(data) {
            *byte = *byte & !writable | value & writable;
        }
        // The bit that resets the function reads as zero. It is in the upper byte of its register.
        let reset_at = DEVICE_CONTROL.saturating_add(1).checked_sub(skipped);
        let upper = reset_at.and_then(|at| data.get(at)).copied().unwrap_or(0);
        let reset = ExpressDeviceControl::INITIATE_FUNCTION_LEVEL_RESET >> 8;
        if u16::from(upper) & reset != 0 { Written::Reset } else { Written::Stored }
    }

    /// Whether the function may read and write memory.
    pub(super) fn is_bus_master(&self) -> bool {
        let mut command = [0; 2];
        self.read(offset::COMMAND.into(), &mut command);
        u16::from_le_bytes(command) & Command::BUS_MASTER != 0
    }

    fn put(&mut self, at: usize, value: &(impl IntoBytes + Immutable)) {
        let to = self.bytes.iter_mut().skip(at);
        to.zip(value.as_bytes()).for_each(|(to, byte)| *to = *byte);
    }

    fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable.iter_mut().skip(at).zip(bits).for_each(|(to, bits)| *to = *bits);
    }

    fn set_header(&mut self) {
        let memory_64 = BaseAddress(BaseAddress::BITS_64.into());
        let none = BaseAddress::default();
        let header = Type0Header {
            vendor: VENDOR.into(),
            device: DEVICE.into(),
            status: Status(Status::CAPABILITIES_LIST.into()),
            class: CLASS_NVME,
            bars: [memory_64, none, none, none, memory_64, none],
            subsystem_vendor: SUBSYSTEM_VENDOR.into(),
            subsystem: SUBSYSTEM.into(),
            capabilities: u8::try_from(POWER_MANAGEMENT).unwrap_or(0),
            ..Type0Header::default()
        };
        self.put(0, &header);
        self.allow(offset::COMMAND as usize, &COMMAND.to_le_bytes());
        self.allow(offset::CACHE_LINE as usize, &[0xff]);
        self.allow(offset::INTERRUPT_LINE as usize, &[0xff]);
        self.allow_bar(0, registers_len(self.shape.doorbells));
        self.allow_bar(MSIX_BAR, msix_len(self.shape.vectors));
    }

    /// Lets software write the address of a BAR of 64 bits, in multiples of its length.
    fn allow_bar(&mut self, bar: u8, len: u64) {
        let address = len.wrapping_neg() & !u64::from(BaseAddress::MEMORY_FLAGS);
        let at = (offset::BAR0 as usize).saturating_add(usize::from(bar).saturating_mul(4));
        self.allow(at, &address.to_le_bytes());
    }

    fn set_power_management(&mut self) {
        let capability = PowerManagement {
            id: CapabilityId::POWER_MANAGEMENT,
            next: u8::try_from(MSIX).unwrap_or(0),
            capabilities: PowerManagement::VERSION.into(),
            control: PowerControl(PowerControl::NO_SOFT_RESET.into()),
            ..PowerManagement::default()
        };
        self.put(POWER_MANAGEMENT, &capability);
        let control = POWER_MANAGEMENT.saturating_add(offset_of!(PowerManagement, control));
        self.allow(control, &PowerControl::STATE.to_le_bytes());
    }

    fn set_msix(&mut self) {
        let pending = u32::try_from(table_len(self.shape.vectors)).unwrap_or(0);
        let capability = Msix {
            id: CapabilityId::MSIX,
            next: u8::try_from(EXPRESS).unwrap_or(0),
            control: MsixControl(self.shape.vectors.saturating_sub(1).into()),
            table: MsixPlace::new(MSIX_BAR, 0),
            pending: MsixPlace::new(MSIX_BAR, pending),
        };
        self.put(MSIX, &capability);
        let control = MSIX.saturating_add(offset_of!(Msix, control));
        self.allow(control, &(MsixControl::ENABLE | MsixControl::MASK_ALL).to_le_bytes());
    }

    fn set_express(&mut self) {
        let capabilities =
            ExpressDeviceCapabilities::ROLE_BASED_ERRORS | ExpressDeviceCapabilities::FUNCTION_LEVEL_RESET;
        let capability = Express {
            id: CapabilityId::EXPRESS,
            capabilities: Express::ENDPOINT.into(),
            device_capabilities: ExpressDeviceCapabilities(capabilities.into()),
            link_capabilities: u32::from(LINK).into(),
            link_status: LINK.into(),
            ..Express::default()
        };
        self.put(EXPRESS, &capability);
        self.allow(DEVICE_CONTROL, &DEVICE_CONTROL_BITS.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        ConfigSpace::new(Shape { vectors: 64, doorbells: 4096 })
    }

    fn read<const N: usize>(space: &ConfigSpace, at: u32) -> [u8; N] {
        let mut data = [0xaa; N];
        space.read(at.into(), &mut data);
        data
    }

    fn word(space: &ConfigSpace, at: u32) -> u32 {
        u32::from_le_bytes(read(space, at))
    }

    /// Capabilities by their identifiers and offsets, as software walks the list.
    fn capabilities(space: &ConfigSpace) -> Vec<(u8, u8)> {
        let [mut at] = read(space, offset::CAPABILITIES);
        let mut found = Vec::new();
        while at != 0 && found.len() < 48 {
            let [id, next] = read(space, at.into());
            found.push((id, at));
            at = next;
        }
        found
    }

    #[test]
    fn it_is_an_nvme_controller_without_an_interrupt_pin() {
        let space = space();
        assert_eq!(read(&space, 9), [0x02, 0x08, 0x01]);
        assert_eq!(read(&space, 0x3c), [0, 0]);
        assert_eq!(read(&space, 0x0e), [0]);
        assert_eq!(word(&space, 0x100), 0, "no extended capability");
    }

    #[test]
    fn the_list_of_capabilities_has_power_management_msix_and_express() {
        assert_eq!(capabilities(&space()), [(0x01, 0x40), (0x11, 0x50), (0x10, 0x60)]);
    }

    #[test]
    fn the_length_of_a_bar_is_found_by_writing_ones() {
        let mut space = space();
        for (at, len) in [(0x10, 0x4000_u64), (0x20, 0x2000)] {
            space.write(at.into(), &[0xff; 8]);
            let value = u64::from_le_bytes(read(&space, at));
            assert_eq!(value & 0xf, 0b0100, "64 bits, not prefetchable");
            assert_eq!((value & !0xf).wrapping_neg(), len);
        }
        space.write(0x18, &[0xff; 8]);
        assert_eq!(word(&space, 0x18), 0);
        assert_eq!(word(&space, 0x1c), 0);
    }

    #[test]
    fn only_bits_that_software_owns_can_be_written() {
        let mut space = space();
        let before: [u8; 4] = read(&space, 0);
        space.write(0, &[0xff; 64]);
        assert_eq!(read(&space, 0), before);
        assert_eq!(u16::from_le_bytes(read(&space, 4)), COMMAND);
        assert_eq!(read(&space, 0x3c), [0xff, 0], "the line, and not the pin");
    }

    #[test]
    fn a_write_of_the_reset_bit_alone_or_among_others_resets_and_reads_as_zero() {
        for (at, data) in [(0x68_u64, [0x00, 0x80].as_slice()), (0x69, &[0x80]), (0x60, &[0x80; 16])] {
            let mut space = space();
            assert_eq!(space.write(at, data), Written::Reset, "{at:#x}");
            assert_eq!(u16::from_le_bytes(read(&space, 0x68)) & 0x8000, 0);
        }
        assert_eq!(space().write(0x68, &[0xff, 0x7f]), Written::Stored);
        assert_eq!(space().write(0x67, &[0x80]), Written::Stored);
        assert_eq!(space().write(0x6a, &[0x80; 2]), Written::Stored);
    }

    #[test]
    fn msix_is_enabled_by_software_and_off_after_a_reset() {
        let mut space = space();
        space.write(0x52, &0xffff_u16.to_le_bytes());
        assert_eq!(u16::from_le_bytes(read(&space, 0x52)), 0xc03f);
        space.reset();
        assert_eq!(u16::from_le_bytes(read(&space, 0x52)), 0x003f);
        assert_eq!(word(&space, 0x54), 4);
        assert_eq!(word(&space, 0x58), 0x1004);
    }

    #[test]
    fn reads_past_the_end_are_zeroes() {
        assert_eq!(read(&space(), 4094), [0; 8]);
    }
}
