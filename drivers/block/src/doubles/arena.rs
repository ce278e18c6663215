//! Memory that requests point into, with a copy of what must be in it: a device that writes
//! where it was not asked to, or after it said that it was done, changes one and not the other.

#![expect(unsafe_code, reason = "spans of the arena's memory are addresses")]

use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_seeded::Random;
use std::sync::Arc;

/// Gaps between two pieces of one request's memory are shorter than this, in bytes.
const GAP_BYTES: u32 = 64;

/// The most pieces that the memory of a request is cut into.
pub(super) const PIECES_MAX: u16 = 24;

/// Memory of one request: pieces of the arena, in the request's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pieces: Vec<(u32, u32)>,
}

/// The memory of all requests. Each has an area of its own.
pub(super) struct Arena {
    memory: DmaMemory,
    expected: Vec<u8>,
    area_bytes: u32,
}

impl Arena {
    /// Areas with room for a request of `request_bytes` each; all of them together have room for
    /// one of `largest_bytes`.
    pub fn new(
        space: &Arc<DmaSpace>,
        areas: u16,
        request_bytes: u32,
        largest_bytes: u32,
        random: &mut Random,
    ) -> Self {
        let with_gaps = |bytes: u32| bytes + (u32::from(PIECES_MAX) + 1) * GAP_BYTES;
        let area_bytes = with_gaps(request_bytes).next_multiple_of(4096);
        let len = (u64::from(area_bytes) * u64::from(areas)).max(u64::from(with_gaps(largest_bytes)));
        let memory = DmaMemory::allocate(space, len, PageSize::Base, None);
        let memory = memory.unwrap_or_else(|error| panic!("no memory for requests: {error}"));
        let expected = random.bytes(usize::try_from(memory.len()).unwrap_or(0));
        let arena = Self { memory, expected, area_bytes };
        arena.whole().write(&arena.expected);
        arena
    }

    /// A layout in an area for `len` bytes in at most `pieces_max` pieces, by chance.
    pub fn layout(&self, area: u16, len: u32, pieces_max: u16, random: &mut Random) -> Layout {
        let lens = cut(len, pieces_max.min(PIECES_MAX), random);
        let mut order: Vec<usize> = (0..lens.len()).collect();
        random.shuffle(&mut order);
        let mut pieces = vec![(0, 0); lens.len()];
        // Without gaps, whole sectors stay aligned enough for direct I/O.
        let gap_bytes = if random.once_in(2) { 0 } else { GAP_BYTES - 1 };
        let mut at = u32::from(area) * self.area_bytes;
        for index in order {
            at += random.between(0, gap_bytes);
            pieces[index] = (at, lens[index]);
            at += lens[index];
        }
        Layout { pieces }
    }

    pub fn spans(&self, layout: &Layout) -> Vec<Span> {
        layout.pieces.iter().map(|&(at, len)| self.span(at, len)).collect()
    }

    /// Bytes that are there now.
    pub fn read(&self, layout: &Layout) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(at, len) in &layout.pieces {
            let mut piece = vec![0; len as usize];
            self.span(at, len).read(&mut piece);
            bytes.append(&mut piece);
        }
        bytes
    }

    /// Puts bytes there: nobody may be using them.
    pub fn write(&mut self, layout: &Layout, mut bytes: &[u8]) {
        for &(at, len) in &layout.pieces {
            let (piece, rest) = bytes.split_at(len as usize);
            self.span(at, len).write(piece);
            self.expected[at as usize..][..piece.len()].copy_from_slice(piece);
            bytes = rest;
        }
    }

    /// Puts bytes there that nothing can expect.
    pub fn scribble(&mut self, layout: &Layout, random: &mut Random) {
        let len = layout.pieces.iter().map(|&(_, len)| len as usize).sum();
        self.write(layout, &random.bytes(len));
    }

    /// Whether nobody but us has written anywhere, but for what `scribble` has covered since.
    pub fn is_as_expected(&self) -> bool {
        let mut now = vec![0; self.expected.len()];
        self.whole().read(&mut now);
        now == self.expected
    }

    fn whole(&self) -> Span {
        self.span(0, u32::try_from(self.expected.len()).unwrap_or(u32::MAX))
    }

    fn span(&self, at: u32, len: u32) -> Span {
        // SAFETY: the checker keeps the arena until the channels, which it drops first, are done.
        let span = unsafe { self.memory.span(u64::from(at), len) };
        span.unwrap_or_else(|| panic!("{len} bytes at {at} are not in the arena"))
    }
}

/// Cuts `len` bytes into pieces, none empty: one, single bytes first, halves, or anything.
fn cut(len: u32, pieces_max: u16, random: &mut Random) -> Vec<u32> {
    let pieces = random.between(1, u32::from(pieces_max.max(1))).min(len.max(1));
    let style = random.below(4_u32);
    let (mut lens, mut left) = (Vec::new(), len);
    while left > 0 {
        let after = pieces.saturating_sub(u32::try_from(lens.len()).unwrap_or(u32::MAX)).saturating_sub(1);
        let most = left - after;
        let piece = match style {
            _ if after == 0 => left,
            0 => 1,
            1 => (most / 2).clamp(1, most),
            2 => (random.between(0, most) & !511).clamp(1, most),
            _ => random.between(1, most),
        };
        lens.push(piece);
        left -= piece;
    }
    lens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_in_their_area_apart_from_each_other_and_as_long_as_asked() {
        let mut random = Random::new(7);
        let arena = Arena::new(&DmaSpace::new(), 4, 8192, 0, &mut random);
        for len in [1, 2, 512, 8192] {
            for _ in 0..200 {
                let mut pieces = arena.layout(2, len, 100, &mut random).pieces;
                assert!(pieces.len() <= usize::from(PIECES_MAX));
                assert_eq!(pieces.iter().map(|piece| piece.1).sum::<u32>(), len);
                pieces.sort_unstable();
                assert!(pieces.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
                let area = 2 * arena.area_bytes..=3 * arena.area_bytes;
                assert!(
                    pieces
                        .iter()
                        .all(|&(at, len)| len > 0 && area.contains(&at) && area.contains(&(at + len)))
                );
            }
        }
    }

    #[test]
    fn a_byte_changed_behind_our_back_is_noticed() {
        let mut random = Random::new(7);
        let mut arena = Arena::new(&DmaSpace::new(), 1, 512, 0, &mut random);
        let layout = arena.layout(0, 512, 3, &mut random);
        assert!(arena.is_as_expected());
        arena.spans(&layout)[0].slice(0, 1).unwrap().fill(arena.read(&layout)[0].wrapping_add(1));
        assert!(!arena.is_as_expected());
        arena.scribble(&layout, &mut random);
        assert!(arena.is_as_expected());
    }
}
