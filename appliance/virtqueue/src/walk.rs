//! From a chain's first descriptor to its spans.
//!
//! Invariants
//! - Every descriptor is loaded once, into a [`RawDescriptor`].
//! - A walk ends after as many steps as the ring has entries (or 128 if those are fewer),
//!   direct and indirect ones together.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use luge_memory::{GuestAddress, GuestMemory, SharedArray, Span};
use luge_spec::virtio::split::{Descriptor, DescriptorFlags};
use zerocopy::FromBytes;

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
    /// Descriptor `index` of the ring's own table.
    #[inline]
    pub(crate) fn load(table: &SharedArray<u64>, index: u16) -> Option<Self> {
        use std::sync::atomic::Ordering::Relaxed;
        let word = u32::from(index).wrapping_mul(2);
        if word >= table.len() {
            return None;
        }
        // Relaxed: the load of `avail.idx` that announced the chain was the acquire.
        let address = table.load(word, Relaxed);
        let [a, b, c, d, e, f, g, h] = table.load(word.wrapping_add(1), Relaxed).to_ne_bytes();
        Some(Self {
            address: u64::from_le(address),
            len: u32::from_le_bytes([a, b, c, d]),
            flags: u16::from_le_bytes([e, f]),
            next: u16::from_le_bytes([g, h]),
        })
    }

    #[inline]
    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl From<Descriptor> for RawDescriptor {
    fn from(wire: Descriptor) -> Self {
        let (flags, next) = (wire.flags.0.get(), wire.next.get());
        Self { address: wire.address.get(), len: wire.len.get(), flags, next }
    }
}

/// Where the next descriptor of a chain comes from.
enum Table<'a> {
    /// The ring's own table.
    Ring(&'a SharedArray<u64>),
    /// An indirect table: where it is, its entries, and its memory if that is in one piece.
    Indirect { at: GuestAddress, entries: u32, whole: Option<Span> },
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
        let mut table = Table::Ring(ring);
        loop {
            if descriptor.is(DescriptorFlags::INDIRECT) {
                table = self.enter(&table, &descriptor)?;
                descriptor = self.load(&table, 0)?;
                continue;
            }
            self.steps = self.steps.checked_sub(1).ok_or(Fault::Steps)?;
            self.piece(&descriptor)?;
            if !descriptor.is(DescriptorFlags::NEXT) {
                return Ok(());
            }
            descriptor = self.load(&table, descriptor.next)?;
        }
    }

    /// The table that a descriptor refers to. Its write flag means nothing (clause 2.7.5.3.2).
    fn enter(&mut self, from: &Table<'_>, descriptor: &RawDescriptor) -> Result<Table<'static>, Fault> {
        let entry = size_of::<Descriptor>();
        let cut = descriptor.len == 0 || !(descriptor.len as usize).is_multiple_of(entry);
        if matches!(from, Table::Indirect { .. }) || descriptor.is(DescriptorFlags::NEXT) || cut {
            return Err(Fault::Table);
        }
        let at = GuestAddress(descriptor.address);
        // SAFETY: the span is used during this walk only, which borrows the memory.
        let whole = unsafe { self.memory.span(at, descriptor.len, self.hint) };
        let whole = whole.filter(|span| span.len() == descriptor.len);
        Ok(Table::Indirect { at, entries: descriptor.len / 16, whole })
    }

    #[inline]
    fn load(&mut self, table: &Table<'_>, index: u16) -> Result<RawDescriptor, Fault> {
        match table {
            Table::Ring(ring) => RawDescriptor::load(ring, index).ok_or(Fault::Index),
            Table::Indirect { entries, .. } if u32::from(index) >= *entries => Err(Fault::Index),
            Table::Indirect { at, whole, .. } => {
                let offset = u32::from(index).wrapping_mul(16);
                let mut bytes = [0; size_of::<Descriptor>()];
                match whole.and_then(|span| span.slice(offset, 16)) {
                    Some(span) => _ = span.read(&mut bytes),
                    None => self.gather(at.checked_add(offset.into()), &mut bytes).ok_or(Fault::Table)?,
                }
                Descriptor::read_from_bytes(&bytes).map(RawDescriptor::from).map_err(|_| Fault::Table)
            }
        }
    }

    /// Copies guest memory that lies across regions.
    fn gather(&mut self, at: Option<GuestAddress>, mut to: &mut [u8]) -> Option<()> {
        let mut at = at?;
        while !to.is_empty() {
            let len = u32::try_from(to.len()).ok()?;
            // SAFETY: the span is used at once.
            let span = unsafe { self.memory.span(at, len, self.hint) }?;
            let copied = span.read(to);
            to = to.get_mut(copied..)?;
            at = at.checked_add(copied as u64)?;
        }
        Some(())
    }

    /// Adds a descriptor's buffer.
    #[inline]
    fn piece(&mut self, descriptor: &RawDescriptor) -> Result<(), Stop> {
        if descriptor.is(DescriptorFlags::WRITE) {
            self.writable.get_or_insert(self.spans.len());
        } else if self.writable.is_some() {
            return Err(Fault::Order.into());
        }
        self.bytes = self.bytes.checked_add(descriptor.len).ok_or(Fault::Length)?;
        let (mut at, mut left) = (Some(GuestAddress(descriptor.address)), descriptor.len);
        while left > 0 {
            // SAFETY: whoever made the queue keeps its memory while spans are in use.
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
