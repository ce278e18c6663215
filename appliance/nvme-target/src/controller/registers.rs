//! Controller registers. Base 2.0, clause 3.1.3.
//!
//! Reads have no side effects, so bytes of any number and alignment are copied from an image of the registers.
//! Writes are whole 32-bit words; what else is written has no effect, as the specification allows.

use super::limits::{ControllerConfig, PAGE_SHIFT_MAX, READY_TIMEOUT_500MS};
use luge_spec::nvme::{AdminQueueAttributes, Capabilities, Version, command_sets, offset};
use serde::{Deserialize, Serialize};

/// Bytes of the registers that have a value.
const BYTES: usize = 0x70;

/// Bits of ASQ and ACQ that are no address.
const BELOW_PAGE: u64 = 0xfff;

/// Registers that a host can write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Registers {
    /// CC.
    pub configuration: u32,
    /// AQA.
    pub admin_queue_attributes: u32,
    /// ASQ.
    pub admin_submission_queue: u64,
    /// ACQ.
    pub admin_completion_queue: u64,
    /// INTMS and INTMC. The mask is for the interrupt line, which there is not: it has no effect.
    pub interrupt_mask: u32,
}

/// CAP, with doorbells that are so far from each other, as a power of two of 4 bytes. Without NSSR, which would reset
/// the controllers of all guests of the subsystem.
pub(super) fn capabilities(config: &ControllerConfig, doorbell_stride_log: u8) -> Capabilities {
    let entries_z = u16::try_from(config.queue_entries.wrapping_sub(1)).unwrap_or(u16::MAX);
    let base = Capabilities(Capabilities::READY_WITH_MEDIA);
    base.with_queue_entries_max_z(entries_z)
        .with_doorbell_stride_log(doorbell_stride_log)
        .with_timeout_500ms(READY_TIMEOUT_500MS)
        // Not the bit for several: older UEFI firmware takes a controller for none if any other bit is set.
        .with_command_sets(command_sets::NVM)
        .with_page_shift_max(PAGE_SHIFT_MAX)
}

impl Registers {
    /// The registers as bytes in BAR 0, with CAP and CSTS.
    pub(super) fn image(&self, capabilities: Capabilities, status: u32) -> [u8; BYTES] {
        let mut image = [0; BYTES];
        let mut put = |offset: u32, bytes: &[u8]| {
            let to = image.iter_mut().skip(offset as usize);
            to.zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(offset::CAP, &capabilities.0.to_le_bytes());
        put(offset::VS, &Version::V2_0.0.to_le_bytes());
        put(offset::INTMS, &self.interrupt_mask.to_le_bytes());
        put(offset::INTMC, &self.interrupt_mask.to_le_bytes());
        put(offset::CC, &self.configuration.to_le_bytes());
        put(offset::CSTS, &status.to_le_bytes());
        put(offset::AQA, &self.admin_queue_attributes.to_le_bytes());
        put(offset::ASQ, &self.admin_submission_queue.to_le_bytes());
        put(offset::ACQ, &self.admin_completion_queue.to_le_bytes());
        put(offset::CRTO, &u32::from(READY_TIMEOUT_500MS).to_le_bytes());
        image
    }

    /// Stores a 32-bit word of a register without side effects; others stay.
    pub(super) fn store(&mut self, at: u32, value: u32) {
        const ASQ_HIGH: u32 = offset::ASQ + 4;
        const ACQ_HIGH: u32 = offset::ACQ + 4;
        match at {
            offset::INTMS => self.interrupt_mask |= value,
            offset::INTMC => self.interrupt_mask &= !value,
            offset::AQA => self.admin_queue_attributes = value & AdminQueueAttributes::WRITABLE,
            offset::ASQ => set_low(&mut self.admin_submission_queue, value),
            ASQ_HIGH => set_high(&mut self.admin_submission_queue, value),
            offset::ACQ => set_low(&mut self.admin_completion_queue, value),
            ACQ_HIGH => set_high(&mut self.admin_completion_queue, value),
            _ => {}
        }
    }

    /// Returns the registers after a reset by CC.EN: those of the admin queues stay.
    pub(super) fn after_disable(self) -> Self {
        Self { interrupt_mask: 0, ..self }
    }
}

fn set_low(register: &mut u64, value: u32) {
    *register = (*register & !0xffff_ffff | u64::from(value)) & !BELOW_PAGE;
}

fn set_high(register: &mut u64, value: u32) {
    *register = *register & 0xffff_ffff | u64::from(value) << 32;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(image: &[u8], offset: u32) -> u32 {
        let at = offset as usize;
        u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn capabilities_say_what_the_controller_can() {
        let capabilities = capabilities(&ControllerConfig::default(), 4);
        assert_eq!(capabilities.queue_entries_max_z(), 4095);
        assert_eq!(capabilities.doorbell_stride_bytes(), 64);
        assert_eq!(capabilities.page_bytes_min(), 4096);
        assert_eq!(capabilities.page_bytes_max(), 65536);
        assert_eq!(capabilities.command_sets(), command_sets::NVM);
        assert!(capabilities.timeout_500ms() > 0);
        assert_eq!(capabilities.0 >> 16 & 1, 0, "queues need not be contiguous");
    }

    #[test]
    fn reserved_bits_of_queue_addresses_and_attributes_stay_zero() {
        let mut registers = Registers::default();
        registers.store(offset::AQA, u32::MAX);
        registers.store(offset::ASQ, u32::MAX);
        registers.store(offset::ASQ + 4, 7);
        registers.store(offset::ACQ + 4, 9);
        registers.store(offset::ACQ, 0x1fff);
        assert_eq!(registers.admin_queue_attributes, 0x0fff_0fff);
        assert_eq!(registers.admin_submission_queue, 0x7_ffff_f000);
        assert_eq!(registers.admin_completion_queue, 0x9_0000_1000);
    }

    #[test]
    fn the_interrupt_mask_is_set_and_cleared_bit_by_bit() {
        let mut registers = Registers::default();
        registers.store(offset::INTMS, 0b1110);
        registers.store(offset::INTMC, 0b0100);
        let image = registers.image(Capabilities(0), 0);
        assert_eq!(word(&image, offset::INTMS), 0b1010);
        assert_eq!(word(&image, offset::INTMC), 0b1010);
    }

    #[test]
    fn what_is_read_only_is_not_stored() {
        let mut registers = Registers::default();
        for offset in [offset::CAP, offset::CAP + 4, offset::VS, offset::CRTO, offset::CSTS, 0x3c, 0xfff] {
            registers.store(offset, u32::MAX);
        }
        assert_eq!(registers, Registers::default());
    }
}
