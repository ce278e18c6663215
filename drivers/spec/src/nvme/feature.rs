//! Features. Base 2.0, clause 5.27.1.

/// FID: feature identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct FeatureId(pub u8);

impl FeatureId {
    /// Commands of a submission queue in a row.
    pub const ARBITRATION: Self = Self(0x01);
    /// Power state.
    pub const POWER_MANAGEMENT: Self = Self(0x02);
    /// Temperatures at which there is a warning.
    pub const TEMPERATURE_THRESHOLD: Self = Self(0x04);
    /// Time limit of retries, of a namespace.
    pub const ERROR_RECOVERY: Self = Self(0x05);
    /// Whether the volatile write cache is used.
    pub const VOLATILE_WRITE_CACHE: Self = Self(0x06);
    /// Numbers of I/O queues: CDW11 and the result are [`QueueCounts`].
    pub const NUMBER_OF_QUEUES: Self = Self(0x07);
    /// Number of completions and time for which interrupts may wait.
    pub const INTERRUPT_COALESCING: Self = Self(0x08);
    /// Whether interrupts of a vector may wait.
    pub const INTERRUPT_VECTOR_CONFIGURATION: Self = Self(0x09);
    /// Whether writes longer than AWUPF need not be atomic.
    pub const WRITE_ATOMICITY: Self = Self(0x0a);
    /// Asynchronous events that are sent: CDW11 has bits of [`event_config`].
    pub const ASYNC_EVENT_CONFIGURATION: Self = Self(0x0b);
    /// Time of the host.
    pub const TIMESTAMP: Self = Self(0x0e);
    /// Time after which a host that is silent is gone.
    pub const KEEP_ALIVE_TIMER: Self = Self(0x0f);
    /// Combination of I/O command sets in use: CDW11 is its index in Identify CNS 1Ch.
    pub const COMMAND_SET_PROFILE: Self = Self(0x19);
    /// Identifier of the host, for reservations.
    pub const HOST_IDENTIFIER: Self = Self(0x81);
    /// Reservation notifications that are not sent, of a namespace.
    pub const RESERVATION_NOTIFICATION_MASK: Self = Self(0x82);
    /// Whether reservations of a namespace persist through a loss of power.
    pub const RESERVATION_PERSISTENCE: Self = Self(0x83);
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
