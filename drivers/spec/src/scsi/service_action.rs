//! Service actions.

/// Service action: the low five bits of the second byte of a CDB. Those of different operation codes have numbers in
/// common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ServiceAction(pub u8);

impl ServiceAction {
    /// Bits of the second byte of a CDB.
    pub const MASK: u8 = 0x1f;

    /// SERVICE ACTION IN (16): READ CAPACITY (16). SBC, clause 5.16.
    pub const READ_CAPACITY_16: Self = Self(0x10);
    /// SERVICE ACTION IN (16): GET LBA STATUS. SBC, clause 5.4.
    pub const GET_LBA_STATUS: Self = Self(0x12);
    /// MAINTENANCE IN: REPORT TARGET PORT GROUPS. Clause 6.37.
    pub const REPORT_TARGET_PORT_GROUPS: Self = Self(0x0a);
    /// MAINTENANCE IN: REPORT SUPPORTED OPERATION CODES. Clause 6.35.
    pub const REPORT_SUPPORTED_OPERATION_CODES: Self = Self(0x0c);
    /// MAINTENANCE IN: REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS. Clause 6.36.
    pub const REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS: Self = Self(0x0d);
    /// PERSISTENT RESERVE IN: READ KEYS.
    pub const READ_KEYS: Self = Self(0);
    /// PERSISTENT RESERVE IN: READ RESERVATION.
    pub const READ_RESERVATION: Self = Self(1);
    /// PERSISTENT RESERVE IN: REPORT CAPABILITIES.
    pub const REPORT_CAPABILITIES: Self = Self(2);
    /// PERSISTENT RESERVE IN: READ FULL STATUS.
    pub const READ_FULL_STATUS: Self = Self(3);
    /// PERSISTENT RESERVE OUT: REGISTER.
    pub const REGISTER: Self = Self(0);
    /// PERSISTENT RESERVE OUT: RESERVE.
    pub const RESERVE: Self = Self(1);
    /// PERSISTENT RESERVE OUT: RELEASE.
    pub const RELEASE: Self = Self(2);
    /// PERSISTENT RESERVE OUT: CLEAR.
    pub const CLEAR: Self = Self(3);
    /// PERSISTENT RESERVE OUT: PREEMPT.
    pub const PREEMPT: Self = Self(4);
    /// PERSISTENT RESERVE OUT: PREEMPT AND ABORT.
    pub const PREEMPT_AND_ABORT: Self = Self(5);
    /// PERSISTENT RESERVE OUT: REGISTER AND IGNORE EXISTING KEY.
    pub const REGISTER_AND_IGNORE: Self = Self(6);
}
