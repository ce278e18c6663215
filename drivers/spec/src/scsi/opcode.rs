//! Operation codes.

/// Operation code: the first byte of a CDB. Clause 4.2.5.1 and annex F; SBC, clause 5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Opcode(pub u8);

impl Opcode {
    /// TEST UNIT READY.
    pub const TEST_UNIT_READY: Self = Self(0x00);
    /// REQUEST SENSE.
    pub const REQUEST_SENSE: Self = Self(0x03);
    /// READ (6).
    pub const READ_6: Self = Self(0x08);
    /// WRITE (6).
    pub const WRITE_6: Self = Self(0x0a);
    /// INQUIRY.
    pub const INQUIRY: Self = Self(0x12);
    /// MODE SELECT (6).
    pub const MODE_SELECT_6: Self = Self(0x15);
    /// RESERVE (6).
    pub const RESERVE_6: Self = Self(0x16);
    /// RELEASE (6).
    pub const RELEASE_6: Self = Self(0x17);
    /// MODE SENSE (6).
    pub const MODE_SENSE_6: Self = Self(0x1a);
    /// START STOP UNIT.
    pub const START_STOP_UNIT: Self = Self(0x1b);
    /// SEND DIAGNOSTIC.
    pub const SEND_DIAGNOSTIC: Self = Self(0x1d);
    /// PREVENT ALLOW MEDIUM REMOVAL.
    pub const PREVENT_ALLOW_MEDIUM_REMOVAL: Self = Self(0x1e);
    /// READ CAPACITY (10).
    pub const READ_CAPACITY_10: Self = Self(0x25);
    /// READ (10).
    pub const READ_10: Self = Self(0x28);
    /// WRITE (10).
    pub const WRITE_10: Self = Self(0x2a);
    /// WRITE AND VERIFY (10).
    pub const WRITE_AND_VERIFY_10: Self = Self(0x2e);
    /// VERIFY (10).
    pub const VERIFY_10: Self = Self(0x2f);
    /// SYNCHRONIZE CACHE (10).
    pub const SYNCHRONIZE_CACHE_10: Self = Self(0x35);
    /// WRITE SAME (10).
    pub const WRITE_SAME_10: Self = Self(0x41);
    /// UNMAP.
    pub const UNMAP: Self = Self(0x42);
    /// LOG SENSE.
    pub const LOG_SENSE: Self = Self(0x4d);
    /// MODE SELECT (10).
    pub const MODE_SELECT_10: Self = Self(0x55);
    /// RESERVE (10).
    pub const RESERVE_10: Self = Self(0x56);
    /// RELEASE (10).
    pub const RELEASE_10: Self = Self(0x57);
    /// MODE SENSE (10).
    pub const MODE_SENSE_10: Self = Self(0x5a);
    /// PERSISTENT RESERVE IN.
    pub const PERSISTENT_RESERVE_IN: Self = Self(0x5e);
    /// PERSISTENT RESERVE OUT.
    pub const PERSISTENT_RESERVE_OUT: Self = Self(0x5f);
    /// READ (16).
    pub const READ_16: Self = Self(0x88);
    /// COMPARE AND WRITE.
    pub const COMPARE_AND_WRITE: Self = Self(0x89);
    /// WRITE (16).
    pub const WRITE_16: Self = Self(0x8a);
    /// WRITE AND VERIFY (16).
    pub const WRITE_AND_VERIFY_16: Self = Self(0x8e);
    /// VERIFY (16).
    pub const VERIFY_16: Self = Self(0x8f);
    /// SYNCHRONIZE CACHE (16).
    pub const SYNCHRONIZE_CACHE_16: Self = Self(0x91);
    /// WRITE SAME (16).
    pub const WRITE_SAME_16: Self = Self(0x93);
    /// SERVICE ACTION IN (16): READ CAPACITY (16), GET LBA STATUS.
    pub const SERVICE_ACTION_IN_16: Self = Self(0x9e);
    /// REPORT LUNS.
    pub const REPORT_LUNS: Self = Self(0xa0);
    /// MAINTENANCE IN: reports about operation codes, task management functions and target port groups.
    pub const MAINTENANCE_IN: Self = Self(0xa3);
    /// MAINTENANCE OUT: set target port groups.
    pub const MAINTENANCE_OUT: Self = Self(0xa4);
    /// READ (12).
    pub const READ_12: Self = Self(0xa8);
    /// WRITE (12).
    pub const WRITE_12: Self = Self(0xaa);
    /// WRITE AND VERIFY (12).
    pub const WRITE_AND_VERIFY_12: Self = Self(0xae);
    /// VERIFY (12).
    pub const VERIFY_12: Self = Self(0xaf);

    /// Length in bytes of a CDB with this operation code; none where the code does not tell. Clause 4.2.5.1.
    #[must_use]
    pub const fn cdb_bytes(self) -> Option<usize> {
        match self.0 >> 5 {
            0 => Some(6),
            1 | 2 => Some(10),
            4 => Some(16),
            5 => Some(12),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_an_operation_code_tells_the_length_of_its_cdb() {
        for (code, bytes) in [
            (Opcode::READ_6, Some(6)),
            (Opcode::READ_10, Some(10)),
            (Opcode::UNMAP, Some(10)),
            (Opcode::READ_12, Some(12)),
            (Opcode::READ_16, Some(16)),
            (Opcode(0x7f), None),
            (Opcode(0xc0), None),
            (Opcode(0xff), None),
        ] {
            assert_eq!(code.cdb_bytes(), bytes, "{code:?}");
        }
    }
}
