//! Answers of the kernel: a structure, and behind it a chain of capabilities.
//!
//! Invariants
//! - Nothing is read past the end of the answer, whatever lengths it claims.
//! - Offsets in a chain only go up, so a walk ends.
//!
//! Not here: the system calls (`ioctl`).

use luge_memory::IovaRange;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
    VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP, vfio_info_cap_header, vfio_iommu_type1_info,
    vfio_iommu_type1_info_cap_iova_range, vfio_iova_range, vfio_region_info,
    vfio_region_info_cap_sparse_mmap, vfio_region_sparse_mmap_area,
};

/// Bytes of an answer, or of one capability in it up to the end of the answer.
#[derive(Clone, Copy)]
pub struct Reply<'a>(pub &'a [u8]);

impl<'a> Reply<'a> {
    /// Number at byte `at`.
    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// Number at byte `at`.
    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// Number at byte `at`.
    fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// Finds the capability `id` in a chain that starts at `first` bytes; zero is an empty chain.
    fn capability(self, first: u32, id: u32) -> Option<Self> {
        let mut at = usize::try_from(first).ok()?;
        while at != 0 {
            let capability = Reply(self.0.get(at..)?);
            if u32::from(capability.u16(offset_of!(vfio_info_cap_header, id))?) == id {
                return Some(capability);
            }
            let next = usize::try_from(capability.u32(offset_of!(vfio_info_cap_header, next))?).ok()?;
            at = if next > at { next } else { 0 };
        }
        None
    }

    /// `count` pairs of numbers from byte `at`; `None` if they do not all fit.
    fn pairs(self, at: usize, count: u32) -> Option<Vec<(u64, u64)>> {
        let len = usize::try_from(count).ok()?.checked_mul(16)?;
        let bytes = self.0.get(at..)?.get(..len)?;
        bytes.chunks_exact(16).map(|pair| Some((Reply(pair).u64(0)?, Reply(pair).u64(8)?))).collect()
    }
}

/// Parses the address ranges of `VFIO_IOMMU_GET_INFO`; `None` if there are none (kernels before 5.4).
pub fn iova_ranges(reply: Reply<'_>) -> Option<Vec<IovaRange>> {
    type Ranges = vfio_iommu_type1_info_cap_iova_range;
    const { assert!(size_of::<vfio_iova_range>() == 16 && offset_of!(vfio_iova_range, end) == 8) };
    let flags = reply.u32(offset_of!(vfio_iommu_type1_info, flags))?;
    let first = reply.u32(offset_of!(vfio_iommu_type1_info, cap_offset))?;
    let first = if flags & VFIO_IOMMU_INFO_CAPS == 0 { 0 } else { first };
    let ranges = reply.capability(first, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)?;
    let count = ranges.u32(offset_of!(Ranges, nr_iovas))?;
    let pairs = ranges.pairs(size_of::<Ranges>(), count)?;
    Some(pairs.into_iter().map(|(first, last)| IovaRange { first, last }).collect())
}

/// Region of a device's file in bytes: a BAR, or the configuration space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Offset in the file.
    pub offset: u64,
    /// Length; zero if the device has no such region.
    pub len: u64,
    /// Parts that may be mapped: offset in the region, and length.
    pub mappable: Vec<(u64, u64)>,
}

impl Region {
    /// Parses the answer of `VFIO_DEVICE_GET_REGION_INFO`; `None` if it contradicts itself.
    pub fn parse(reply: Reply<'_>) -> Option<Self> {
        let flags = reply.u32(offset_of!(vfio_region_info, flags))?;
        let len = reply.u64(offset_of!(vfio_region_info, size))?;
        let offset = reply.u64(offset_of!(vfio_region_info, offset))?;
        offset.checked_add(len)?;
        let mappable = if flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
            Vec::new()
        } else {
            sparse_areas(reply, flags)?.unwrap_or_else(|| vec![(0, len)])
        };
        let inside = |&(at, bytes): &(u64, u64)| at.checked_add(bytes).is_some_and(|end| end <= len);
        mappable.iter().all(inside).then_some(Self { offset, len, mappable })
    }
}

/// Parts of a region that may be mapped; `Some(None)` means all of it.
fn sparse_areas(reply: Reply<'_>, flags: u32) -> Option<Option<Vec<(u64, u64)>>> {
    type Areas = vfio_region_info_cap_sparse_mmap;
    const {
        assert!(size_of::<vfio_region_sparse_mmap_area>() == 16);
        assert!(offset_of!(vfio_region_sparse_mmap_area, size) == 8);
    };
    let first = reply.u32(offset_of!(vfio_region_info, cap_offset))?;
    let first = if flags & VFIO_REGION_INFO_FLAG_CAPS == 0 { 0 } else { first };
    let Some(areas) = reply.capability(first, VFIO_REGION_INFO_CAP_SPARSE_MMAP) else {
        return Some(None);
    };
    let count = areas.u32(offset_of!(Areas, nr_areas))?;
    areas.pairs(size_of::<Areas>(), count).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_seeded::{Random, fuzz};

    /// Words of an answer, as bytes.
    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn wide(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    /// A region of 16 KiB at 1 TiB, with `capabilities` behind it.
    fn region(flags: u32, capabilities: &[u8]) -> Vec<u8> {
        let mut reply = bytes(&[0, flags, 0, 32]);
        reply.extend(wide(&[0x4000, 1 << 40]));
        reply.extend(capabilities);
        reply
    }

    const MMAP: u32 = VFIO_REGION_INFO_FLAG_MMAP;
    const CAPS: u32 = VFIO_REGION_INFO_FLAG_CAPS;

    #[test]
    fn a_region_without_capabilities_may_be_mapped_whole_or_not_at_all() {
        let whole = Region::parse(Reply(&region(MMAP, &[]))).unwrap();
        assert_eq!(whole, Region { offset: 1 << 40, len: 0x4000, mappable: vec![(0, 0x4000)] });
        assert_eq!(Region::parse(Reply(&region(0, &[]))).unwrap().mappable, []);
    }

    #[test]
    fn a_region_with_an_msix_table_may_be_mapped_around_it() {
        let mut chain = bytes(&[3 | 1 << 16, 40]); // "the MSI-X table may be mapped", then
        chain.extend(bytes(&[VFIO_REGION_INFO_CAP_SPARSE_MMAP | 1 << 16, 0, 2, 0]));
        chain.extend(wide(&[0, 0x2000, 0x3000, 0x1000]));
        let region = Region::parse(Reply(&region(MMAP | CAPS, &chain))).unwrap();
        assert_eq!(region.mappable, [(0, 0x2000), (0x3000, 0x1000)]);
    }

    #[test]
    fn an_area_outside_of_its_region_is_refused() {
        for area in [[0x3000, 0x1001], [u64::MAX, 2]] {
            let mut chain = bytes(&[VFIO_REGION_INFO_CAP_SPARSE_MMAP | 1 << 16, 0, 1, 0]);
            chain.extend(wide(&area));
            assert_eq!(Region::parse(Reply(&region(MMAP | CAPS, &chain))), None);
        }
    }

    #[test]
    fn more_areas_than_there_are_bytes_are_refused() {
        for count in [3, 0x1000_0000, u32::MAX] {
            let mut chain = bytes(&[VFIO_REGION_INFO_CAP_SPARSE_MMAP | 1 << 16, 0, count, 0]);
            chain.extend(wide(&[0, 0x1000, 0x1000, 0x1000]));
            assert_eq!(Region::parse(Reply(&region(MMAP | CAPS, &chain))), None);
        }
    }

    #[test]
    fn the_ranges_of_an_iommu_are_found_behind_other_capabilities() {
        let mut reply = bytes(&[0, 1 | VFIO_IOMMU_INFO_CAPS, 0x1000, 0, 24, 0]);
        reply.extend(bytes(&[VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE + 2, 32]));
        reply.extend(bytes(&[VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE | 1 << 16, 0, 2, 0]));
        reply.extend(wide(&[0, 0xfedf_ffff, 0xfef0_0000, (1 << 39) - 1]));
        let below = IovaRange { first: 0, last: 0xfedf_ffff };
        let above = IovaRange { first: 0xfef0_0000, last: (1 << 39) - 1 };
        assert_eq!(iova_ranges(Reply(&reply)), Some(vec![below, above]));
        reply[4] = 1; // no capabilities: an older kernel
        assert_eq!(iova_ranges(Reply(&reply)), None);
    }

    #[test]
    fn a_chain_that_leads_back_ends() {
        let chain = bytes(&[9, 40, 9, 32]);
        assert_eq!(Region::parse(Reply(&region(MMAP | CAPS, &chain))).unwrap().mappable, [(0, 0x4000)]);
    }

    /// Answers of every length full of small numbers, which look like offsets, ids and counts.
    #[test]
    fn no_answer_however_wrong_is_read_past_its_end() {
        fuzz(|random| {
            let word = |random: &mut Random| match random.once_in(8) {
                true => u32::MAX - random.below(4),
                false => random.below(96),
            };
            let len = random.below(40_u32);
            let words: Vec<u32> = (0..len).map(|_| word(random)).collect();
            let mut reply = bytes(&words);
            reply.truncate(reply.len().saturating_sub(random.below(4)));
            if let Some(region) = Region::parse(Reply(&reply)) {
                assert!(region.mappable.iter().all(|(at, len)| at + len <= region.len), "{reply:?}");
            }
            if let Some(ranges) = iova_ranges(Reply(&reply)) {
                assert!(ranges.len() * 16 <= reply.len(), "{reply:?}");
            }
        });
    }
}
