//! Log pages. Base 2.0, clause 5.16.1.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// LID: log page identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct LogPage(pub u8);

impl LogPage {
    /// Error Information.
    pub const ERRORS: Self = Self(0x01);
    /// SMART / Health Information.
    pub const HEALTH: Self = Self(0x02);
    /// Changed Namespace List.
    pub const CHANGED_NAMESPACES: Self = Self(0x04);
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
