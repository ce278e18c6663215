//! Short transfers: reads and writes whose data is in one memory page, as nearly all commands are.
//!
//! Only the words of the entry that count are loaded, each once. Any other command, right or wrong, is left to
//! [`super::Command`], which starts over with a copy of its own.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::ids::{CommandId, NamespaceId};
use luge_block::{Durability, Lba, Operation};
use luge_memory::{GuestAddress, Lookup, SharedArray, Span, Use};
use luge_spec::nvme::{IoOpcode, io_flags};
use std::hint::select_unpredictable;

/// Bits of CDW12 that a short transfer may have: NLB, FUA and LR.
const FLAGS: u32 = 0xffff | io_flags::FORCE_UNIT_ACCESS | 1 << 31;

/// A read or write whose data is at most a memory page, from an address.
#[derive(Clone, Copy)]
pub(crate) struct ShortTransfer {
    pub(crate) command: CommandId,
    pub(crate) operation: Operation,
    pub(crate) lba: Lba,
    pub(crate) blocks: u32,
    data: GuestAddress,
    purpose: Use,
}

/// Reader of the short transfers of one namespace.
pub(crate) struct ShortReader<'a> {
    lookup: Lookup<'a>,
    /// NSID of the commands, and the opcode of the transfer with the lower one, where an entry has them.
    expected: u64,
    /// Size of a memory page in bytes.
    page_bytes: u32,
}

/// Bits of the first word of an entry that tell short transfers of a namespace: NSID, flags and opcode.
const EXPECTED: u64 = 0xffff_ffff_0000_ffff;

/// Opcodes of the transfers are neighbours.
const _: () = assert!(IoOpcode::READ.0 == IoOpcode::WRITE.0 + 1);

impl<'a> ShortReader<'a> {
    /// A reader for a namespace.
    #[inline]
    pub(crate) fn new(lookup: Lookup<'a>, namespace: NamespaceId, page_bytes: u32) -> Self {
        let expected = u64::from(namespace.0) << 32 | u64::from(IoOpcode::WRITE.0);
        Self { lookup, expected, page_bytes }
    }

    /// Reads an entry; none if that is no read or write of the namespace by PRPs.
    ///
    /// Always inlined: its caller loops over a batch.
    #[inline(always)]
    pub(crate) fn read(&self, entries: &SharedArray<[u64; 8]>, at: u32) -> Option<ShortTransfer> {
        let start = entries.get_word::<0>(at)?;
        // Zero for a write, one for a read, and more for all else: a subtraction tells opcode, flags and namespace.
        let kind = (start & EXPECTED).wrapping_sub(self.expected);
        let [flags, data] = [entries.get_word::<6>(at)?, entries.get_word::<3>(at)?];
        let flags = u32::try_from(flags & u64::from(u32::MAX)).unwrap_or(0);
        if kind > 1 || flags & !FLAGS != 0 || data & 3 != 0 {
            return None;
        }
        // Guests mix reads and writes: a branch here would be mispredicted.
        let reads = kind == 1;
        let durable = flags & io_flags::FORCE_UNIT_ACCESS != 0;
        let durability = select_unpredictable(durable, Durability::Media, Durability::Cache);
        Some(ShortTransfer {
            command: CommandId(u16::try_from(start >> 16 & 0xffff).unwrap_or(0)),
            operation: select_unpredictable(reads, Operation::Read, Operation::Write(durability)),
            lba: Lba(entries.get_word::<5>(at)?),
            blocks: (flags & 0xffff).wrapping_add(1),
            data: GuestAddress(data),
            purpose: select_unpredictable(reads, Use::Write, Use::Read),
        })
    }

    /// Finds the data of a transfer, of `bytes` bytes; none if that is not in one memory page and one region of memory.
    #[inline(always)]
    pub(crate) fn find(&mut self, transfer: &ShortTransfer, bytes: u32) -> Option<Span> {
        let offset = transfer.data.0 & u64::from(self.page_bytes.wrapping_sub(1));
        if offset.wrapping_add(bytes.into()) > self.page_bytes.into() {
            return None;
        }
        // SAFETY: the session keeps the memory until the command has ended.
        unsafe { self.lookup.whole_for(transfer.purpose, transfer.data, bytes) }
    }
}
