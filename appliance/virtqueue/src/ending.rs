//! The last byte of a chain that the device may write, for chains at fault.
//!
//! A driver of virtio-blk looks for the status of its request there (virtio 1.3, clause 5.2.6),
//! whatever it thinks of the number and order of the other buffers. A byte that was left as it was
//! could be taken for success.
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
use crate::batch::Head;
use crate::descriptor::{RawDescriptor, Table};
use crate::indirect::Indirect;
use crate::walk::{Fault, Stop};
use luge_memory::{GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// Descriptors that a search goes through at most: more than a ring and the longest table have.
const ENTRIES_MAX: u32 = 1 << 17;

/// A search for the last writable byte of a chain, which several takes may carry on. Made once per queue.
pub(crate) struct Search {
    /// The available index of the chain, and its fault; none while idle.
    chain: Option<(u16, Fault)>,
    /// The descriptor to look at next; none at the end.
    descriptor: Option<RawDescriptor>,
    place: Place,
    /// Descriptors that may still be looked at.
    left: u32,
    /// Address of the last byte of the last writable piece so far.
    last: Option<GuestAddress>,
    seen: Seen,
}

/// The table that a search is in.
enum Place {
    /// The ring's, before any indirect one.
    Ring,
    /// The first indirect one, and the entry of the ring's table that follows it.
    First(Indirect, Option<u16>),
    /// A later one; its next entry is this one or one behind it.
    Later(Indirect, Option<u16>, u16),
    /// The ring's, after an indirect one.
    Rest,
}

impl Search {
    /// No search yet, in a ring of this size.
    pub(crate) fn new(size: QueueSize) -> Self {
        Self { chain: None, descriptor: None, place: Place::Ring, left: 0, last: None, seen: Seen::new(size) }
    }

    /// The fault of the chain with this available index, if its search has begun.
    #[inline]
    pub(crate) fn fault(&self, chain: u16) -> Option<Fault> {
        self.chain.filter(|&(of, _)| of == chain).map(|(_, fault)| fault)
    }

    /// Begins to search the chain with this available index and this fault.
    #[cold]
    pub(crate) fn begin(&mut self, chain: (u16, Fault), head: Head, first: RawDescriptor) {
        self.seen.clear();
        self.seen.add(Seen::RING, head.0);
        (self.chain, self.descriptor, self.place) = (Some(chain), Some(first), Place::Ring);
        (self.left, self.last) = (ENTRIES_MAX, None);
    }

    /// Looks at no more than `left` descriptors, and takes them off that number. Returns the last
    /// writable byte, if there is one in the guest's memory.
    ///
    /// # Errors
    /// [`Stop::Full`] where the number does not suffice.
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

    /// Notes what a descriptor gives to write; returns the one after it.
    fn pass(
        &mut self,
        lookup: &mut Lookup<'_>,
        ring: &Table,
        descriptor: &RawDescriptor,
    ) -> Option<RawDescriptor> {
        let next = descriptor.is(DescriptorFlags::NEXT).then(|| descriptor.next());
        let refers = descriptor.is(DescriptorFlags::INDIRECT);
        if refers && matches!(self.place, Place::Ring | Place::Rest) {
            let table = Indirect::find(lookup, descriptor);
            self.place = match self.place {
                Place::Ring => Place::First(table, next),
                _ => Place::Later(table, next, 0),
            };
            return self.load(lookup, ring, Some(0));
        }
        let end = descriptor.len().checked_sub(1);
        if let Some(end) = end.filter(|_| descriptor.is(DescriptorFlags::WRITE) && !refers) {
            self.last = GuestAddress(descriptor.address).checked_add(end.into());
        }
        self.load(lookup, ring, next)
    }

    /// Entry `next` of the table that the search is in, or else the one that follows that table.
    fn load(&mut self, lookup: &mut Lookup<'_>, ring: &Table, next: Option<u16>) -> Option<RawDescriptor> {
        let (entry, rest) = match &mut self.place {
            Place::Ring | Place::Rest => (None, next),
            Place::First(table, rest) => {
                let entry = next.filter(|&index| self.seen.add(Seen::INDIRECT, index));
                (entry.and_then(|index| table.load(lookup, index).ok()), *rest)
            }
            Place::Later(table, rest, from) => {
                let entry = next.filter(|index| index >= from);
                *from = entry.map_or(*from, |index| index.saturating_add(1));
                (entry.and_then(|index| table.load(lookup, index).ok()), *rest)
            }
        };
        if entry.is_some() {
            return entry;
        }
        if !matches!(self.place, Place::Ring) {
            self.place = Place::Rest;
        }
        let index = rest.filter(|&index| self.seen.add(Seen::RING, index))?;
        RawDescriptor::load(ring, index)
    }
}

/// The entries that were looked at: a bit each.
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

    /// Adds an entry; false if it was there, or cannot be.
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
