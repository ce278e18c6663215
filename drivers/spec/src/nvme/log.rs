//! Log pages. Base 2.0, clause 5.16.1.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// LID: log page identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct LogPage(pub u8);

impl LogPage {
    /// Supported Log Pages.
    pub const SUPPORTED: Self = Self(0x00);
    /// Error Information.
    pub const ERRORS: Self = Self(0x01);
    /// SMART / Health Information.
    pub const HEALTH: Self = Self(0x02);
    /// Firmware Slot Information.
    pub const FIRMWARE: Self = Self(0x03);
    /// Changed Namespace List.
    pub const CHANGED_NAMESPACES: Self = Self(0x04);
    /// Commands Supported and Effects.
    pub const EFFECTS: Self = Self(0x05);
    /// Reservation Notification.
    pub const RESERVATIONS: Self = Self(0x80);
}

/// Entry of the Error Information log. Clause 5.16.1.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ErrorEntry {
    /// Ordinal of the error, from 1; zero for an entry that is not used.
    pub count: u64,
    /// Submission queue of the command.
    pub submission_queue: u16,
    /// Identifier of the command.
    pub command_id: u16,
    /// Status and phase tag of the command.
    pub status: u16,
    /// Place of the wrong parameter: byte in bits 7:0, bit in bits 10:8; all ones if no one parameter is wrong.
    pub parameter: u16,
    /// First block with the error.
    pub lba: u64,
    /// Namespace.
    pub namespace: u32,
    /// Log page with more information.
    pub vendor_log_page: u8,
    /// TRTYPE: transport of the error; zero if it is not of a transport.
    pub transport: u8,
    /// Reserved.
    pub reserved_30: [u8; 2],
    /// Information of the command.
    pub command_specific: u64,
    /// Information of the transport.
    pub transport_specific: u16,
    /// Reserved.
    pub reserved_42: [u8; 22],
}

const _: () = assert!(size_of::<ErrorEntry>() == 64);

/// Firmware Slot Information. Clause 5.16.1.4.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareLog {
    /// AFI: slot of the active firmware in bits 2:0.
    pub active: u8,
    /// Reserved.
    pub reserved_1: [u8; 7],
    /// Revisions in the slots: ASCII, padded with spaces; zeroes in an empty slot.
    pub slots: [[u8; 8]; 7],
    /// Reserved.
    pub reserved_64: [u8; 448],
}

const _: () = assert!(size_of::<FirmwareLog>() == 512);

/// Commands Supported and Effects. Clause 5.16.1.6. Each word has bits of [`effects`].
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EffectsLog {
    /// Admin commands, by their opcodes.
    pub admin: [u32; 256],
    /// I/O commands, by their opcodes.
    pub io: [u32; 256],
    /// Reserved.
    pub reserved_2048: [u32; 512],
}

const _: () = assert!(size_of::<EffectsLog>() == 4096);

/// Bits of [`EffectsLog`].
pub mod effects {
    /// CSUPP: the command is supported.
    pub const SUPPORTED: u32 = 1 << 0;
    /// LBCC: blocks of a namespace may change.
    pub const CONTENT_CHANGE: u32 = 1 << 1;
    /// NCC: a namespace may change.
    pub const NAMESPACE_CHANGE: u32 = 1 << 2;
    /// NIC: the list of namespaces may change.
    pub const INVENTORY_CHANGE: u32 = 1 << 3;
    /// CSE: no other command to the namespace may be outstanding.
    pub const EXCLUSIVE_IN_NAMESPACE: u32 = 1 << 16;
}

/// SMART / Health Information. Clause 5.16.1.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SmartLog {
    /// Bits: spare low, temperature, reliability, read-only, backup of volatile memory, persistent memory.
    pub critical_warning: u8,
    /// Temperature, as [`Self::temperature_kelvin`] reads it.
    pub composite_temperature: [u8; 2],
    /// Remaining spare capacity, in percent.
    pub available_spare: u8,
    /// Spare capacity below which there is a warning, in percent.
    pub available_spare_threshold: u8,
    /// Life used, in percent; 255 for more.
    pub percentage_used: u8,
    /// Critical warnings of the endurance groups.
    pub endurance_group_warning: u8,
    /// Reserved.
    pub reserved_7: [u8; 25],
    /// Data read, in units of 1000 * 512 bytes.
    pub data_units_read: u128,
    /// Data written, in units of 1000 * 512 bytes.
    pub data_units_written: u128,
    /// Read commands completed.
    pub host_reads: u128,
    /// Write commands completed.
    pub host_writes: u128,
    /// Minutes with I/O in progress.
    pub busy_minutes: u128,
    /// Power cycles.
    pub power_cycles: u128,
    /// Hours with power.
    pub power_on_hours: u128,
    /// Losses of power without a shutdown notification.
    pub unsafe_shutdowns: u128,
    /// Occurrences of lost data.
    pub media_errors: u128,
    /// Entries ever written to the error log.
    pub error_log_entries: u128,
    /// Minutes above the warning temperature.
    pub warning_temperature_minutes: u32,
    /// Minutes above the critical temperature.
    pub critical_temperature_minutes: u32,
    /// Temperatures in kelvin; zero for a sensor that does not exist.
    pub temperature_sensors: [u16; 8],
    /// Transitions to lower power states at the first and second thermal limit.
    pub thermal_transitions: [u32; 2],
    /// Seconds in those power states.
    pub thermal_seconds: [u32; 2],
    /// Reserved.
    pub reserved_232: [u8; 280],
}

const _: () = assert!(size_of::<SmartLog>() == 512);

impl SmartLog {
    /// Composite temperature in kelvin.
    #[must_use]
    pub const fn temperature_kelvin(&self) -> u16 {
        u16::from_le_bytes(self.composite_temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn counters_are_where_the_specification_puts_them() {
        assert_eq!(offset_of!(SmartLog, data_units_read), 32);
        assert_eq!(offset_of!(SmartLog, unsafe_shutdowns), 144);
        assert_eq!(offset_of!(SmartLog, warning_temperature_minutes), 192);
        assert_eq!(offset_of!(SmartLog, temperature_sensors), 200);
        assert_eq!(offset_of!(SmartLog, thermal_transitions), 216);
        assert_eq!(offset_of!(SmartLog, reserved_232), 232);
    }
}
