//! From a chain's first descriptor to its spans.
//!
//! Invariants
//! - Every descriptor is loaded once, into a [`RawDescriptor`].
//! - A walk ends after as many steps as the ring has entries (or 128 if those are fewer),
//!   direct and indirect ones together.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use luge_memory::{GuestAddress, GuestMemory, SharedArray, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A buffer, or a part of one, is not in the guest's memory.
    Address,
    /// The device is to read a buffer that comes after one it is to write.
    Order,
    /// An index is past the end of its table.
    Index,
    /// There are more descriptors than a chain may have: a loop, most likely.
    Steps,
    /// An indirect table is empty, cut, not in the guest's memory, inside another one, or
    /// followed by more descriptors.
    Table,
    /// The buffers are longer than 4 GiB together.
    Length,
    /// The buffers lie across too many regions.
    Spans,
}

/// A copy of a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawDescriptor {
    pub(crate) address: u64,
    pub(crate) len: u32,
    flags: u16,
    pub(crate) next: u16,
}

impl RawDescriptor {
    /// Descriptor `index` of the ring's own table, of which every word is loaded once.
    #[inline]
    pub(crate) fn load(table: &SharedArray<u64>, index: u16) -> Option<Self> {
        use std::sync::atomic::Ordering::Relaxed;
        // Relaxed: the load of `avail.idx` that announced the chain was the acquire.
        let words = table.load_each(u32::from(index).wrapping_mul(2), Relaxed)?;
        Some(Self::of(words.map(u64::from_le)))
    }

    /// A descriptor from its two words (clause 2.7.5).
    #[inline]
    fn of([address, rest]: [u64; 2]) -> Self {
        let [a, b, c, d, e, f, g, h] = rest.to_le_bytes();
        Self {
            address,
            len: u32::from_le_bytes([a, b, c, d]),
            flags: u16::from_le_bytes([e, f]),
            next: u16::from_le_bytes([g, h]),
        }
    }

    #[inline]
    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// An indirect table: where it is, its entries, and its memory if that is in one piece.
struct Table {
    at: GuestAddress,
    entries: u32,
    whole: Option<Span>,
}

/// Why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The chain is at fault.
    Fault(Fault),
    /// The batch has no room for it.
    Full,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One walk along a chain.
pub(crate) struct Walk<'a> {
    pub(crate) memory: &'a GuestMemory,
    /// The region of the last successful look-up.
    pub(crate) hint: &'a mut usize,
    /// The chain's spans go to the end of this list, which does not grow.
    pub(crate) spans: &'a mut Vec<Span>,
    /// Index of the chain's first span.
    pub(crate) first: usize,
    /// Index of the first writable span, from the first writable descriptor on.
    pub(crate) writable: Option<usize>,
    pub(crate) steps: u16,
    pub(crate) bytes: u32,
    /// A buffer was not in the guest's memory; the walk went on.
    pub(crate) fault: Option<Fault>,
}

impl Walk<'_> {
    /// Walks from `descriptor` of the ring's table to the end of the chain.
    #[inline]
    pub(crate) fn run(&mut self, ring: &SharedArray<u64>, mut descriptor: RawDescriptor) -> Result<(), Stop> {
        while !descriptor.is(DescriptorFlags::INDIRECT) {
            self.piece(&descriptor)?;
            if !descriptor.is(DescriptorFlags::NEXT) {
                return Ok(());
            }
            descriptor = RawDescriptor::load(ring, descriptor.next).ok_or(Fault::Index)?;
        }
        self.run_table(&descriptor)
    }

    /// Walks the table that a descriptor refers to, which is the chain's last part.
    #[inline]
    fn run_table(&mut self, reference: &RawDescriptor) -> Result<(), Stop> {
        let table = self.table(reference)?;
        let mut descriptor = self.load(&table, 0)?;
        loop {
            if descriptor.is(DescriptorFlags::INDIRECT) {
                return Err(Fault::Table.into());
            }
            self.piece(&descriptor)?;
            if !descriptor.is(DescriptorFlags::NEXT) {
                return Ok(());
            }
            descriptor = self.load(&table, descriptor.next)?;
        }
    }

    /// The table that a descriptor refers to. Its write flag means nothing (clause 2.7.5.3.2).
    #[inline]
    fn table(&mut self, reference: &RawDescriptor) -> Result<Table, Fault> {
        let RawDescriptor { address, len, .. } = *reference;
        let cut = len == 0 || !len.is_multiple_of(16);
        if reference.is(DescriptorFlags::NEXT) || cut {
            return Err(Fault::Table);
        }
        let at = GuestAddress(address);
        // SAFETY: the span is used during this walk only, which borrows the memory.
        let whole = unsafe { self.memory.span(at, len, self.hint) }.filter(|span| span.len() == len);
        Ok(Table { at, entries: len / 16, whole })
    }

    /// An entry of an indirect table, of which every byte is loaded once.
    #[inline]
    fn load(&mut self, table: &Table, index: u16) -> Result<RawDescriptor, Fault> {
        if u32::from(index) >= table.entries {
            return Err(Fault::Index);
        }
        let offset = u32::from(index).wrapping_mul(16);
        let bytes = match table.whole {
            Some(whole) => whole.split_at(offset).1.first(),
            None => self.gather(table.at.checked_add(offset.into())),
        };
        let bytes: [u8; 16] = bytes.ok_or(Fault::Table)?;
        let word = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
        let words = word(0).zip(word(8)).ok_or(Fault::Table)?;
        Ok(RawDescriptor::of([u64::from_le_bytes(words.0), u64::from_le_bytes(words.1)]))
    }

    /// Copies guest memory that lies across regions.
    #[cold]
    fn gather<const N: usize>(&mut self, at: Option<GuestAddress>) -> Option<[u8; N]> {
        let (mut bytes, mut at) = ([0; N], at?);
        let mut to = bytes.as_mut_slice();
        while !to.is_empty() {
            let len = u32::try_from(to.len()).ok()?;
            // SAFETY: the span is used at once.
            let span = unsafe { self.memory.span(at, len, self.hint) }?;
            let copied = span.read(to);
            to = to.get_mut(copied..)?;
            at = at.checked_add(copied as u64)?;
        }
        Some(bytes)
    }

    /// Adds a descriptor's buffer.
    #[inline]
    fn piece(&mut self, descriptor: &RawDescriptor) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(1).ok_or(Fault::Steps)?;
        if descriptor.is(DescriptorFlags::WRITE) {
            self.writable.get_or_insert(self.spans.len());
        } else if self.writable.is_some() {
            return Err(Fault::Order.into());
        }
        self.bytes = self.bytes.checked_add(descriptor.len).ok_or(Fault::Length)?;
        // SAFETY: whoever made the queue keeps its memory while spans are in use.
        let span = unsafe { self.memory.span(GuestAddress(descriptor.address), descriptor.len, self.hint) };
        match span.filter(|span| span.len() == descriptor.len && !span.is_empty()) {
            Some(whole) => self.push(whole),
            None => self.pieces(descriptor),
        }
    }

    /// Adds a buffer that lies across regions, is not all in the guest's memory, or is empty.
    #[cold]
    fn pieces(&mut self, descriptor: &RawDescriptor) -> Result<(), Stop> {
        let (mut at, mut left) = (Some(GuestAddress(descriptor.address)), descriptor.len);
        while left > 0 {
            // SAFETY: as in `piece`.
            let span = at.and_then(|at| unsafe { self.memory.span(at, left, self.hint) });
            let Some(span) = span else {
                self.lose();
                return Ok(());
            };
            self.push(span)?;
            left = left.saturating_sub(span.len());
            at = at.and_then(|at| at.checked_add(span.len().into()));
        }
        Ok(())
    }

    #[inline]
    fn push(&mut self, span: Span) -> Result<(), Stop> {
        if self.spans.len() < self.spans.capacity() {
            self.spans.push(span);
            return Ok(());
        }
        // Alone in the batch, and still too long: it will never fit.
        Err(if self.first == 0 { Fault::Spans.into() } else { Stop::Full })
    }

    /// A buffer is not there. What came before is of no use either: the end of the chain
    /// may still hold a status byte, and must not be confused with what was before.
    fn lose(&mut self) {
        self.fault = Some(Fault::Address);
        self.spans.truncate(self.first);
        self.writable = self.writable.map(|_| self.first);
    }
}
