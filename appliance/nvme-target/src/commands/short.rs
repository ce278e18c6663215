//! Short transfers: reads and writes whose data is in one memory page, as nearly all commands are.
//!
//! Only the words of the entry that count are loaded, each once. Any other command, right or wrong, is left to
//! [`super::Command`], which starts over with a copy of its own.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::ids::CommandId;
use luge_block::{Durability, Lba, Operation};
use luge_memory::{GuestAddress, Lookup, SharedArray, Span, Use};
use luge_spec::nvme::{IoOpcode, io_flags};
use std::hint::select_unpredictable;

/// Bits of CDW12 that a short transfer may have: NLB, FUA and LR.
const FLAGS: u32 = 0xffff | io_flags::FORCE_UNIT_ACCESS | 1 << 31;

/// A read or write whose data is in one memory page, and in one region of memory.
pub(crate) struct ShortTransfer {
    pub(crate) command: CommandId,
    pub(crate) operation: Operation,
    pub(crate) lba: Lba,
    pub(crate) blocks: u32,
    pub(crate) data: Span,
}

/// Reader of the short transfers of one namespace.
pub(crate) struct ShortReader<'a> {
    pub(crate) lookup: Lookup<'a>,
    /// NSID of the commands.
    pub(crate) namespace: u32,
    /// Size of a block in bytes, as a power of two.
    pub(crate) block_shift: u32,
    /// Size of a memory page in bytes.
    pub(crate) page_bytes: u64,
}

impl ShortReader<'_> {
    /// Reads an entry; none if that is no short transfer of the namespace.
    ///
    /// Always inlined: its caller loops over a batch.
    #[inline(always)]
    pub(crate) fn read(&mut self, entries: &SharedArray<[u64; 8]>, at: u32) -> Option<ShortTransfer> {
        let [start, flags, page] =
            [entries.get_word::<0>(at)?, entries.get_word::<6>(at)?, entries.get_word::<3>(at)?];
        let [kind, command] = [start, start >> 16].map(|half| u16::try_from(half & 0xffff).unwrap_or(0));
        let flags = u32::try_from(flags & u64::from(u32::MAX)).unwrap_or(0);
        // Opcode, with flags of zero: PRPs, not fused.
        let reads = kind == u16::from(IoOpcode::READ.0);
        let transfers = reads | (kind == u16::from(IoOpcode::WRITE.0));
        let blocks = (flags & 0xffff).wrapping_add(1);
        let bytes = u64::from(blocks) << self.block_shift;
        let offset = page & self.page_bytes.wrapping_sub(1);
        let odd = (start >> 32 ^ u64::from(self.namespace)) | u64::from(flags & !FLAGS) | (page & 3);
        if !transfers || odd != 0 || offset.wrapping_add(bytes) > self.page_bytes {
            return None;
        }
        // Guests mix reads and writes: a branch here would be mispredicted.
        let purpose = select_unpredictable(reads, Use::Write, Use::Read);
        // SAFETY: the session keeps the memory until the command has ended.
        let data = unsafe { self.lookup.whole_for(purpose, GuestAddress(page), u32::try_from(bytes).ok()?) }?;
        let durable = flags & io_flags::FORCE_UNIT_ACCESS != 0;
        let durability = select_unpredictable(durable, Durability::Media, Durability::Cache);
        let operation = select_unpredictable(reads, Operation::Read, Operation::Write(durability));
        let lba = Lba(entries.get_word::<5>(at)?);
        Some(ShortTransfer { command: CommandId(command), operation, lba, blocks, data })
    }
}
