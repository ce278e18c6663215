//! Sense keys.

/// Sense key: four bits. Clause 4.5.6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct SenseKey(pub u8);

impl SenseKey {
    /// There is nothing to report.
    pub const NO_SENSE: Self = Self(0x0);
    /// The logical unit is not accessible now.
    pub const NOT_READY: Self = Self(0x2);
    /// The media lost the data, or could not take it.
    pub const MEDIUM_ERROR: Self = Self(0x3);
    /// The hardware failed.
    pub const HARDWARE_ERROR: Self = Self(0x4);
    /// The command, or its parameters, are invalid.
    pub const ILLEGAL_REQUEST: Self = Self(0x5);
    /// Something has changed that the initiator has to know.
    pub const UNIT_ATTENTION: Self = Self(0x6);
    /// The blocks are protected from writes.
    pub const DATA_PROTECT: Self = Self(0x7);
    /// The command was aborted; another attempt may succeed.
    pub const ABORTED_COMMAND: Self = Self(0xb);
    /// The data differs from the blocks.
    pub const MISCOMPARE: Self = Self(0xe);
}
