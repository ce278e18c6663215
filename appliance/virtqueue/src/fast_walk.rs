//! The fast walk: for single-segment requests, whose header, data and response are one descriptor each, in
//! the ring or in one indirect table, and each inside one region of memory.
//!
//! Path: guest ring -> **here** -> session.
//!
//! At any other chain, faulty or unusual, the fast walk gives up and [`crate::general_walk`] starts over.
//! Chains that the fast walk accepts, the general walk accepts with the same result.
//!
//! Invariant: every descriptor that counts is loaded once, into a [`RawDescriptor`].

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::batch::SingleSegment;
use crate::chain::Direction;
use crate::chain_layout::{ChainLayout, FixedPiece, ResponsePlace};
use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use luge_memory::{GuestAddress, Lookup, Near, Span};
use luge_spec::virtio::split::DescriptorFlags;
use std::hint::select_unpredictable;

/// Walks from `first` of the ring's table to the end of the chain, and prefetches header and response; none
/// if the chain is no single-segment request.
///
/// The walk is compiled twice, so that neither table's place has to be kept where it is not known.
#[inline]
pub(crate) fn walk_fast<L: ChainLayout>(
    lookup: &mut Lookup<'_>,
    ring: &Table,
    first: RawDescriptor,
) -> Option<SingleSegment<L>> {
    if first.is(DescriptorFlags::INDIRECT) {
        let table = indirect(lookup, &first)?;
        walk_in(lookup, &table, RawDescriptor::load(&table, 0)?)
    } else {
        walk_in(lookup, ring, first)
    }
}

/// Walks from `first` to the end of the chain in a table.
#[inline(always)]
fn walk_in<L: ChainLayout>(
    lookup: &mut Lookup<'_>,
    table: &Table,
    first: RawDescriptor,
) -> Option<SingleSegment<L>> {
    if !first.is_exactly(DescriptorFlags::NEXT, L::Header::LEN) {
        return None;
    }
    // Drivers keep header and response side by side.
    let near = lookup.near(GuestAddress(first.address));
    let header: L::Header = fixed(lookup, near, &first)?;
    let second = RawDescriptor::load(table, first.next())?;
    let direction = Direction::of(&second)?;
    let third = RawDescriptor::load(table, second.next())?;
    let [data, response] = match L::RESPONSE {
        ResponsePlace::Last => data_first::<L>(second, third),
        ResponsePlace::First => response_first::<L>(second, third, direction),
    }?;
    let data = whole(lookup, &data)?;
    let response: L::Response = fixed(lookup, near, &response)?;
    // In this order: a line that is asked for to be written need not be asked for again.
    response.into().prefetch_to_write();
    header.into().prefetch();
    Some(SingleSegment { header, data, response, direction })
}

/// Tells data and response of the second and third descriptor, where the data is before the response.
#[inline]
fn data_first<L: ChainLayout>(second: RawDescriptor, third: RawDescriptor) -> Option<[RawDescriptor; 2]> {
    third.is_exactly(DescriptorFlags::WRITE, L::Response::LEN).then_some([second, third])
}

/// Tells data and response of the second and third descriptor, where the response is before data that the
/// device writes. Which of the two is the data is not a branch, as in [`Direction::of`].
#[inline]
fn response_first<L: ChainLayout>(
    second: RawDescriptor,
    third: RawDescriptor,
    direction: Direction,
) -> Option<[RawDescriptor; 2]> {
    // Data or response: the device writes it, and it is the last.
    if !third.has_flags(ALL_FLAGS, DescriptorFlags::WRITE) {
        return None;
    }
    let written = direction == Direction::Written;
    let data = select_unpredictable(written, third, second);
    let response = select_unpredictable(written, second, third);
    (response.len() == L::Response::LEN).then_some([data, response])
}

/// All flags of a descriptor.
const ALL_FLAGS: u16 = u16::MAX;

impl Direction {
    /// Direction of the data of a chain with this second descriptor; none if no other descriptor follows. Not a
    /// branch: guests mix both directions, so that it would be mispredicted.
    #[inline]
    fn of(second: &RawDescriptor) -> Option<Self> {
        let written = second.is(DescriptorFlags::WRITE);
        let follows = second.has_flags(!DescriptorFlags::WRITE, DescriptorFlags::NEXT);
        follows.then(|| select_unpredictable(written, Self::Written, Self::Read))
    }
}

/// Finds the table that a descriptor refers to; none if its words cannot be loaded in place.
#[inline]
fn indirect(lookup: &mut Lookup<'_>, reference: &RawDescriptor) -> Option<Table> {
    let proper = !reference.is(DescriptorFlags::NEXT) && reference.len().is_multiple_of(ENTRY_BYTES);
    Table::new(whole(lookup, reference).filter(|_| proper)?)
}

/// Buffer of a descriptor; none if it is empty or not in one region.
#[inline]
fn whole(lookup: &mut Lookup<'_>, descriptor: &RawDescriptor) -> Option<Span> {
    // SAFETY: whoever made the queue keeps its memory while spans are in use.
    unsafe { lookup.whole(GuestAddress(descriptor.address), descriptor.len()) }
}

/// Buffer of a descriptor whose length is that of `P`; none if it is not in one region.
#[inline]
fn fixed<'a, P: FixedPiece>(
    lookup: &mut Lookup<'a>,
    near: Near<'a>,
    descriptor: &RawDescriptor,
) -> Option<P> {
    // SAFETY: as in `whole`.
    P::of(&unsafe { lookup.short_near(near, GuestAddress(descriptor.address), P::LEN) }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain_layout::{ResponseFirst, ResponseLast};
    use crate::general_walk::GeneralWalk;
    use crate::rig::RigMemory;
    use luge_seeded::Random;
    use luge_spec::virtio::split::Descriptor;
    use std::collections::HashMap;
    use zerocopy::IntoBytes;

    const ENTRIES: u32 = 32;

    /// Picks `usual` most of the time, and one of the others now and then.
    fn mostly<T: Copy>(random: &mut Random, usual: T, others: &[T]) -> T {
        if random.once_in(8) { random.pick(others) } else { usual }
    }

    /// Makes a descriptor, mostly of a header, of data or of a response of `response_bytes` bytes.
    fn some_descriptor(random: &mut Random, response_bytes: u32) -> Descriptor {
        let (start, len) = RigMemory::DATA;
        let response = [(response_bytes, 2), (response_bytes, 3)];
        let (bytes, flags) = random.pick(&[(16, 1), (512, 1), (512, 3), (512, 2), response[0], response[1]]);
        let edges = [start - 1, start, start + len - 512, start + len - 511, start + len, u64::MAX];
        Descriptor {
            address: mostly(random, start + 64, &edges).into(),
            len: mostly(random, bytes, &[0, 1, 16, 17, 0x8_0000, u32::MAX]).into(),
            flags: DescriptorFlags(mostly(random, flags, &[0, 1, 2, 3, 4, 5, 0x8001]).into()),
            next: u16::try_from(random.below(ENTRIES + 1)).unwrap().into(),
        }
    }

    #[test]
    fn chains_that_the_fast_walk_accepts_the_general_walk_accepts_with_the_same_result() {
        compare_walks::<ResponseLast<16, 1>>();
        compare_walks::<ResponseFirst<16, 108>>();
    }

    fn compare_walks<L: ChainLayout>() {
        let memory = RigMemory::standard();
        let ring_at = GuestAddress(RigMemory::RINGS.0);
        // SAFETY: the memory lives as long as the ring and the spans.
        let ring = unsafe { memory.table.span(ring_at, ENTRIES * ENTRY_BYTES) }.and_then(Table::new).unwrap();
        let (mut random, mut accepted) = (Random::new(1), HashMap::new());
        for _ in 0..20_000 {
            for entry in 0..ENTRIES {
                let descriptor = some_descriptor(&mut random, L::Response::LEN);
                memory.write(GuestAddress(ring_at.0 + u64::from(entry * ENTRY_BYTES)), descriptor.as_bytes());
            }
            let first = RawDescriptor::load(&ring, 0).unwrap();
            let mut lookup = memory.table.lookup();
            let Some(request) = walk_fast::<L>(&mut lookup, &ring, first) else { continue };
            let mut spans = [Span::EMPTY; 8];
            let mut general = GeneralWalk {
                lookup: &mut lookup,
                spans: &mut spans,
                first: 0,
                end: 0,
                writable: None,
                steps: 128,
                extra: 8,
                bytes: 0,
                longest: ENTRIES,
            };
            general.run(&ring, first).unwrap();
            assert_eq!(general.extent(), request.extent());
            let pieces = request.spans();
            let hosts = |spans: &[Span]| spans.iter().map(Span::host).collect::<Vec<_>>();
            assert_eq!(hosts(&spans[..3]), hosts(&pieces));
            let lengths = |spans: &[Span]| spans.iter().map(Span::len).collect::<Vec<_>>();
            assert_eq!(lengths(&spans[..3]), lengths(&pieces));
            let data = spans.iter().find(|span| span.host() == request.data.host());
            assert_eq!(data.map(Span::iova), Some(request.data.iova()));
            *accepted.entry(request.direction).or_insert(0) += 1;
        }
        for direction in [Direction::Read, Direction::Written] {
            let count = accepted.get(&direction).copied().unwrap_or(0);
            assert!(count > 50, "{count} chains with data that is {direction:?}");
        }
    }
}
