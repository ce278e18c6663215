//! UNMAP and its parameter list. SBC-3, clause 5.28.

use super::checks::check_access;
use crate::cdb::Fields;
use crate::command::{Command, UnmapCommand};
use crate::sense::{FieldPointer, Sense};
use crate::view::UnitView;
use luge_block::{BlockRange, Lba, Operation};
use luge_spec::scsi::{AdditionalSense, UnmapDescriptor, UnmapHeader};
use luge_volume::RANGES_MAX;
use zerocopy::FromBytes;

const HEADER_BYTES: usize = size_of::<UnmapHeader>();
const DESCRIPTOR_BYTES: usize = size_of::<UnmapDescriptor>();

/// The most bytes of a parameter list that are looked at.
pub const UNMAP_LIST_BYTES_MAX: usize = HEADER_BYTES + RANGES_MAX * DESCRIPTOR_BYTES;

/// Ranges of an UNMAP that have blocks.
pub type UnmapRanges = heapless::Vec<BlockRange, RANGES_MAX>;

/// PARAMETER LIST LENGTH ERROR.
const LIST_LENGTH_ERROR: Sense = Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// UNMAP. A list that is too short for its header is refused; none at all is nothing to do.
pub(super) fn unmap(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    check_access(view)?;
    let list_bytes = u16::try_from(fields.length).unwrap_or(u16::MAX);
    match usize::from(list_bytes) {
        0 => Ok(Command::Nothing),
        1..HEADER_BYTES => Err(LIST_LENGTH_ERROR),
        _ => Ok(Command::Unmap(UnmapCommand { list_bytes })),
    }
}

impl UnmapCommand {
    /// Number of bytes of data-out that are to be read for [`Self::ranges`].
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        usize::from(self.list_bytes).min(UNMAP_LIST_BYTES_MAX)
    }

    /// Reads the parameter list: the first [`Self::read_bytes`] bytes of data-out. No range is left where the command
    /// has nothing to do.
    ///
    /// # Errors
    /// The sense data with which the command is to be refused: then none of its ranges is to be unmapped.
    pub fn ranges(&self, list: &[u8], view: &UnitView) -> Result<UnmapRanges, Sense> {
        let (header, rest) = UnmapHeader::ref_from_prefix(list).map_err(|_| LIST_LENGTH_ERROR)?;
        let bytes = usize::from(header.descriptor_bytes.get());
        if bytes.saturating_add(HEADER_BYTES) > self.list_bytes.into() {
            return Err(LIST_LENGTH_ERROR);
        }
        // A part of a descriptor at the end is ignored, as the standard says.
        let count = bytes.checked_div(DESCRIPTOR_BYTES).unwrap_or(0);
        if count > RANGES_MAX {
            return Err(Sense::invalid_field_in_parameters(2));
        }
        let descriptors = <[UnmapDescriptor]>::ref_from_prefix_with_elems(rest, count);
        let (descriptors, _) = descriptors.map_err(|_| LIST_LENGTH_ERROR)?;
        collect(descriptors, view)
    }
}

/// Makes ranges of descriptors that have blocks, all of which are on the unit, and not too many together.
fn collect(descriptors: &[UnmapDescriptor], view: &UnitView) -> Result<UnmapRanges, Sense> {
    let (mut ranges, mut total) = (UnmapRanges::new(), 0_u64);
    for (descriptor, at) in descriptors.iter().zip((HEADER_BYTES..).step_by(DESCRIPTOR_BYTES)) {
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        let (lba, blocks) = (descriptor.lba.get(), descriptor.blocks.get());
        let end = lba.checked_add(blocks.into()).filter(|&end| end <= view.blocks.0);
        if end.is_none() {
            let first = lba.max(view.blocks.0);
            return Err(Sense::lba_out_of_range(first).at(FieldPointer::parameters(at)));
        }
        total = total.saturating_add(blocks.into());
        if total > view.unmap_blocks_max.into() {
            return Err(Sense::invalid_field_in_parameters(at.saturating_add(8)));
        }
        if blocks > 0 {
            // There is room for all descriptors.
            let _ = ranges.push(BlockRange { operation: Operation::Discard, lba: Lba(lba), blocks });
        }
    }
    Ok(ranges)
}
