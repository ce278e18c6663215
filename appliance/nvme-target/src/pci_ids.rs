//! Identifiers of the PCI function, which Identify Controller repeats.

/// Vendor. No registered one: guests recognise a controller by its class.
pub(crate) const VENDOR: u16 = 0x4c55;

/// Device of that vendor.
pub(crate) const DEVICE: u16 = 0x0001;

/// Vendor of the subsystem.
pub(crate) const SUBSYSTEM_VENDOR: u16 = VENDOR;

/// Subsystem of that vendor.
pub(crate) const SUBSYSTEM: u16 = 0x0001;
