//! Reads and writes of a run: from an entry of a submission queue to blocks and memory.
//!
//! The data of nearly all commands is in one memory page. Of their entries only the words that count are loaded, each
//! once. Any other read or write starts over, and its PRPs or its SGL are followed; the PRP lists of the commands behind it
//! are prefetched meanwhile. What is no read or write that a device takes at once, right or
//! wrong, is left to [`Command`](crate::commands::Command), which starts over again.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use super::setup::Rules;
use super::single::STEPS_AT_ONCE;
use crate::data::{BitBucket, Collected, Collector, DataWalk};
use crate::ids::{CommandId, NamespaceId};
use crate::queues::{Piece, Places};
use luge_block::{Durability, Geometry, Lba, Operation, Request, Tag};
use luge_memory::{GuestAddress, Lookup, SharedWords, Span, Use};
use luge_spec::nvme::{DataPointerKind, IoOpcode, io_flags};
use std::hint::select_unpredictable;
use std::ops::Range;

/// Bits of CDW12 that a read or write of a run may have: NLB, FUA and LR.
const FLAGS: u32 = 0xffff | io_flags::FORCE_UNIT_ACCESS | 1 << 31;

/// Bits of the first word of an entry that tell the reads and writes of a namespace: NSID, FUSE and opcode.
const EXPECTED: u64 = 0xffff_ffff_0000_3fff;

/// Bits of the first word of an entry that tell the reads and writes of all namespaces: FUSE and opcode.
const ANY_NAMESPACE: u64 = 0x3fff;

/// Bits of the first word of an entry that are zero where the data pointer consists of PRPs.
const POINTER_KIND: u64 = 0xc000;

/// Most bytes of a PRP list that are prefetched: the pages of 128 KiB. The CPU itself sees coming what follows.
const LIST_BYTES: u32 = 256;

/// Number of commands whose lists are prefetched ahead.
const LISTS_AHEAD: u32 = 8;

/// Opcodes of the two transfers are neighbours.
const _: () = assert!(IoOpcode::READ.0 == IoOpcode::WRITE.0 + 1);

/// Namespace of an entry with that first word, if it is a read or write.
#[inline]
pub(super) fn namespace_of_transfer(start: u64) -> Option<NamespaceId> {
    let kind = (start & ANY_NAMESPACE).wrapping_sub(u64::from(IoOpcode::WRITE.0));
    (kind <= 1).then(|| NamespaceId(u32::try_from(start >> 32).unwrap_or(0)))
}

/// An entry of the queue.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    index: u32,
    words: SharedWords<u64, 8>,
}

/// A read or write, with its memory.
pub(super) struct Transfer<'d> {
    pub(super) command: CommandId,
    pub(super) operation: Operation,
    pub(super) lba: Lba,
    pub(super) blocks: u32,
    pub(super) data: &'d [Span],
}

impl<'d> Transfer<'d> {
    /// Request with that tag.
    #[inline(always)]
    pub(super) fn request(&self, tag: Tag) -> Request<'d> {
        let &Self { operation, lba, blocks, data, .. } = self;
        Request { tag, operation, lba, blocks, data }
    }
}

/// Properties of the reads and writes of a namespace.
pub(super) struct TransferRules {
    pub(super) namespace: NamespaceId,
    /// Size of a block in bytes.
    pub(super) block_bytes: u32,
    /// The most blocks that the device takes at once.
    pub(super) blocks_max: u32,
    /// MDTS: the most data of a command.
    pub(super) bytes_max: u32,
    /// Size of a memory page in bytes.
    pub(super) page_bytes: u32,
    /// Durability of writes that do not ask for one.
    pub(super) durability: Durability,
}

impl TransferRules {
    /// The rules of a session, for commands of a namespace.
    #[inline]
    pub(super) fn new(namespace: NamespaceId, geometry: &Geometry, rules: &Rules) -> Self {
        let &Geometry { block_bytes, transfer_blocks_max, .. } = geometry;
        let &Rules { page_bytes, transfer_bytes_max, durability, .. } = rules;
        let (blocks_max, bytes_max) = (transfer_blocks_max, transfer_bytes_max);
        Self { namespace, block_bytes, blocks_max, bytes_max, page_bytes, durability }
    }
}

/// Memory to which the entries of a run refer, and room for its spans.
pub(super) struct TransferMemory<'m, 'd> {
    pub(super) lookup: Lookup<'m>,
    pub(super) bucket: &'m BitBucket,
    pub(super) spans: &'d mut [Span],
    /// Entries and descriptors of data pointers that may be looked at. The command that exceeds them is still read.
    pub(super) steps: usize,
}

/// Reader of the reads and writes of one namespace.
pub(super) struct TransferReader<'m, 'd> {
    piece: Piece<8>,
    rules: TransferRules,
    memory: TransferMemory<'m, 'd>,
    /// First word of a write of the namespace by PRPs, without the identifier.
    expected: u64,
    /// FUA, where all writes are to be on the media.
    forced: u32,
    /// Size of a memory page in bytes, as wide as an address, and the bits of an address that are the offset in a page.
    page_bytes: u64,
    offset_mask: u64,
    /// Index up to which the lists of commands were prefetched.
    prefetched: u32,
}

impl<'m, 'd> TransferReader<'m, 'd> {
    #[inline]
    pub(super) fn new(piece: Piece<8>, rules: TransferRules, memory: TransferMemory<'m, 'd>) -> Self {
        let expected = u64::from(rules.namespace.0) << 32 | u64::from(IoOpcode::WRITE.0);
        let forced = if rules.durability == Durability::Media { io_flags::FORCE_UNIT_ACCESS } else { 0 };
        let page_bytes = u64::from(rules.page_bytes);
        let offset_mask = page_bytes.wrapping_sub(1);
        Self { piece, rules, memory, expected, forced, page_bytes, offset_mask, prefetched: piece.first }
    }

    /// Indices of the entries.
    #[inline]
    fn indices(&self) -> Range<u32> {
        self.piece.first..self.piece.first.wrapping_add(self.piece.len)
    }

    /// The entries, in order.
    #[inline]
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        let words = self.piece.entries.elements(self.indices());
        self.indices().zip(words).map(|(index, words)| Entry { index, words })
    }

    /// Entries at some places behind the first one, in order.
    #[inline]
    pub(super) fn entries_at(&self, places: Places) -> impl Iterator<Item = Entry> + use<> {
        let Piece { entries, first, len } = self.piece;
        places.both(Places::first(len)).iter().map_while(move |place| {
            let index = first.wrapping_add(place);
            Some(Entry { index, words: entries.element(index)? })
        })
    }

    /// Number of entries and descriptors of data pointers that may still be looked at.
    #[inline]
    pub(super) fn steps(&self) -> usize {
        self.memory.steps
    }

    /// Reads an entry whose data is in one memory page, of which the span is put into `place`; none if that is not so.
    #[inline(always)]
    pub(super) fn read_short(
        &mut self,
        entry: Entry,
        place: &'d mut Span,
        block_bytes: u32,
    ) -> Option<Transfer<'d>> {
        let start = entry.words.word::<0>();
        // Zero for a write, one for a read, and more for all else: a subtraction tells opcode, flags and namespace.
        let kind = (start & (EXPECTED | POINTER_KIND)).wrapping_sub(self.expected);
        let flags = u32::try_from(entry.words.word::<6>() & u64::from(u32::MAX)).unwrap_or(0);
        if kind | u64::from(flags & !FLAGS) > 1 {
            return None;
        }
        // The lowest bit of the opcode.
        let reads = start & 1 == 0;
        let blocks = (flags & 0xffff).wrapping_add(1);
        let bytes = u64::from(blocks).wrapping_mul(block_bytes.into());
        let address = entry.words.word::<3>();
        let end_in_page = (address & self.offset_mask).wrapping_add(bytes);
        if address & 3 != 0 || end_in_page > self.page_bytes {
            return None;
        }
        // No more than a page.
        let bytes = u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or(0);
        let purpose = if reads { Use::Write } else { Use::Read };
        // SAFETY: the session keeps the memory until the command has ended.
        *place = unsafe { self.memory.lookup.whole_for(purpose, GuestAddress(address), bytes) }?;
        Some(Transfer {
            command: CommandId(u16::try_from(start >> 16 & 0xffff).unwrap_or(0)),
            operation: operation(reads, flags | self.forced),
            lba: Lba(entry.words.word::<5>()),
            blocks,
            data: std::slice::from_ref(place),
        })
    }

    /// Reads an entry whose data is anywhere; none if it is not for a run.
    #[inline(always)]
    pub(super) fn read_scattered(&mut self, entry: Entry) -> Option<Transfer<'d>> {
        let start = entry.words.word::<0>();
        let kind = (start & EXPECTED).wrapping_sub(self.expected);
        let flags = u32::try_from(entry.words.word::<6>() & u64::from(u32::MAX)).unwrap_or(0);
        let blocks = (flags & 0xffff).wrapping_add(1);
        let is_for_a_run = kind <= 1 && flags & !FLAGS == 0 && blocks <= self.rules.blocks_max;
        if !is_for_a_run || self.memory.steps == 0 {
            return None;
        }
        let pointer_kind = DataPointerKind(u8::try_from((start & POINTER_KIND) >> 14).unwrap_or(0));
        let bytes = blocks.checked_mul(self.rules.block_bytes);
        let bytes = bytes.filter(|&bytes| bytes <= self.rules.bytes_max)?;
        let purpose = if kind == 1 { Use::Write } else { Use::Read };
        let pointer = [entry.words.word::<3>(), entry.words.word::<4>()];
        let pair = (pointer_kind == DataPointerKind::PRP).then(|| self.two_pages(pointer, bytes, purpose));
        let data = match pair.flatten() {
            Some(pair) => pair,
            None => {
                self.prefetch_lists(entry.index);
                let walk = DataWalk::new(pointer_kind, pointer, bytes, self.rules.page_bytes);
                self.collect(walk.ok()?, purpose)?
            }
        };
        Some(Transfer {
            command: CommandId(u16::try_from(start >> 16 & 0xffff).unwrap_or(0)),
            operation: operation(kind == 1, flags | self.forced),
            lba: Lba(entry.words.word::<5>()),
            blocks,
            data,
        })
    }

    /// Finds the memory of a command whose data is in two pages, apart from each other; none if that is not so, or not
    /// right.
    #[inline]
    fn two_pages(&mut self, [first, second]: [u64; 2], bytes: u32, purpose: Use) -> Option<&'d [Span]> {
        let (page_bytes, mask) = (self.rules.page_bytes, u64::from(self.rules.page_bytes.wrapping_sub(1)));
        let here = page_bytes.wrapping_sub(u32::try_from(first & mask).unwrap_or(0));
        let rest = bytes.checked_sub(here).filter(|&rest| rest > 0 && rest <= page_bytes)?;
        let follows = first.wrapping_add(here.into()) == second;
        if first & 3 != 0 || second & mask != 0 || follows {
            return None;
        }
        // SAFETY: the session keeps the memory until the command has ended.
        let first = unsafe { self.memory.lookup.whole_for(purpose, GuestAddress(first), here) }?;
        // SAFETY: as above.
        let second = unsafe { self.memory.lookup.whole_for(purpose, GuestAddress(second), rest) }?;
        let (pair, spans) = std::mem::take(&mut self.memory.spans).split_first_chunk_mut::<2>()?;
        *pair = [first, second];
        self.memory.spans = spans;
        self.memory.steps = self.memory.steps.saturating_sub(pair.len());
        Some(pair)
    }

    /// Finds the memory of a command; none if that is not for a run.
    #[inline(never)]
    fn collect(&mut self, mut walk: DataWalk, purpose: Use) -> Option<&'d [Span]> {
        let TransferMemory { lookup, bucket, spans, steps } = &mut self.memory;
        let list = std::mem::take(spans);
        let mut collector = Collector {
            collected: Collected::new(purpose),
            lookup,
            list,
            bucket: Some(bucket),
            steps: STEPS_AT_ONCE,
        };
        let walked = walk.step(&mut collector);
        *steps = steps.saturating_sub(STEPS_AT_ONCE.saturating_sub(collector.steps));
        let count = walked.ok().flatten().unwrap_or(0);
        let (data, rest) = collector.list.split_at_mut_checked(count)?;
        *spans = rest;
        (count > 0).then_some(data)
    }

    /// Prefetches the PRP lists of some commands from an index on.
    fn prefetch_lists(&mut self, index: u32) {
        let end = index.wrapping_add(LISTS_AHEAD).min(self.indices().end);
        for entry in self.piece.entries.elements(self.prefetched.max(index)..end) {
            self.prefetch_list(entry);
        }
        self.prefetched = end;
    }

    /// Prefetches the PRP list of a command, if it has one. Nothing of the command is checked: whoever reads it loads its
    /// words again.
    fn prefetch_list(&mut self, entry: SharedWords<u64, 8>) {
        let page_bytes = u64::from(self.rules.page_bytes);
        let blocks = (entry.word::<6>() & 0xffff).wrapping_add(1);
        let bytes = blocks.wrapping_mul(self.rules.block_bytes.into());
        let offset = entry.word::<3>() & page_bytes.wrapping_sub(1);
        let pages_bytes = offset.wrapping_add(bytes);
        if pages_bytes > page_bytes.wrapping_mul(2) && entry.word::<0>() & POINTER_KIND == 0 {
            let list = GuestAddress(entry.word::<4>());
            let pages = pages_bytes.checked_div(page_bytes).unwrap_or(0);
            // SAFETY: the span is used at once, while the table is borrowed.
            let list = unsafe { self.memory.lookup.span_for(Use::Read, list, LIST_BYTES) };
            list.inspect(|list| list.prefetch_all(u32::try_from(pages).unwrap_or(0).saturating_mul(8)));
        }
    }
}

/// Operation of a read or write with these flags.
#[inline(always)]
fn operation(reads: bool, flags: u32) -> Operation {
    // Guests mix reads and writes: a branch here would be mispredicted.
    let durable = flags & io_flags::FORCE_UNIT_ACCESS != 0;
    let durability = select_unpredictable(durable, Durability::Media, Durability::Cache);
    select_unpredictable(reads, Operation::Read, Operation::Write(durability))
}
