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

/// Bits of the first word of an entry that tell the short transfers of a namespace: NSID, flags and opcode.
const EXPECTED: u64 = 0xffff_ffff_0000_ffff;

/// Opcodes of the two transfers are neighbours.
const _: () = assert!(IoOpcode::READ.0 == IoOpcode::WRITE.0 + 1);

/// A read or write whose data is in one memory page, and in one region of memory: words of its entry, and its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortTransfer {
    pub(crate) data: Span,
    /// First word: opcode, identifier, namespace.
    start: u64,
    pub(crate) lba: Lba,
    /// CDW12.
    flags: u32,
}

impl ShortTransfer {
    /// No transfer.
    pub(crate) const NONE: Self = Self { data: Span::EMPTY, start: 0, lba: Lba(0), flags: 0 };

    /// Number of blocks.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> u32 {
        (self.flags & 0xffff).wrapping_add(1)
    }

    /// Identifier of the command.
    #[inline(always)]
    pub(crate) fn command(&self) -> CommandId {
        CommandId(u16::try_from(self.start >> 16 & 0xffff).unwrap_or(0))
    }

    /// The read or write.
    #[inline(always)]
    pub(crate) fn operation(&self) -> Operation {
        // Guests mix reads and writes: a branch here would be mispredicted.
        let durable = self.flags & io_flags::FORCE_UNIT_ACCESS != 0;
        let durability = select_unpredictable(durable, Durability::Media, Durability::Cache);
        let reads = self.start & 0xff == u64::from(IoOpcode::READ.0);
        select_unpredictable(reads, Operation::Read, Operation::Write(durability))
    }
}

/// Reader of the short transfers of one namespace.
pub(crate) struct ShortReader<'a> {
    lookup: Lookup<'a>,
    /// First word of a write of the namespace, without the identifier.
    expected: u64,
    block_bytes: u32,
    /// Size of a memory page in bytes.
    page_bytes: u32,
    /// FUA, where all writes are to be on the media.
    forced: u32,
}

impl<'a> ShortReader<'a> {
    /// A reader for a namespace with blocks of `block_bytes` bytes, and memory pages of `page_bytes` bytes.
    #[inline]
    pub(crate) fn new(lookup: Lookup<'a>, namespace: NamespaceId, block_bytes: u32, page_bytes: u32) -> Self {
        let expected = u64::from(namespace.0) << 32 | u64::from(IoOpcode::WRITE.0);
        Self { lookup, expected, block_bytes, page_bytes, forced: 0 }
    }

    /// Makes writes at least as durable as `least` says.
    #[inline]
    pub(crate) fn with_durability(self, least: Durability) -> Self {
        let forced = if least == Durability::Media { io_flags::FORCE_UNIT_ACCESS } else { 0 };
        Self { forced, ..self }
    }

    /// Reads entries from index `first`, one for each of `transfers`, up to the first one that is no short transfer;
    /// returns how many.
    ///
    /// Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    pub(crate) fn read_all(
        &mut self,
        entries: SharedArray<[u64; 8]>,
        first: u32,
        transfers: &mut [ShortTransfer],
    ) -> usize {
        let places = transfers.iter_mut().zip(first..);
        places.map_while(|(place, at)| self.read(&entries, at, place)).count()
    }

    /// Reads an entry into a place; none if it is no short transfer.
    #[inline(always)]
    fn read(&mut self, entries: &SharedArray<[u64; 8]>, at: u32, place: &mut ShortTransfer) -> Option<()> {
        let start = entries.get_word::<0>(at)?;
        // Zero for a write, one for a read, and more for all else: a subtraction tells opcode, flags and namespace.
        let kind = (start & EXPECTED).wrapping_sub(self.expected);
        let [flags, address] = [entries.get_word::<6>(at)?, entries.get_word::<3>(at)?];
        let flags = u32::try_from(flags & u64::from(u32::MAX)).unwrap_or(0);
        if kind > 1 || flags & !FLAGS != 0 || address & 3 != 0 {
            return None;
        }
        place.lba = Lba(entries.get_word::<5>(at)?);
        (place.start, place.flags) = (start, flags | self.forced);
        let bytes = u64::from(place.blocks()).wrapping_mul(self.block_bytes.into());
        let offset = address & u64::from(self.page_bytes.wrapping_sub(1));
        if offset.wrapping_add(bytes) > self.page_bytes.into() {
            return None;
        }
        // No more than a page.
        let bytes = u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or(0);
        let purpose = if kind == 1 { Use::Write } else { Use::Read };
        // SAFETY: the session keeps the memory until the command has ended.
        place.data = unsafe { self.lookup.whole_for(purpose, GuestAddress(address), bytes) }?;
        Some(())
    }
}
