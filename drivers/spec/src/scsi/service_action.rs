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
}
