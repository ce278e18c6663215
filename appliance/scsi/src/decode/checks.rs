//! Checks that several commands have in common.

use crate::cdb::Fields;
use crate::sense::Sense;
use crate::view::UnitView;
use luge_spec::scsi::{AdditionalSense, SenseKey, flags};

/// Refuses what changes data of a unit that is read-only.
pub(super) fn check_access(view: &UnitView) -> Result<(), Sense> {
    if view.read_only {
        return Err(Sense::new(SenseKey::DATA_PROTECT, AdditionalSense::WRITE_PROTECTED));
    }
    Ok(())
}

/// Refuses blocks that the unit does not have, telling the first one of them. SBC-3, clause 4.18.1.
pub(super) fn check_range(fields: &Fields, view: &UnitView) -> Result<(), Sense> {
    let (first, end) = (fields.lba.0, view.blocks.0);
    let fits = first.checked_add(fields.length.into()).is_some_and(|behind| behind <= end);
    if fits { Ok(()) } else { Err(Sense::lba_out_of_range(first.max(end))) }
}

/// Data that a command compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ByteCheck {
    /// None: the medium alone is asked.
    None,
    /// Data of all blocks.
    All,
    /// A block of data, for each block.
    One,
}

/// BYTCHK.
pub(super) fn byte_check(fields: &Fields) -> Result<ByteCheck, Sense> {
    match fields.flags & flags::BYTCHK {
        flags::BYTCHK_NONE => Ok(ByteCheck::None),
        flags::BYTCHK_ALL => Ok(ByteCheck::All),
        flags::BYTCHK_ONE => Ok(ByteCheck::One),
        _ => Err(INVALID_BYTE_CHECK),
    }
}

/// BYTCHK that the command does not have.
pub(super) const INVALID_BYTE_CHECK: Sense = Sense::invalid_bit_in_cdb(1, 2);

/// Refuses more blocks than a command may have.
pub(super) fn check_length(fields: &Fields, most: u32) -> Result<(), Sense> {
    if fields.length > most { Err(Sense::invalid_field_in_cdb(fields.length_at)) } else { Ok(()) }
}
