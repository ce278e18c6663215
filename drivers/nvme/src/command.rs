//! A block request as an NVMe command.
//!
//! Path: session -> volume -> **request to command** -> submission ring.
//!
//! Not here: where its memory is (`prp`, `bounce`).

use luge_block::{Durability, Operation, Request};
use luge_spec::nvme::{DatasetRange, IoOpcode, SubmissionEntry, io_flags};

/// The command for a request that `Geometry::check` let through, without memory, namespace and identifier.
#[inline]
pub(crate) fn entry(request: &Request<'_>) -> SubmissionEntry {
    let lba = request.lba.0;
    // Lossless: no checked request has more than 65536 blocks, but for discards.
    let blocks_z = (request.blocks.wrapping_sub(1) & 0xffff) as u16;
    match request.operation {
        Operation::Read => SubmissionEntry::io(IoOpcode::READ, lba, blocks_z, 0),
        Operation::Write(durability) => {
            let flags = match durability {
                Durability::Cache => 0,
                Durability::Media => io_flags::FORCE_UNIT_ACCESS,
            };
            SubmissionEntry::io(IoOpcode::WRITE, lba, blocks_z, flags)
        }
        Operation::WriteZeroes => SubmissionEntry::io(IoOpcode::WRITE_ZEROES, lba, blocks_z, 0),
        Operation::WriteZeroesUnmap => {
            SubmissionEntry::io(IoOpcode::WRITE_ZEROES, lba, blocks_z, io_flags::DEALLOCATE)
        }
        Operation::Flush => SubmissionEntry { opcode: IoOpcode::FLUSH.0, ..SubmissionEntry::default() },
        // CDW10: one range, zero-based.
        Operation::Discard => SubmissionEntry {
            opcode: IoOpcode::DATASET_MANAGEMENT.0,
            cdw10: [0, io_flags::ATTRIBUTE_DEALLOCATE, 0, 0, 0, 0],
            ..SubmissionEntry::default()
        },
    }
}

/// The one range of a discard.
pub(crate) fn range(request: &Request<'_>) -> DatasetRange {
    DatasetRange { attributes: 0, blocks: request.blocks, lba: request.lba.0 }
}
