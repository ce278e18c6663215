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
    let data = whole(lookup, &second).filter(|data| data.len() <= Plain::<HEADER, STATUS>::DATA_MAX)?;
    let third = RawDescriptor::load(&table, second.next())?;
    let status = fixed(lookup, &third, DescriptorFlags::WRITE)?;
    // In this order: drivers keep the two side by side, and a line that is asked for to be
    // written need not be asked for again.
    Span::from(status).prefetch_to_write();
    Span::from(header).prefetch();
    Some(Plain { header, data, status, direction })
}

impl<const HEADER: usize, const STATUS: usize> Plain<HEADER, STATUS> {
    /// Data that is longer would make a chain of more than 4 GiB.
    const DATA_MAX: u32 = u32::MAX - FixedSpan::<HEADER>::LEN - FixedSpan::<STATUS>::LEN;
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::RigMemory;
    use crate::walk::Walk;
    use luge_seeded::Random;
    use luge_spec::virtio::split::Descriptor;
    use zerocopy::IntoBytes;

    const ENTRIES: u32 = 32;

    /// Something else once in a while.
    fn mostly<T: Copy>(random: &mut Random, usual: T, others: &[T]) -> T {
        if random.once_in(8) { random.pick(others) } else { usual }
    }

    /// A descriptor of a header, of data or of a status, mostly.
    fn some_descriptor(random: &mut Random) -> Descriptor {
        let (start, len) = RigMemory::DATA;
        let (bytes, flags) = random.pick(&[(16, 1), (512, 1), (512, 3), (1, 2)]);
        let edges = [start - 1, start, start + len - 512, start + len - 511, start + len, u64::MAX];
        Descriptor {
            address: mostly(random, start + 64, &edges).into(),
            len: mostly(random, bytes, &[0, 1, 16, 17, 0x8_0000, u32::MAX]).into(),
            flags: DescriptorFlags(mostly(random, flags, &[0, 1, 2, 3, 4, 5, 0x8001]).into()),
            next: u16::try_from(random.below(ENTRIES + 1)).unwrap().into(),
        }
    }

    #[test]
    fn what_this_walk_accepts_the_general_one_accepts_with_the_same_result() {
        let memory = RigMemory::standard();
        let ring_at = GuestAddress(RigMemory::RINGS.0);
        // SAFETY: the memory lives as long as the ring and the spans.
        let ring = unsafe { memory.table.span(ring_at, ENTRIES * ENTRY_BYTES) }.and_then(Table::new).unwrap();
        let (mut random, mut accepted) = (Random::new(1), 0);
        for _ in 0..20_000 {
            for entry in 0..ENTRIES {
                let descriptor = some_descriptor(&mut random);
                memory.write(GuestAddress(ring_at.0 + u64::from(entry * ENTRY_BYTES)), descriptor.as_bytes());
            }
            let first = RawDescriptor::load(&ring, 0).unwrap();
            let mut lookup = memory.table.lookup();
            let Some(plain) = walk::<16, 1>(&mut lookup, &ring, first) else { continue };
            let mut spans = [Span::EMPTY; 8];
            let mut general = Walk {
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
            assert_eq!(general.extent(), plain.direction.extent());
            let place = |span: &Span| (span.host(), span.iova(), span.len());
            let pieces: [Span; 3] = [plain.header.into(), plain.data, plain.status.into()];
            assert_eq!(
                spans[..3].iter().map(place).collect::<Vec<_>>(),
                pieces.iter().map(place).collect::<Vec<_>>()
            );
            accepted += 1;
        }
        assert!(accepted > 100, "{accepted} chains were plain");
    }
}
