//! Search for the last byte of a chain that the device may write, for chains at fault.
//!
//! A driver of virtio-blk reads the status of its request there (virtio 1.3, clause 5.2.6), whatever the number
//! and order of the other buffers. It could take an old byte for success.
//!
//! ```text
//!  (1) idle           --a walk has ended with a fault--> (2)
//!  (2) ring           --a descriptor that refers to a table--> (3)
//!  (2) ring           --no next one, past the end, or seen before--> (1)
//!  (3) indirect table --no next one, past the end, or seen before--> (2) the rest of the ring's chain
//!  (2), (3)           --enough for a take--> stays; goes on with the next take
//!  (2), (3)           --enough for any chain--> (1)
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

/// A search for the last writable byte of a chain, which may take several takes. Made once per queue.
pub(crate) struct Search {
    /// The available index of the chain, and its fault; none while idle.
    chain: Option<(u16, Fault)>,
    /// The descriptor to look at next; none at the end.
    descriptor: Option<RawDescriptor>,
    position: Position,
    /// Descriptors that may still be looked at.
    left: u32,
    /// Address of the last byte of the last writable piece so far.
    last: Option<GuestAddress>,
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
    pub(crate) fn new(size: QueueSize) -> Self {
        Self {
            chain: None,
            descriptor: None,
            position: Position::Ring,
            left: 0,
            last: None,
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
        (self.left, self.last) = (ENTRIES_MAX, None);
    }

    /// Continues the search by at most `left` descriptors, which it subtracts. Returns the last writable byte, if
    /// there is one in the guest's memory.
    ///
    /// # Errors
    /// [`Stop::Full`]: the search is not at its end.
    pub(crate) fn run(
        &mut self,
        lookup: &mut Lookup<'_>,
        ring: &Table,
        left: &mut usize,
    ) -> Result<Option<Span>, Stop> {
        while let Some(descriptor) = self.descriptor {
            *left = left.checked_sub(1).ok_or(Stop::Full)?;
            self.left = self.left.saturating_sub(1);
            self.descriptor = self.pass(lookup, ring, &descriptor).filter(|_| self.left > 0);
        }
        self.chain = None;
        // SAFETY: whoever made the queue keeps its memory while spans are in use.
        Ok(self.last.and_then(|at| unsafe { lookup.span(at, 1) }))
    }

    /// Notes the last byte of a writable descriptor; returns the descriptor after it.
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
        let end = descriptor.len().checked_sub(1);
        if let Some(end) = end.filter(|_| descriptor.is(DescriptorFlags::WRITE) && !refers) {
            self.last = GuestAddress(descriptor.address).checked_add(end.into());
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
