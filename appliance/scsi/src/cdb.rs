//! Command descriptor blocks of any length as one type.

use luge_block::Lba;
use luge_spec::scsi::{Cdb6, Cdb10, Cdb12, Cdb16, Opcode};
use zerocopy::FromBytes;

/// Fields that block commands of all lengths have, as their CDB has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fields {
    /// Second byte; of a CDB of 6 bytes, zero.
    pub(crate) flags: u8,
    pub(crate) lba: Lba,
    /// Number of blocks, or bytes of parameters.
    pub(crate) length: u32,
    /// Byte in which the length begins.
    pub(crate) length_at: u16,
}

impl Fields {
    /// Reads a CDB; none where it is shorter than its operation code says, or that tells no length.
    pub(crate) fn read(cdb: &[u8]) -> Option<Self> {
        let bytes = Opcode(*cdb.first()?).cdb_bytes()?;
        match bytes {
            6 => Some(Self::of_6(&Cdb6::read_from_prefix(cdb).ok()?.0)),
            10 => Some(Self::of_10(&Cdb10::read_from_prefix(cdb).ok()?.0)),
            12 => Some(Self::of_12(&Cdb12::read_from_prefix(cdb).ok()?.0)),
            _ => Some(Self::of_16(&Cdb16::read_from_prefix(cdb).ok()?.0)),
        }
    }

    /// Zero blocks are 256 here. SBC-3, clause 5.9.
    fn of_6(cdb: &Cdb6) -> Self {
        let lba = u64::from(cdb.lba_high & 0x1f) << 16 | u64::from(cdb.lba_low.get());
        let length = if cdb.length == 0 { 256 } else { cdb.length.into() };
        Self { flags: 0, lba: Lba(lba), length, length_at: 4 }
    }

    fn of_10(cdb: &Cdb10) -> Self {
        let (lba, length) = (Lba(cdb.lba.get().into()), cdb.length.get().into());
        Self { flags: cdb.flags, lba, length, length_at: 7 }
    }

    fn of_12(cdb: &Cdb12) -> Self {
        let lba = Lba(cdb.lba.get().into());
        Self { flags: cdb.flags, lba, length: cdb.length.get(), length_at: 6 }
    }

    fn of_16(cdb: &Cdb16) -> Self {
        Self { flags: cdb.flags, lba: Lba(cdb.lba.get()), length: cdb.length.get(), length_at: 10 }
    }
}
