//! A block request as an NVMe command: checked here, once, before anything is kept.
//!
//! Path: session -> volume -> **request to command** -> submission ring.
//!
//! Not here: where its memory is (`prp`, `bounce`).

use luge_block::{Durability, Geometry, Operation, Request, Status};
use luge_spec::nvme::{DatasetRange, IoOpcode, SubmissionEntry, io_flags};

/// Whether the request is one that the namespace can do, and how many bytes its memory has.
#[inline]
pub(crate) fn check(geometry: &Geometry, request: &Request<'_>) -> Result<u32, Status> {
    if geometry.read_only && request.operation.changes_data() {
        return Err(Status::WriteProtected);
    }
    let blocks_max = match request.operation {
        Operation::Read | Operation::Write(_) => geometry.transfer_blocks_max,
        Operation::Flush => return Ok(0),
        Operation::Discard => geometry.discard_blocks_max,
        Operation::WriteZeroes | Operation::WriteZeroesUnmap => geometry.write_zeroes_blocks_max,
    };
    if blocks_max == 0 {
        return Err(Status::Unsupported);
    }
    if request.blocks.wrapping_sub(1) >= blocks_max {
        return Err(Status::Invalid);
    }
    if !geometry.contains(request.lba, request.blocks) {
        return Err(Status::OutOfRange);
    }
    data_bytes(geometry, request)
}

/// The length of the request's memory, which must be that of its blocks.
#[inline]
fn data_bytes(geometry: &Geometry, request: &Request<'_>) -> Result<u32, Status> {
    let blocks = match request.operation {
        Operation::Read | Operation::Write(_) => request.blocks,
        _ => 0,
    };
    let bytes = blocks.wrapping_mul(geometry.block_bytes);
    let have = request.data.iter().fold(0u64, |sum, span| sum.wrapping_add(u64::from(span.len())));
    if have != u64::from(bytes) || request.data.len() > usize::from(geometry.spans_max) {
        return Err(Status::Invalid);
    }
    Ok(bytes)
}

/// The command for a request that `check` let through, without memory, namespace and identifier.
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
