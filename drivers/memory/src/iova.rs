//! Allocator of I/O virtual addresses.
//!
//! An IOMMU accepts some ranges only (its address width, less what the platform reserves),
//! and another one other ranges; an allocation lies in all of them.

use crate::Iova;
use std::collections::BTreeMap;

/// A range of addresses, both ends included, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    /// First address.
    pub first: u64,
    /// Last address.
    pub last: u64,
}

/// Addresses before any IOMMU is known: above the 4 GiB where interrupts are delivered. The kernel tells how
/// wide those of an IOMMU are; the lowest that are free are taken, which suits a narrow one that comes late.
const DEFAULT_USABLE: IovaRange = IovaRange { first: 1 << 32, last: (1 << 62) - 1 };

/// Addresses that are `phase` past a multiple of `align`, in bytes.
#[derive(Clone, Copy, Debug)]
struct Alignment {
    align: u64,
    phase: u64,
}

/// First-fit allocator of address ranges.
#[derive(Debug)]
pub struct IovaAllocator {
    usable: Vec<IovaRange>,
    taken: BTreeMap<u64, u64>,
}

impl Default for IovaAllocator {
    fn default() -> Self {
        Self { usable: vec![DEFAULT_USABLE], taken: BTreeMap::new() }
    }
}

impl IovaAllocator {
    /// Narrows future allocations to `ranges` as well.
    ///
    /// # Errors
    /// The first existing allocation outside of `ranges`; nothing changes then.
    pub fn restrict(&mut self, ranges: &[IovaRange]) -> Result<(), Iova> {
        let inside = |first: u64, last: u64| ranges.iter().any(|r| r.first <= first && last <= r.last);
        if let Some((&first, _)) = self.taken.iter().find(|&(&first, &last)| !inside(first, last)) {
            return Err(Iova(first));
        }
        let both = |a: &IovaRange, b: &IovaRange| {
            let range = IovaRange { first: a.first.max(b.first), last: a.last.min(b.last) };
            (range.first <= range.last).then_some(range)
        };
        self.usable =
            self.usable.iter().flat_map(|a| ranges.iter().filter_map(move |b| both(a, b))).collect();
        Ok(())
    }

    /// `len` bytes at a multiple of `align` (a power of two) plus `phase`, so that a
    /// buffer and its address agree in their low bits and huge pages stay huge.
    pub fn allocate(&mut self, len: u64, align: u64, phase: u64) -> Option<Iova> {
        let size_less_one = len.checked_sub(1)?;
        let alignment = Alignment { align, phase: phase % align };
        let first = self.usable.iter().find_map(|range| self.fit(*range, size_less_one, alignment))?;
        self.taken.insert(first, first + size_less_one);
        Some(Iova(first))
    }

    /// Number of usable addresses that are not allocated.
    pub fn free(&self) -> u64 {
        let size = |first: u64, last: u64| last.wrapping_sub(first).saturating_add(1);
        let usable = self.usable.iter().map(|range| size(range.first, range.last));
        let taken = self.taken.iter().map(|(&first, &last)| size(first, last));
        let usable = usable.fold(0, u64::saturating_add);
        usable.saturating_sub(taken.fold(0, u64::saturating_add))
    }

    /// Frees an allocation.
    pub fn release(&mut self, iova: Iova) {
        self.taken.remove(&iova.0);
    }

    fn fit(&self, range: IovaRange, size_less_one: u64, alignment: Alignment) -> Option<u64> {
        let mut first = alignment.next(range.first)?;
        for (&taken, &last) in self.taken.range(..=range.last).filter(|&(_, &last)| last >= range.first) {
            if first.checked_add(size_less_one)? < taken {
                break;
            }
            first = first.max(alignment.next(last.checked_add(1)?)?);
        }
        (first.checked_add(size_less_one)? <= range.last).then_some(first)
    }
}

impl Alignment {
    /// The least address from `at` on that has this alignment.
    fn next(self, at: u64) -> Option<u64> {
        let past = at.wrapping_sub(self.phase) % self.align;
        if past == 0 { Some(at) } else { at.checked_add(self.align - past) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_seeded::Random;

    #[test]
    fn allocations_do_not_overlap_and_holes_are_used_again() {
        let mut allocator = IovaAllocator::default();
        let a = allocator.allocate(0x3000, 0x1000, 0).unwrap();
        let b = allocator.allocate(0x1000, 0x1000, 0).unwrap();
        assert_eq!(b.0, a.0 + 0x3000);
        allocator.release(a);
        assert_eq!(allocator.allocate(0x2000, 0x1000, 0), Some(a));
        assert_eq!(allocator.allocate(0x2000, 0x1000, 0), Some(Iova(b.0 + 0x1000)));
    }

    #[test]
    fn a_restriction_holds_from_then_on() {
        let mut allocator = IovaAllocator::default();
        let range = IovaRange { first: 0x2_0000_0000, last: 0x2_0000_1fff };
        allocator.restrict(&[range]).unwrap();
        assert_eq!(allocator.allocate(0x1000, 0x1000, 0), Some(Iova(0x2_0000_0000)));
        assert_eq!(allocator.allocate(0x2000, 0x1000, 0), None);
        assert_eq!(allocator.allocate(0x1000, 0x1000, 0), Some(Iova(0x2_0000_1000)));
    }

    #[test]
    fn a_restriction_that_cuts_off_an_allocation_is_refused() {
        let mut allocator = IovaAllocator::default();
        let taken = allocator.allocate(0x1000, 0x1000, 0).unwrap();
        let elsewhere = IovaRange { first: 0, last: 0xfff };
        assert_eq!(allocator.restrict(&[elsewhere]), Err(taken));
        assert!(allocator.allocate(0x1000, 0x1000, 0).is_some());
    }

    #[test]
    fn allocations_of_any_size_and_phase_do_not_overlap() {
        for seed in 0..200u64 {
            let mut allocator = IovaAllocator::default();
            let mut random = Random::new(seed);
            for _ in 0..60 {
                let (len, phase) = (random.below(16) * 0x8_0000 + 0x1000, random.below(16) * 0x2_0000);
                let given = allocator.allocate(len, 0x20_0000, phase).unwrap();
                if random.once_in(4) {
                    allocator.release(given);
                }
            }
            let all: Vec<(u64, u64)> = allocator.taken.into_iter().collect();
            assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].0), "seed {seed}: {all:x?}");
        }
    }

    #[test]
    fn the_low_bits_follow_the_buffer() {
        let mut allocator = IovaAllocator::default();
        allocator.allocate(0x1000, 0x1000, 0).unwrap();
        let iova = allocator.allocate(0x10_0000, 0x20_0000, 0x5000).unwrap();
        assert_eq!(iova.0 % 0x20_0000, 0x5000);
    }
}
