//! The walk of the chains that drivers make: descriptors of the ring, or of one table of their
//! own, and every buffer inside one region of memory.
//!
//! Path: guest ring -> **here** -> session.
//!
//! It gives up at anything else, whether that is a fault or just unusual, and [`crate::walk`]
//! starts over. What it accepts, the other walk accepts with the same result.
//!
//! Invariant: every descriptor that counts is loaded once, into a [`RawDescriptor`].

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use luge_memory::{GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// A chain's spans in the list: `first..writable` and `writable..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: usize,
    pub(crate) writable: usize,
    pub(crate) end: usize,
}

/// Walks from `descriptor` of the ring's table to the end of the chain, whose spans go into
/// `spans` from `first` on.
///
/// Its first and last pieces, where header and status byte are, are fetched ahead. A loop ends
/// where the list does, so the list's length bounds the steps.
#[inline]
pub(crate) fn walk(
    lookup: &mut Lookup<'_>,
    ring: &Table,
    mut descriptor: RawDescriptor,
    (spans, first): (&mut [Span], usize),
) -> Option<Extent> {
    let mut table = *ring;
    if descriptor.is(DescriptorFlags::INDIRECT) {
        table = indirect(lookup, &descriptor)?;
        descriptor = RawDescriptor::load(&table, 0)?;
    }
    let (mut end, mut writable, mut bytes) = (first, usize::MAX, 0_u64);
    let last = loop {
        if descriptor.is(DescriptorFlags::INDIRECT) {
            return None;
        }
        let span = whole(lookup, &descriptor)?;
        *spans.get_mut(end)? = span;
        if end == first {
            span.prefetch();
        }
        bytes = bytes.wrapping_add(descriptor.len.into());
        if descriptor.is(DescriptorFlags::WRITE) {
            writable = writable.min(end);
        } else if writable != usize::MAX {
            return None;
        }
        end = end.wrapping_add(1);
        if !descriptor.is(DescriptorFlags::NEXT) {
            break span;
        }
        descriptor = RawDescriptor::load(&table, descriptor.next)?;
    };
    last.prefetch_to_write(1);
    // There are not so many spans that their sum could wrap.
    let short = bytes <= u32::MAX.into();
    short.then_some(Extent { first, writable: writable.min(end), end })
}

/// The table that a descriptor refers to, if its words can be loaded as such.
#[inline]
fn indirect(lookup: &mut Lookup<'_>, reference: &RawDescriptor) -> Option<Table> {
    let proper = !reference.is(DescriptorFlags::NEXT) && reference.len.is_multiple_of(ENTRY_BYTES);
    whole(lookup, reference).filter(|_| proper).and_then(Table::new)
}

/// A descriptor's buffer, if it is in one region and not empty.
#[inline]
fn whole(lookup: &mut Lookup<'_>, descriptor: &RawDescriptor) -> Option<Span> {
    // SAFETY: whoever made the queue keeps its memory while spans are in use.
    unsafe { lookup.whole(GuestAddress(descriptor.address), descriptor.len) }
}
