//! The general walk: from the first descriptor of any chain to its spans or its fault.
//!
//! Walks the chains at which [`crate::fast_walk`] has given up. Of a chain at fault, [`crate::ending`] then
//! searches the place where the driver expects the response.
//!
//! Invariants
//! - Every descriptor is loaded once, into a [`RawDescriptor`].
//! - A walk ends after at most [`crate::batch::STEPS_MAX`] steps, direct and indirect ones together. A
//!   chain that may have more is for [`crate::long`].

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::chain::{Extent, Fault};
use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use crate::indirect::Indirect;
use luge_memory::{GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// Reason why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The chain is at fault.
    Fault(Fault),
    /// The batch has no room for the chain.
    Full,
    /// The chain is longer than a take walks; the number is the most descriptors that it can have.
    Long(u32),
}

impl Stop {
    /// The fault of a chain that has the list for itself.
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Full | Self::Long(_) => Fault::Spans,
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The general walk along one chain.
pub(crate) struct GeneralWalk<'a, 'memory> {
    /// Cached lookup of guest addresses.
    pub(crate) lookup: &'a mut Lookup<'memory>,
    /// The chain's spans go into this list, from `first` on.
    pub(crate) spans: &'a mut [Span],
    pub(crate) first: usize,
    /// End of the spans that are in use.
    pub(crate) end: usize,
    /// Index of the first writable span, from the first writable descriptor on.
    pub(crate) writable: Option<usize>,
    /// Descriptors that the chain may still have.
    pub(crate) steps: u16,
    /// Pieces left that buffers may have beyond one for each descriptor.
    pub(crate) extra: usize,
    /// Bytes of all buffers so far.
    pub(crate) bytes: u64,
    /// Descriptors of the longest chain that does not use one twice: those of the ring, and of the table.
    pub(crate) longest: u32,
}

impl GeneralWalk<'_, '_> {
    /// Walks from `descriptor` of the ring's table to the end of the chain.
    #[inline]
    pub(crate) fn run(&mut self, ring: &Table, mut descriptor: RawDescriptor) -> Result<(), Stop> {
        while !descriptor.is(DescriptorFlags::INDIRECT) {
            self.piece(&descriptor)?;
            if !descriptor.is(DescriptorFlags::NEXT) {
                return self.check_length();
            }
            descriptor = RawDescriptor::load(ring, descriptor.next()).ok_or(Fault::Index)?;
        }
        self.run_table(&descriptor)
    }

    /// Walks the table that a descriptor refers to, which is the chain's last part.
    fn run_table(&mut self, reference: &RawDescriptor) -> Result<(), Stop> {
        let cut = reference.len() == 0 || !reference.len().is_multiple_of(ENTRY_BYTES);
        if reference.is(DescriptorFlags::NEXT) || cut {
            return Err(Fault::Table.into());
        }
        self.longest = self.longest.saturating_add(reference.len() / ENTRY_BYTES);
        let table = Indirect::find(self.lookup, reference);
        let mut descriptor = table.load(self.lookup, 0)?;
        loop {
            if descriptor.is(DescriptorFlags::INDIRECT) {
                return Err(Fault::Table.into());
            }
            self.piece(&descriptor)?;
            if !descriptor.is(DescriptorFlags::NEXT) {
                return self.check_length();
            }
            descriptor = table.load(self.lookup, descriptor.next())?;
        }
    }

    /// Checks that the buffers have at most 4 GiB together.
    pub(crate) fn check_length(&self) -> Result<(), Stop> {
        if self.bytes > u32::MAX.into() { Err(Fault::Length.into()) } else { Ok(()) }
    }

    /// Extent of the chain's spans so far.
    #[inline]
    pub(crate) fn extent(&self) -> Extent {
        Extent { first: self.first, writable: self.writable.unwrap_or(self.end), end: self.end }
    }

    /// Adds a descriptor's buffer.
    #[inline(always)]
    pub(crate) fn piece(&mut self, descriptor: &RawDescriptor) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(1).ok_or(Fault::Steps)?;
        if descriptor.is(DescriptorFlags::WRITE) {
            self.writable.get_or_insert(self.end);
        } else if self.writable.is_some() {
            return Err(Fault::Order.into());
        }
        // So many pieces of less than 4 GiB: it cannot wrap.
        self.bytes = self.bytes.wrapping_add(descriptor.len().into());
        // In one region, as nearly all are.
        let at = GuestAddress(descriptor.address);
        if let Some(place) = self.spans.get_mut(self.end)
            // SAFETY: whoever made the queue keeps its memory while spans are in use.
            && let Some(span) = unsafe { self.lookup.whole(at, descriptor.len()) }
        {
            *place = span;
            self.end = self.end.wrapping_add(1);
            return Ok(());
        }
        self.push_all(at, descriptor.len())
    }

    /// Adds a buffer that is empty, lies across regions, is not there, or finds no place.
    #[cold]
    fn push_all(&mut self, at: GuestAddress, mut left: u32) -> Result<(), Stop> {
        let mut at = Some(at);
        while left > 0 {
            // SAFETY: as in `piece`.
            let span = at.and_then(|at| unsafe { self.lookup.span(at, left) });
            let span = span.ok_or(Fault::Address)?;
            self.extra = self.extra.checked_sub(1).ok_or(Fault::Spans)?;
            self.push(span)?;
            left = left.saturating_sub(span.len());
            at = at.and_then(|at| at.checked_add(span.len().into()));
        }
        Ok(())
    }

    fn push(&mut self, span: Span) -> Result<(), Stop> {
        if let Some(place) = self.spans.get_mut(self.end) {
            *place = span;
            self.end = self.end.wrapping_add(1);
            return Ok(());
        }
        // Alone in the batch, and still too long: it will never fit.
        Err(if self.first == 0 { Fault::Spans.into() } else { Stop::Full })
    }
}
