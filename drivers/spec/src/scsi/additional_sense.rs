//! Additional sense codes.

/// Additional sense code with its qualifier, in this order from the high byte: `0x2400` is 24h/00h. Clause 4.5.6 and
/// annex F.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct AdditionalSense(pub u16);

impl AdditionalSense {
    /// No additional sense information.
    pub const NONE: Self = Self(0x0000);
    /// Logical unit not ready, initializing command required.
    pub const INITIALIZING_COMMAND_REQUIRED: Self = Self(0x0402);
    /// Logical unit not accessible, asymmetric access state transition.
    pub const ACCESS_STATE_TRANSITION: Self = Self(0x040a);
    /// Write error.
    pub const WRITE_ERROR: Self = Self(0x0c00);
    /// Unrecovered read error.
    pub const UNRECOVERED_READ_ERROR: Self = Self(0x1100);
    /// Parameter list length error.
    pub const PARAMETER_LIST_LENGTH_ERROR: Self = Self(0x1a00);
    /// Miscompare during verify operation.
    pub const MISCOMPARE_DURING_VERIFY: Self = Self(0x1d00);
    /// Invalid command operation code.
    pub const INVALID_OPERATION_CODE: Self = Self(0x2000);
    /// Logical block address out of range.
    pub const LBA_OUT_OF_RANGE: Self = Self(0x2100);
    /// Invalid field in CDB.
    pub const INVALID_FIELD_IN_CDB: Self = Self(0x2400);
    /// Logical unit not supported.
    pub const LOGICAL_UNIT_NOT_SUPPORTED: Self = Self(0x2500);
    /// Invalid field in parameter list.
    pub const INVALID_FIELD_IN_PARAMETER_LIST: Self = Self(0x2600);
    /// Invalid release of persistent reservation.
    pub const INVALID_RELEASE_OF_PERSISTENT_RESERVATION: Self = Self(0x2604);
    /// Write protected.
    pub const WRITE_PROTECTED: Self = Self(0x2700);
    /// Space allocation failed write protect.
    pub const SPACE_ALLOCATION_FAILED: Self = Self(0x2707);
    /// Power on, reset, or bus device reset occurred.
    pub const POWER_ON_OR_RESET: Self = Self(0x2900);
    /// Bus device reset function occurred: a reset of the logical unit.
    pub const BUS_DEVICE_RESET_FUNCTION: Self = Self(0x2903);
    /// I_T nexus loss occurred.
    pub const I_T_NEXUS_LOSS: Self = Self(0x2907);
    /// Mode parameters changed.
    pub const MODE_PARAMETERS_CHANGED: Self = Self(0x2a01);
    /// Reservations preempted.
    pub const RESERVATIONS_PREEMPTED: Self = Self(0x2a03);
    /// Reservations released.
    pub const RESERVATIONS_RELEASED: Self = Self(0x2a04);
    /// Registrations preempted.
    pub const REGISTRATIONS_PREEMPTED: Self = Self(0x2a05);
    /// Asymmetric access state changed.
    pub const ACCESS_STATE_CHANGED: Self = Self(0x2a06);
    /// Capacity data has changed.
    pub const CAPACITY_CHANGED: Self = Self(0x2a09);
    /// Saving parameters not supported.
    pub const SAVING_PARAMETERS_NOT_SUPPORTED: Self = Self(0x3900);
    /// Reported LUNs data has changed.
    pub const REPORTED_LUNS_CHANGED: Self = Self(0x3f0e);
    /// Internal target failure.
    pub const INTERNAL_TARGET_FAILURE: Self = Self(0x4400);
    /// Insufficient registration resources.
    pub const INSUFFICIENT_REGISTRATION_RESOURCES: Self = Self(0x5504);

    /// ASC: the code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// ASCQ: its qualifier.
    #[must_use]
    pub const fn qualifier(self) -> u8 {
        self.0.to_be_bytes()[1]
    }
}
