//! Features. Base 2.0, clause 5.27.1.

/// FID: feature identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct FeatureId(pub u8);

impl FeatureId {
    /// Whether the volatile write cache is used.
    pub const VOLATILE_WRITE_CACHE: Self = Self(0x06);
    /// Numbers of I/O queues: CDW11 and the result are [`QueueCounts`].
    pub const NUMBER_OF_QUEUES: Self = Self(0x07);
    /// Asynchronous events that are sent: CDW11 has bits of [`event_config`].
    pub const ASYNC_EVENT_CONFIGURATION: Self = Self(0x0b);
    /// Combination of I/O command sets in use: CDW11 is its index in Identify CNS 1Ch.
    pub const COMMAND_SET_PROFILE: Self = Self(0x19);
}

/// Bits of the Asynchronous Event Configuration, clause 5.27.1.8.
pub mod event_config {
    /// All critical warnings of the SMART log.
    pub const CRITICAL_WARNINGS: u32 = 0x1f;
    /// A namespace was added, removed or changed. OAES has the same bit.
    pub const NAMESPACES_CHANGED: u32 = 1 << 8;
    /// Firmware activation is starting. OAES has the same bit.
    pub const FIRMWARE_ACTIVATION: u32 = 1 << 9;
}

/// Numbers of I/O submission and completion queues, clause 5.27.1.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct QueueCounts(pub u32);

impl QueueCounts {
    /// Equal numbers of submission and completion queues.
    #[must_use]
    pub const fn pairs_z(pairs_z: u16) -> Self {
        Self(pairs_z as u32 | (pairs_z as u32) << 16)
    }

    /// Submission queues, zero-based.
    #[must_use]
    pub const fn submission_z(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// Completion queues, zero-based.
    #[must_use]
    pub const fn completion_z(self) -> u16 {
        (self.0 >> 16) as u16
    }
}
