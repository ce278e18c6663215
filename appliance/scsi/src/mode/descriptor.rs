//! Block descriptors. SBC-3, clause 6.5.2.

use crate::sense::Sense;
use luge_block::Geometry;
use luge_spec::scsi::{LongDescriptor, ShortDescriptor};
use zerocopy::{FromBytes, IntoBytes};

/// The block size of a short descriptor is in the low 24 bits.
const SHORT_BLOCK_BYTES: u32 = 0xff_ffff;

/// Short descriptor of a unit.
pub(super) fn short(geometry: &Geometry) -> Vec<u8> {
    let blocks = u32::try_from(geometry.blocks.0).unwrap_or(u32::MAX);
    let block_bytes = geometry.block_bytes & SHORT_BLOCK_BYTES;
    ShortDescriptor { blocks: blocks.into(), block_bytes: block_bytes.into() }.as_bytes().to_vec()
}

/// Long descriptor of a unit.
pub(super) fn long(geometry: &Geometry) -> Vec<u8> {
    let (blocks, block_bytes) = (geometry.blocks.0.into(), geometry.block_bytes.into());
    LongDescriptor { blocks, block_bytes, ..LongDescriptor::default() }.as_bytes().to_vec()
}

/// Checks a short descriptor, which begins at a byte of the list: it changes nothing.
pub(super) fn check_short(bytes: &[u8], at: u16, geometry: &Geometry) -> Result<(), Sense> {
    let (descriptor, _) =
        ShortDescriptor::read_from_prefix(bytes).map_err(|_| Sense::invalid_field_in_parameters(at))?;
    let unit = u32::try_from(geometry.blocks.0).unwrap_or(u32::MAX);
    check_blocks(descriptor.blocks.get().into(), unit.into(), at)?;
    let block_bytes = descriptor.block_bytes.get() & SHORT_BLOCK_BYTES;
    check_block_bytes(block_bytes, geometry, at.saturating_add(5))
}

/// Checks a long descriptor.
pub(super) fn check_long(bytes: &[u8], at: u16, geometry: &Geometry) -> Result<(), Sense> {
    let (descriptor, _) =
        LongDescriptor::read_from_prefix(bytes).map_err(|_| Sense::invalid_field_in_parameters(at))?;
    check_blocks(descriptor.blocks.get(), geometry.blocks.0, at)?;
    check_block_bytes(descriptor.block_bytes.get(), geometry, at.saturating_add(12))
}

/// Zero blocks leave the number as it is.
fn check_blocks(blocks: u64, unit: u64, at: u16) -> Result<(), Sense> {
    if blocks == 0 || blocks == unit { Ok(()) } else { Err(Sense::invalid_field_in_parameters(at)) }
}

fn check_block_bytes(bytes: u32, geometry: &Geometry, at: u16) -> Result<(), Sense> {
    if bytes == geometry.block_bytes { Ok(()) } else { Err(Sense::invalid_field_in_parameters(at)) }
}
