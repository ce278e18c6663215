//! Data of commands: PRP lists and SGLs in guest memory.

use luge_memory::GuestAddress;
use luge_spec::nvme::{SglDescriptor, SglType, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use zerocopy::IntoBytes;

/// Writes words into guest memory.
pub fn write_words(memory: &RigMemory, at: u64, words: &[u64]) {
    memory.write(GuestAddress(at), words.as_bytes());
}

/// Sets the data pointer of a command to an SGL of data blocks, in a segment at `list`.
pub fn with_sgl(
    memory: &RigMemory,
    entry: SubmissionEntry,
    blocks: &[SglDescriptor],
    list: u64,
) -> SubmissionEntry {
    write_words(memory, list, &blocks.iter().flat_map(|block| block.to_words()).collect::<Vec<_>>());
    let len = u32::try_from(16 * blocks.len()).unwrap();
    with_descriptor(entry, SglDescriptor::new(SglType::LAST_SEGMENT, list, len))
}

/// Sets the data pointer of a command to one SGL descriptor.
pub fn with_descriptor(entry: SubmissionEntry, descriptor: SglDescriptor) -> SubmissionEntry {
    let [prp1, prp2] = descriptor.to_words();
    SubmissionEntry { flags: entry.flags | 1 << 6, prp1, prp2, ..entry }
}

/// A data block.
pub fn block(at: u64, len: u32) -> SglDescriptor {
    SglDescriptor::new(SglType::DATA_BLOCK, at, len)
}
