//! NVMe command of a block request: its submission entry, but for identifier and PRPs.
//!
//! Path: session -> volume -> **request to command** -> submission ring.
//!
//! Not here: the check of the request (`Geometry::check`), its memory (`prp`, `bounce`).

use crate::format::NamespaceId;
use crate::parts::WINDOW_MASK;
use crate::prp::Prps;
use crate::registers::halves;
use crate::slots::CommandId;
use luge_block::{Durability, FailedRequest, Lba, Operation, Request};
use luge_spec::nvme::{DatasetRange, IoOpcode, SubmissionEntry, io_flags};

/// Opcode and command-specific words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Command {
    opcode: IoOpcode,
    /// CDW10 and CDW11.
    cdw10: u64,
    cdw12: u32,
    namespace: NamespaceId,
}

impl Command {
    /// Command of a request, which `Geometry::check` has accepted, to its namespace.
    #[inline]
    pub(crate) fn of(request: &Request<'_>, namespace: NamespaceId) -> Self {
        let (opcode, flags) = match request.operation {
            Operation::Read => (IoOpcode::READ, 0),
            Operation::Write(Durability::Cache) => (IoOpcode::WRITE, 0),
            Operation::Write(Durability::Media) => (IoOpcode::WRITE, io_flags::FORCE_UNIT_ACCESS),
            Operation::WriteZeroes => (IoOpcode::WRITE_ZEROES, 0),
            Operation::WriteZeroesUnmap => (IoOpcode::WRITE_ZEROES, io_flags::DEALLOCATE),
            Operation::Flush => return Self { opcode: IoOpcode::FLUSH, cdw10: 0, cdw12: 0, namespace },
            Operation::Discard => return Self { namespace, ..Self::DISCARD },
            Operation::Verify => (IoOpcode::VERIFY, 0),
            Operation::WriteUncorrectable => (IoOpcode::WRITE_UNCORRECTABLE, 0),
            // No namespace says that it does a compare-and-write in one step, nor what volumes do in steps.
            Operation::Compare | Operation::CompareAndWrite(_) | Operation::Stepped(_) => {
                (IoOpcode::COMPARE, 0)
            }
        };
        let (cdw10, cdw12) = (request.lba.0 & WINDOW_MASK, request.blocks.wrapping_sub(1) | flags);
        Self { opcode, cdw10, cdw12, namespace }
    }

    /// Discard of one range. CDW10 is the number of ranges, zero-based; CDW11 says that they are deallocated.
    const DISCARD: Self = Self {
        opcode: IoOpcode::DATASET_MANAGEMENT,
        cdw10: (io_flags::ATTRIBUTE_DEALLOCATE as u64) << 32,
        cdw12: 0,
        namespace: NamespaceId(0),
    };

    /// Submission entry of the command.
    #[inline]
    pub(crate) fn entry(self, id: CommandId, prps: Prps) -> SubmissionEntry {
        let [cdw10, cdw11] = halves(self.cdw10);
        SubmissionEntry {
            opcode: self.opcode.0,
            flags: 0,
            command_id: id.0,
            namespace: self.namespace.0,
            cdw2: [0; 2],
            metadata: 0,
            prp1: prps.prp1,
            prp2: prps.prp2,
            cdw10: [cdw10, cdw11, self.cdw12, 0, 0, 0],
        }
    }
}

/// Operation and blocks of a submission entry, for an error report. Of a discard, `range` has the blocks. None
/// for an opcode that Luge does not send.
pub(crate) fn asked_for(entry: &SubmissionEntry, range: DatasetRange) -> Option<FailedRequest> {
    let [_, _, flags, ..] = entry.cdw10;
    let (lba, blocks) = (entry.lba(), (flags & 0xffff).wrapping_add(1));
    let (operation, lba, blocks) = match IoOpcode(entry.opcode) {
        IoOpcode::READ => (Operation::Read, lba, blocks),
        IoOpcode::WRITE => (Operation::Write(Durability::Cache), lba, blocks),
        IoOpcode::WRITE_ZEROES => (Operation::WriteZeroes, lba, blocks),
        IoOpcode::DATASET_MANAGEMENT => (Operation::Discard, range.lba, range.blocks),
        IoOpcode::VERIFY => (Operation::Verify, lba, blocks),
        IoOpcode::WRITE_UNCORRECTABLE => (Operation::WriteUncorrectable, lba, blocks),
        IoOpcode::FLUSH => (Operation::Flush, 0, 0),
        _ => return None,
    };
    Some(FailedRequest { operation, lba: Lba(lba), blocks })
}

/// Range of a discard, as its command has it.
pub(crate) fn range(request: &Request<'_>) -> DatasetRange {
    DatasetRange { attributes: 0, blocks: request.blocks, lba: request.lba.0 & WINDOW_MASK }
}
