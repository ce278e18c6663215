//! Block limits, block device characteristics and logical block provisioning. SBC-3, clauses 6.6.2 to 6.6.4.

use crate::view::UnitView;
use luge_block::Geometry;
use luge_spec::scsi::{BlockCharacteristics, BlockLimits, Provisioning, provisioning};
use zerocopy::{FromZeros, IntoBytes};

/// Descriptors of an UNMAP: a parameter list has no room for more.
const UNMAP_DESCRIPTORS_MAX: u32 = 256;

/// UGAVALID: the alignment is valid.
const ALIGNMENT_VALID: u32 = 1 << 31;

/// Rotation rate of a medium that does not rotate.
const NON_ROTATING: u16 = 1;

/// Block limits of a unit.
pub(super) fn block_limits(geometry: &Geometry, view: &UnitView) -> Vec<u8> {
    let mut limits = BlockLimits::new_zeroed();
    limits.write_same_non_zero = 1;
    limits.compare_and_write_blocks_max = view.compare_and_write_blocks_max;
    limits.granularity_blocks = u16::try_from(geometry.optimal_blocks).unwrap_or(u16::MAX).into();
    limits.transfer_blocks_max = view.verify_data_blocks_max.into();
    limits.write_same_blocks_max = u64::from(view.write_same_blocks_max).into();
    if view.unmap_blocks_max > 0 {
        limits.unmap_blocks_max = view.unmap_blocks_max.into();
        limits.unmap_descriptors_max = UNMAP_DESCRIPTORS_MAX.into();
        limits.unmap_granularity_blocks = geometry.optimal_blocks.into();
        limits.unmap_alignment = ALIGNMENT_VALID.into();
    }
    limits.as_bytes().to_vec()
}

/// Block device characteristics of all units.
pub(super) fn characteristics() -> Vec<u8> {
    let mut page = BlockCharacteristics::new_zeroed();
    page.rotation_rate = NON_ROTATING.into();
    page.as_bytes().to_vec()
}

/// Logical block provisioning of a unit.
pub(super) fn provisioning(view: &UnitView) -> Vec<u8> {
    let mut page = Provisioning::new_zeroed();
    if view.unmap_blocks_max > 0 {
        page.flags = provisioning::ALL_COMMANDS;
        page.kind = provisioning::THIN;
    }
    page.as_bytes().to_vec()
}
