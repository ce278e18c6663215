//! A block request as an NVMe command: what an entry says besides where its memory is.
//!
//! Path: session -> volume -> **request to command** -> submission ring.
//!
//! Not here: whether the request is in order (`Geometry::check`), its memory (`prp`, `bounce`).

use crate::format::NamespaceId;
use crate::prp::Prps;
use crate::registers::halves;
use crate::slots::CommandId;
use luge_block::{Durability, Operation, Request};
use luge_spec::nvme::{DatasetRange, IoOpcode, SubmissionEntry, io_flags};

/// Opcode and command-specific words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Command {
    opcode: IoOpcode,
    /// CDW10 and CDW11.
    cdw10: u64,
    cdw12: u32,
}

impl Command {
    /// The command for a request that `Geometry::check` let through.
    #[inline]
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let blocks_z = request.blocks.wrapping_sub(1);
        let (opcode, cdw10, cdw12) = match request.operation {
            Operation::Read => (IoOpcode::READ, request.lba.0, blocks_z),
            Operation::Write(Durability::Cache) => (IoOpcode::WRITE, request.lba.0, blocks_z),
            Operation::Write(Durability::Media) => {
                (IoOpcode::WRITE, request.lba.0, blocks_z | io_flags::FORCE_UNIT_ACCESS)
            }
            Operation::WriteZeroes => (IoOpcode::WRITE_ZEROES, request.lba.0, blocks_z),
            Operation::WriteZeroesUnmap => {
                (IoOpcode::WRITE_ZEROES, request.lba.0, blocks_z | io_flags::DEALLOCATE)
            }
            Operation::Flush => (IoOpcode::FLUSH, 0, 0),
            // CDW10: one range, zero-based. CDW11: what to do with it.
            Operation::Discard => {
                (IoOpcode::DATASET_MANAGEMENT, u64::from(io_flags::ATTRIBUTE_DEALLOCATE) << 32, 0)
            }
        };
        Self { opcode, cdw10, cdw12 }
    }

    /// The submission entry.
    #[inline]
    pub(crate) fn entry(self, id: CommandId, namespace: NamespaceId, prps: Prps) -> SubmissionEntry {
        let [cdw10, cdw11] = halves(self.cdw10);
        SubmissionEntry {
            opcode: self.opcode.0,
            flags: 0,
            command_id: id.0,
            namespace: namespace.0,
            cdw2: [0; 2],
            metadata: 0,
            prp1: prps.prp1,
            prp2: prps.prp2,
            cdw10: [cdw10, cdw11, self.cdw12, 0, 0, 0],
        }
    }
}

/// The one range of a discard.
pub(crate) fn range(request: &Request<'_>) -> DatasetRange {
    DatasetRange { attributes: 0, blocks: request.blocks, lba: request.lba.0 }
}
