//! A disk as its guest sees it: features, configuration space, and the requests that it allows.

use luge_block::{Access, BlockRange, Blocks, Geometry, Lba, Operation, Status};
use luge_spec::virtio::Features;
use luge_spec::virtio::blk::{Config, ID_BYTES, RangeSegment, SECTOR_BYTES};
use zerocopy::IntoBytes;

use super::command::Sector;

/// Segments of a request: what a ring of 128 entries, QEMU's default, can hold besides the
/// header and the status.
const SEGMENTS_MAX: u16 = 126;

/// The longest segment in bytes.
const SEGMENT_BYTES_MAX: u32 = 1 << 20;

/// The physical blocks of a disk that is best used by the page or by several, in bytes.
const PAGE_BYTES: u32 = 4096;

/// Ranges of one discard or write-zeroes request.
pub(super) const RANGES_MAX: usize = 32;

/// A disk, identical for all its queues.
#[derive(Clone, Copy, Debug)]
pub struct BlkDisk {
    geometry: Geometry,
    block_size: BlockSize,
    serial: [u8; ID_BYTES],
    queues: u16,
}

/// The size of a block, a power of two of at least a sector, as divisors of bytes and of sectors:
/// a mask for the remainder, and a shift for the quotient.
#[derive(Clone, Copy, Debug)]
struct BlockSize {
    bytes_mask: u32,
    bytes_shift: u32,
    sectors_mask: u64,
    sectors_shift: u32,
}

impl BlockSize {
    fn of(block_bytes: u32) -> Self {
        let (bytes_mask, bytes_shift) = (block_bytes.wrapping_sub(1), block_bytes.trailing_zeros());
        Self {
            bytes_mask,
            bytes_shift,
            sectors_mask: u64::from(bytes_mask / SECTOR_BYTES),
            sectors_shift: bytes_shift.wrapping_sub(SECTOR_BYTES.trailing_zeros()),
        }
    }
}

impl BlkDisk {
    /// A disk of that geometry with `queues` queues, whose serial number is the first 20
    /// bytes of `serial`.
    #[must_use]
    pub fn new(geometry: Geometry, access: Access, serial: &str, queues: u16) -> Self {
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(serial.bytes()).for_each(|(to, from)| *to = from);
        let read_only = geometry.read_only || access == Access::ReadOnly;
        let block_size = BlockSize::of(geometry.block_bytes);
        Self { geometry: Geometry { read_only, ..geometry }, block_size, serial: id, queues }
    }

    /// Size, limits and abilities.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Answer to GET_ID, padded with zeroes.
    #[must_use]
    pub fn serial(&self) -> &[u8; ID_BYTES] {
        &self.serial
    }

    /// Number of queues.
    #[must_use]
    pub fn queues(&self) -> u16 {
        self.queues
    }

    /// Features that are offered to the driver.
    #[must_use]
    pub fn features(&self) -> Features {
        let always = Features::BLK_SIZE_MAX
            | Features::BLK_SEG_MAX
            | Features::BLK_BLK_SIZE
            | Features::BLK_TOPOLOGY
            | Features::BLK_FLUSH
            | Features::BLK_MQ;
        let Geometry { read_only, discard_blocks_max, write_zeroes_blocks_max, .. } = self.geometry;
        always
            .with_if(read_only, Features::BLK_RO)
            .with_if(!read_only && discard_blocks_max > 0, Features::BLK_DISCARD)
            .with_if(!read_only && write_zeroes_blocks_max > 0, Features::BLK_WRITE_ZEROES)
    }

    /// The disk with another number of blocks.
    #[must_use]
    pub fn with_blocks(self, blocks: Blocks) -> Self {
        Self { geometry: Geometry { blocks, ..self.geometry }, ..self }
    }

    /// `len` bytes of the configuration space from `offset`; zeroes after its end.
    #[must_use]
    pub fn config(&self, offset: u32, len: u32) -> Vec<u8> {
        let config = self.config_space();
        let from_offset = config.as_bytes().iter().copied().skip(offset as usize);
        from_offset.chain(std::iter::repeat(0)).take(len as usize).collect()
    }

    fn config_space(&self) -> Config {
        let geometry = &self.geometry;
        let ranges = u32::try_from(RANGES_MAX).unwrap_or(u32::MAX);
        // The whole blocks of 2^32 sectors less one: ranges are cut into what the device takes.
        let longest_range = self.sectors(1).wrapping_neg();
        let best = self.best_blocks();
        Config {
            capacity: geometry.blocks.0.saturating_mul(self.sectors(1).into()).into(),
            size_max: SEGMENT_BYTES_MAX.into(),
            seg_max: u32::from(geometry.spans_max.clamp(1, SEGMENTS_MAX)).into(),
            blk_size: geometry.block_bytes.into(),
            physical_block_exp: best.map_or(0, |_| self.page_exp()),
            min_io_size: best.unwrap_or(1).into(),
            opt_io_size: best.map_or(0, u32::from).into(),
            num_queues: self.queues.into(),
            max_discard_sectors: longest_range.into(),
            max_discard_seg: ranges.into(),
            discard_sector_alignment: self.sectors(best.unwrap_or(1).into()).into(),
            max_write_zeroes_sectors: longest_range.into(),
            max_write_zeroes_seg: ranges.into(),
            write_zeroes_may_unmap: 1,
            ..Config::default()
        }
    }

    /// The blocks of the best I/O, if guests can use that hint: `mkfs.xfs` wants a number of pages
    /// that is a multiple of the physical block, and the minimum and the optimum to agree.
    fn best_blocks(&self) -> Option<u16> {
        let blocks = u16::try_from(self.geometry.optimal_blocks).ok().filter(|&blocks| blocks > 1)?;
        let bytes = u32::from(blocks).checked_mul(self.geometry.block_bytes)?;
        bytes.is_multiple_of(PAGE_BYTES).then_some(blocks)
    }

    /// Blocks of a page, as a power of two.
    fn page_exp(&self) -> u8 {
        let blocks = PAGE_BYTES.checked_div(self.geometry.block_bytes).unwrap_or(0);
        u8::try_from(blocks.checked_ilog2().unwrap_or(0)).unwrap_or(0)
    }

    fn sectors(&self, blocks: u32) -> u32 {
        blocks.saturating_mul(self.geometry.block_bytes / SECTOR_BYTES)
    }

    /// Converts a sector and a length in bytes to blocks, on the disk or not; none if they are not whole blocks.
    #[inline]
    pub(super) fn in_blocks(&self, sector: Sector, bytes: u32) -> Option<(Lba, u32)> {
        let BlockSize { bytes_mask, bytes_shift, sectors_mask, sectors_shift } = self.block_size;
        let odd = (sector.0 & sectors_mask) | u64::from(bytes & bytes_mask);
        (odd == 0).then(|| (Lba(sector.0.wrapping_shr(sectors_shift)), bytes.wrapping_shr(bytes_shift)))
    }

    /// Checks that the disk supports an operation.
    #[inline]
    pub(super) fn allows(&self, operation: Operation) -> Result<(), Status> {
        operation.check_access(self.geometry.read_only)?;
        if self.geometry.blocks_max(operation) > 0 { Ok(()) } else { Err(Status::Unsupported) }
    }

    /// A range of a discard.
    pub(super) fn discard(&self, segment: &RangeSegment) -> Result<BlockRange, Status> {
        // Discard knows no flags, and the specification says which answer that gets.
        if segment.flags.get() != 0 {
            return Err(Status::Unsupported);
        }
        self.range(segment, Operation::Discard)
    }

    /// A range of a write-zeroes.
    pub(super) fn write_zeroes(&self, segment: &RangeSegment) -> Result<BlockRange, Status> {
        let operation = match segment.flags.get() {
            0 => Operation::WriteZeroes,
            RangeSegment::UNMAP => Operation::WriteZeroesUnmap,
            _ => return Err(Status::Unsupported),
        };
        self.range(segment, operation)
    }

    fn range(&self, segment: &RangeSegment, operation: Operation) -> Result<BlockRange, Status> {
        let sectors_per_block = self.sectors(1);
        let sectors = segment.sectors.get();
        let blocks = sectors.checked_div(sectors_per_block).ok_or(Status::Invalid)?;
        if blocks.checked_mul(sectors_per_block) != Some(sectors) {
            return Err(Status::Invalid);
        }
        let (lba, _) = self.in_blocks(Sector(segment.sector.get()), 0).ok_or(Status::Invalid)?;
        Ok(BlockRange { operation, lba, blocks })
    }
}
