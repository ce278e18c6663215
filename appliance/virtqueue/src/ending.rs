//! Search for the place of the response in chains at fault: the last byte that the device may write, or the first ones,
//! as the layout of the device's requests says.
//!
//! A driver of virtio-blk reads the status of its request in the last byte (virtio 1.3, clause 5.2.6), one of
//! virtio-scsi its response in the first ones (clause 5.6.6.1), whatever the number and order of the other buffers. It
//! could take old bytes for success.
//!
//! ```text
//!  (1) idle           --a walk has ended with a fault--> (2)
//!  (2) ring           --a descriptor that refers to a table--> (3)
//!  (2) ring           --no next one, past the end, or seen before--> (1)
//!  (3) indirect table --no next one, past the end, or seen before--> (2) the rest of the ring's chain
//!  (2), (3)           --enough for a take--> stays; goes on with the next take
//!  (2), (3)           --enough for any chain, or the first bytes are found--> (1)
//! ```
//!
//! The chain is followed, by fault:
//! - pieces, bytes or regions beyond the limits: as if there were no limit;
//! - a readable piece after a writable one (clause 2.7.4.2): to its end all the same;
//! - a loop (clause 2.7.5.2): once around, so that the last byte is that of the first pass;
//! - an index past the end of its table: up to there;
//! - a table that is cut or partly missing: through the entries that are whole and there;
//! - a table inside a table (clause 2.7.5.3.1): past the inner one, which is no buffer;
//! - a table that is followed by more descriptors (as there): through the table, then through those;
//! - a second table (as there): through it, as long as it leads forward.
//!
//! Invariants
//! - An entry of the ring's table and of the first indirect one is looked at once, and there are
//!   [`ENTRIES_MAX`] in all, so a search ends.
//! - Each descriptor is loaded once here. It was loaded before, by the walk that found the fault;
//!   nothing but the byte's address is taken from the second load, and that is checked.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::QueueSize;
use crate::chain::{Fault, Head};
use crate::chain_layout::{ChainLayout, FixedPiece, ResponsePlace};
use crate::descriptor::{RawDescriptor, Table};
use crate::general_walk::Stop;
use crate::indirect::Indirect;

use luge_memory::{GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// Descriptors that a search goes through at most: more than a ring and the longest table have.
const ENTRIES_MAX: u32 = 1 << 17;

/// Start of a chain: its available index, and the descriptor at its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChainStart {
    pub(crate) index: u16,
    pub(crate) head: Head,
    pub(crate) descriptor: RawDescriptor,
}

/// Bytes that are searched.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// The last byte that the device may write.
    Last,
    /// So many bytes, the first that the device may write.
    First(u32),
}

impl Wanted {
    /// Bytes of the response in a layout; of one that is last, only the last.
    pub(crate) const fn of<L: ChainLayout>() -> Self {
        match L::RESPONSE {
            ResponsePlace::Last => Self::Last,
            ResponsePlace::First => Self::First(L::Response::LEN),
        }
    }

    /// The most pieces that the bytes can be in.
    fn pieces(self) -> usize {
        match self {
            Self::Last => 1,
            Self::First(bytes) => bytes as usize,
        }
    }
}

/// Part of a buffer that was found: its address, and its length in bytes.
#[derive(Clone, Copy, Default)]
struct Piece {
    at: GuestAddress,
    len: u32,
}

/// A search for the response of a chain, which may take several takes. Made once per queue.
pub(crate) struct Search {
    /// The available index of the chain, and its fault; none while idle.
    chain: Option<(u16, Fault)>,
    /// The descriptor to look at next; none at the end.
    descriptor: Option<RawDescriptor>,
    position: Position,
    /// Descriptors that may still be looked at.
    left: u32,
    wanted: Wanted,
    /// Findings so far: the first `found` pieces, of `bytes` bytes together.
    pieces: Box<[Piece]>,
    found: usize,
    bytes: u32,
    seen: Seen,
}

/// Table that a search is in.
enum Position {
    /// The ring's table, before any indirect one.
    Ring,
    /// The first indirect table, and the entry of the ring's table that follows it.
    First(Indirect, Option<u16>),
    /// A later indirect table; its next entry is the last field, or one behind it.
    Later(Indirect, Option<u16>, u16),
    /// The ring's table, after an indirect one.
    Rest,
}

impl Search {
    /// An idle search, for a ring of this size.
    pub(crate) fn new(size: QueueSize, wanted: Wanted) -> Self {
        Self {
            chain: None,
            descriptor: None,
            position: Position::Ring,
            left: 0,
            wanted,
            pieces: vec![Piece::default(); wanted.pieces()].into_boxed_slice(),
            found: 0,
            bytes: 0,
            seen: Seen::new(size),
        }
    }

    /// The fault of the chain with this available index, if its search has started.
    #[inline]
    pub(crate) fn fault(&self, chain: u16) -> Option<Fault> {
        self.chain.filter(|&(of, _)| of == chain).map(|(_, fault)| fault)
    }

    /// Starts the search in a chain with this fault.
    #[cold]
    pub(crate) fn start(&mut self, fault: Fault, start: ChainStart) {
        self.seen.clear();
        self.seen.add(Seen::RING, start.head.0);
        self.chain = Some((start.index, fault));
        (self.descriptor, self.position) = (Some(start.descriptor), Position::Ring);
        (self.left, self.found, self.bytes) = (ENTRIES_MAX, 0, 0);
    }

    /// Continues the search by at most `left` descriptors, which it subtracts. At its end, puts what it has found into
    /// `spans`, as far as that is in the guest's memory; returns the number of spans.
    ///
    /// # Errors
    /// [`Stop::Full`]: the search is not at its end, or has found more than there is room for. With room for as many
    /// spans as there are bytes, there is enough.
    pub(crate) fn run(
        &mut self,
        lookup: &mut Lookup<'_>,
        ring: &Table,
        left: &mut usize,
        spans: &mut [Span],
    ) -> Result<usize, Stop> {
        while let Some(descriptor) = self.descriptor {
            *left = left.checked_sub(1).ok_or(Stop::Full)?;
            self.left = self.left.saturating_sub(1);
            self.descriptor = self.pass(lookup, ring, &descriptor);
            self.descriptor = self.descriptor.filter(|_| self.left > 0 && !self.is_enough());
        }
        self.chain = None;
        self.look_up(lookup, spans).ok_or(Stop::Full)
    }

    /// Puts what was found into spans, up to what is not in the guest's memory; returns their number, or none if there
    /// is no room.
    fn look_up(&self, lookup: &mut Lookup<'_>, spans: &mut [Span]) -> Option<usize> {
        let mut count = 0_usize;
        for &Piece { at, len } in self.pieces.get(..self.found).unwrap_or_default() {
            let (mut at, mut len) = (Some(at), len);
            while len > 0 {
                // SAFETY: whoever made the queue keeps its memory while spans are in use.
                let Some(span) = at.and_then(|at| unsafe { lookup.span(at, len) }) else {
                    return Some(count);
                };
                *spans.get_mut(count)? = span;
                count = count.saturating_add(1);
                len = len.saturating_sub(span.len());
                at = at.and_then(|at| at.checked_add(span.len().into()));
            }
        }
        Some(count)
    }

    /// Notes a buffer that the device may write, of one byte at least.
    fn note(&mut self, at: GuestAddress, len: u32) {
        let piece = match self.wanted {
            Wanted::Last => {
                // Only the last one counts, and only if its last byte has an address.
                self.found = 0;
                let last = at.checked_add(len.saturating_sub(1).into());
                last.map(|at| Piece { at, len: 1 })
            }
            Wanted::First(bytes) => Some(Piece { at, len: len.min(bytes.saturating_sub(self.bytes)) }),
        };
        let Some((place, piece)) = self.pieces.get_mut(self.found).zip(piece) else { return };
        *place = piece;
        self.found = self.found.saturating_add(1);
        self.bytes = self.bytes.saturating_add(piece.len);
    }

    /// Whether all that is wanted was found, whatever comes yet.
    fn is_enough(&self) -> bool {
        matches!(self.wanted, Wanted::First(bytes) if self.bytes >= bytes)
    }

    /// Notes the buffer of a writable descriptor; returns the descriptor after it.
    fn pass(
        &mut self,
        lookup: &mut Lookup<'_>,
        ring: &Table,
        descriptor: &RawDescriptor,
    ) -> Option<RawDescriptor> {
        let next = descriptor.is(DescriptorFlags::NEXT).then(|| descriptor.next());
        let refers = descriptor.is(DescriptorFlags::INDIRECT);
        if refers && matches!(self.position, Position::Ring | Position::Rest) {
            let table = Indirect::find(lookup, descriptor);
            self.position = match self.position {
                Position::Ring => Position::First(table, next),
                _ => Position::Later(table, next, 0),
            };
            return self.load(lookup, ring, Some(0));
        }
        if descriptor.len() > 0 && descriptor.is(DescriptorFlags::WRITE) && !refers {
            self.note(GuestAddress(descriptor.address), descriptor.len());
        }
        self.load(lookup, ring, next)
    }

    /// Loads entry `next` of the table that the search is in, or else the entry that follows that table.
    fn load(&mut self, lookup: &mut Lookup<'_>, ring: &Table, next: Option<u16>) -> Option<RawDescriptor> {
        let (entry, rest) = match &mut self.position {
            Position::Ring | Position::Rest => (None, next),
            Position::First(table, rest) => {
                let entry = next.filter(|&index| self.seen.add(Seen::INDIRECT, index));
                (entry.and_then(|index| table.load(lookup, index).ok()), *rest)
            }
            Position::Later(table, rest, from) => {
                let entry = next.filter(|index| index >= from);
                *from = entry.map_or(*from, |index| index.saturating_add(1));
                (entry.and_then(|index| table.load(lookup, index).ok()), *rest)
            }
        };
        if entry.is_some() {
            return entry;
        }
        if !matches!(self.position, Position::Ring) {
            self.position = Position::Rest;
        }
        let index = rest.filter(|&index| self.seen.add(Seen::RING, index))?;
        RawDescriptor::load(ring, index)
    }
}

/// Entries that were looked at, a bit each.
struct Seen(Box<[u64]>);

impl Seen {
    /// The first bit of the indirect table, of which an index reaches 65536 entries.
    const INDIRECT: u32 = 0;
    /// The first bit of the ring's table.
    const RING: u32 = 1 << 16;

    fn new(size: QueueSize) -> Self {
        let bits = Self::RING.saturating_add(size.get().into());
        Self(vec![0; bits.div_ceil(64) as usize].into_boxed_slice())
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Adds an entry; returns false if it was there, or is past the end.
    fn add(&mut self, table: u32, index: u16) -> bool {
        let at = table.saturating_add(index.into());
        let Some(word) = self.0.get_mut((at / 64) as usize) else { return false };
        // The shift is taken modulo 64.
        let bit = 1_u64.wrapping_shl(at);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}
