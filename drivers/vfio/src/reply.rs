//! Parser of the kernel's replies: a structure, followed by a chain of capabilities.
//!
//! Invariants
//! - No byte past the end of the reply is read, whatever lengths it contains.
//! - Offsets in a chain only increase, so that a chain ends.
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

/// Bytes of a reply, or of a capability in it up to the end of the reply.
#[derive(Clone, Copy)]
pub struct Reply<'a>(pub &'a [u8]);

impl<'a> Reply<'a> {
    /// Number at offset `at`.
    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// Number at offset `at`.
    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// Number at offset `at`.
    fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// Capability `id` of a chain that starts at offset `first`; zero is an empty chain.
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

    /// Array of `count` pairs of numbers at offset `at`; none if the reply is too short.
    fn pairs(self, at: usize, count: u32) -> Option<Vec<(u64, u64)>> {
        let len = usize::try_from(count).ok()?.checked_mul(16)?;
        let bytes = self.0.get(at..)?.get(..len)?;
        bytes.chunks_exact(16).map(|pair| Some((Reply(pair).u64(0)?, Reply(pair).u64(8)?))).collect()
    }
}

/// Address ranges of `VFIO_IOMMU_GET_INFO`; none if the kernel does not report them (before 5.4).
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

/// A region of a device's file: a BAR, or the configuration space. All in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Offset in the file.
    pub offset: u64,
    /// Length; zero if the device has no such region.
    pub len: u64,
    /// Parts that can be mapped: offset in the region and length of each.
    pub mappable: Vec<(u64, u64)>,
}

impl Region {
    /// Parses the reply of `VFIO_DEVICE_GET_REGION_INFO`; none if the reply is inconsistent.
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

/// Parts of a region that can be mapped; `Some(None)` is the whole region.
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

    /// Bytes of 32-bit words.
    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn wide(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    /// Reply about a region of 16 KiB at 1 TiB, followed by `capabilities`.
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

    /// Replies of many lengths, full of small numbers, which look like offsets, ids and counts.
    #[test]
    fn no_reply_however_wrong_is_read_past_its_end() {
        for seed in 0..20_000u64 {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                u32::try_from(state >> 33).unwrap()
            };
            let len = next() as usize % 40;
            let words: Vec<u32> =
                (0..len).map(|_| if next() % 8 == 0 { u32::MAX - next() % 4 } else { next() % 96 }).collect();
            let mut reply = bytes(&words);
            reply.truncate(reply.len().saturating_sub(next() as usize % 4));
            if let Some(region) = Region::parse(Reply(&reply)) {
                assert!(region.mappable.iter().all(|(at, len)| at + len <= region.len), "seed {seed}");
            }
            if let Some(ranges) = iova_ranges(Reply(&reply)) {
                assert!(ranges.len() * 16 <= reply.len(), "seed {seed}");
            }
        }
    }
}
