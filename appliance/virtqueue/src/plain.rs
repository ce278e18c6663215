//! The walk of the chains that most requests are: a header, a piece of data, and a status, in
//! descriptors of the ring or of one table of their own, each inside one region of memory.
//!
//! Path: guest ring -> **here** -> session.
//!
//! It gives up at anything else, whether that is a fault or just unusual, and [`crate::walk`]
//! starts over. What it accepts, the other walk accepts with the same result.
//!
//! Invariant: every descriptor that counts is loaded once, into a [`RawDescriptor`].

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::batch::{Direction, Plain};
use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use luge_memory::{FixedSpan, GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;
use std::hint::select_unpredictable;

/// Walks from `first` of the ring's table to the end of the chain.
///
/// The first piece and the last, where header and status are, are fetched ahead.
#[inline]
pub(crate) fn walk<const HEADER: usize, const STATUS: usize>(
    lookup: &mut Lookup<'_>,
    ring: &Table,
    mut first: RawDescriptor,
) -> Option<Plain<HEADER, STATUS>> {
    let mut table = *ring;
    if first.is(DescriptorFlags::INDIRECT) {
        table = indirect(lookup, &first)?;
        first = RawDescriptor::load(&table, 0)?;
    }
    let header = fixed(lookup, &first, DescriptorFlags::NEXT)?;
    let second = RawDescriptor::load(&table, first.next())?;
    let direction = Direction::of(second.flags())?;
    let data = whole(lookup, &second).filter(|data| data.len() <= LENGTH_MAX)?;
    let third = RawDescriptor::load(&table, second.next())?;
    let status = fixed(lookup, &third, DescriptorFlags::WRITE)?;
    // In this order: drivers keep the two side by side, and a line that is asked for to be
    // written need not be asked for again.
    status.prefetch_to_write();
    header.prefetch();
    Some(Plain { header, data, status, direction })
}

/// Data that is longer could make a chain of more than 4 GiB.
const LENGTH_MAX: u32 = u32::MAX / 2;

impl Direction {
    /// What is done with the data of a descriptor with these flags, if another one follows. Which of
    /// the two is not a branch: guests mix them, and it would be guessed wrong.
    #[inline]
    fn of(flags: u16) -> Option<Self> {
        let written = flags & DescriptorFlags::WRITE != 0;
        let follows = flags & !DescriptorFlags::WRITE == DescriptorFlags::NEXT;
        follows.then(|| select_unpredictable(written, Self::Written, Self::Read))
    }
}

/// The table that a descriptor refers to, if its words can be loaded as such.
#[inline]
fn indirect(lookup: &mut Lookup<'_>, reference: &RawDescriptor) -> Option<Table> {
    let proper = !reference.is(DescriptorFlags::NEXT) && reference.len().is_multiple_of(ENTRY_BYTES);
    Table::new(whole(lookup, reference).filter(|_| proper)?)
}

/// A descriptor's buffer, if that is in one region and not empty.
#[inline]
fn whole(lookup: &mut Lookup<'_>, descriptor: &RawDescriptor) -> Option<Span> {
    // SAFETY: whoever made the queue keeps its memory while spans are in use.
    unsafe { lookup.whole(GuestAddress(descriptor.address), descriptor.len()) }
}

/// The same if it has these flags and `N` bytes.
#[inline]
fn fixed<const N: usize>(
    lookup: &mut Lookup<'_>,
    descriptor: &RawDescriptor,
    flags: u16,
) -> Option<FixedSpan<N>> {
    if !descriptor.is_exactly(flags, FixedSpan::<N>::LEN) {
        return None;
    }
    // SAFETY: as in `whole`.
    unsafe { lookup.whole(GuestAddress(descriptor.address), FixedSpan::<N>::LEN) }?.fixed()
}
