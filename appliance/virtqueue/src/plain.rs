//! The walk of the chains that most requests are: a piece to read, one of data, and a piece to
//! write, in descriptors of the ring or of one table of their own, each inside one region of
//! memory.
//!
//! Path: guest ring -> **here** -> session.
//!
//! It gives up at anything else, whether that is a fault or just unusual, and [`crate::walk`]
//! starts over. What it accepts, the other walk accepts with the same result.
//!
//! Invariant: every descriptor that counts is loaded once, into a [`RawDescriptor`].

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::batch::Direction;
use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use luge_memory::{GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// Walks from `first` of the ring's table to the end of the chain, whose pieces go into `pieces`.
///
/// The first and the last, where header and status byte are, are fetched ahead.
#[inline]
pub(crate) fn walk(
    lookup: &mut Lookup<'_>,
    ring: &Table,
    mut first: RawDescriptor,
    [header, data, status]: &mut [Span; 3],
) -> Option<Direction> {
    let mut table = *ring;
    if first.is(DescriptorFlags::INDIRECT) {
        table = indirect(lookup, &first)?;
        first = RawDescriptor::load(&table, 0)?;
    }
    let second = RawDescriptor::load(&table, first.next())?;
    let third = RawDescriptor::load(&table, second.next())?;
    let direction = match second.flags() {
        DescriptorFlags::NEXT => Direction::Read,
        TO_WRITE => Direction::Written,
        _ => return None,
    };
    if first.flags() != DescriptorFlags::NEXT || third.flags() != DescriptorFlags::WRITE {
        return None;
    }
    first.len().checked_add(second.len())?.checked_add(third.len())?;
    whole(lookup, &first, header)?;
    whole(lookup, &second, data)?;
    whole(lookup, &third, status)?;
    // In this order: drivers keep the two side by side, and a line that is asked for to be
    // written need not be asked for again.
    status.prefetch_to_write();
    header.prefetch();
    Some(direction)
}

/// The flags of data that the device writes.
const TO_WRITE: u16 = DescriptorFlags::NEXT | DescriptorFlags::WRITE;

/// The table that a descriptor refers to, if its words can be loaded as such.
#[inline]
fn indirect(lookup: &mut Lookup<'_>, reference: &RawDescriptor) -> Option<Table> {
    let proper = !reference.is(DescriptorFlags::NEXT) && reference.len().is_multiple_of(ENTRY_BYTES);
    let mut table = Span::EMPTY;
    whole(lookup, reference, &mut table).filter(|()| proper)?;
    Table::new(table)
}

/// Sets `to` to a descriptor's buffer, if that is in one region and not empty.
#[inline]
fn whole(lookup: &mut Lookup<'_>, descriptor: &RawDescriptor, to: &mut Span) -> Option<()> {
    // SAFETY: whoever made the queue keeps its memory while spans are in use.
    unsafe { lookup.whole(GuestAddress(descriptor.address), descriptor.len(), to) }
}
