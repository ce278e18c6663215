//! Commands on consecutive blocks. SBC-3, clause 5.

use super::checks::{ByteCheck, INVALID_BYTE_CHECK, byte_check, check_access, check_length, check_range};
use crate::cdb::Fields;
use crate::command::{BlockCommand, Command};
use crate::sense::Sense;
use crate::view::UnitView;
use luge_block::{Durability, Operation, Stepped, WriteSame};
use luge_spec::scsi::flags;

/// READ. With FUA, too, blocks are what was written last: there is no cache of the unit that could differ.
pub(super) fn read(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    check_range(fields, view)?;
    Ok(command(fields, Operation::Read, fields.length))
}

/// WRITE.
pub(super) fn write(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    check_access(view)?;
    check_range(fields, view)?;
    Ok(command(fields, Operation::Write(durability(fields, view)), fields.length))
}

/// WRITE AND VERIFY.
pub(super) fn write_and_verify(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    let operation = match byte_check(fields)? {
        ByteCheck::None => Stepped::WriteAndVerify,
        ByteCheck::All => Stepped::WriteAndCompare,
        ByteCheck::One => return Err(INVALID_BYTE_CHECK),
    };
    check_access(view)?;
    check_range(fields, view)?;
    check_length(fields, view.verify_data_blocks_max)?;
    Ok(command(fields, Operation::Stepped(operation), fields.length))
}

/// VERIFY.
pub(super) fn verify(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    let check = byte_check(fields)?;
    check_range(fields, view)?;
    let (operation, data_blocks, most) = match check {
        ByteCheck::None => (Operation::Verify, 0, view.verify_blocks_max),
        ByteCheck::All => (Operation::Compare, fields.length, view.verify_data_blocks_max),
        ByteCheck::One => (Operation::Stepped(Stepped::CompareSame), 1, view.verify_blocks_max),
    };
    check_length(fields, most)?;
    Ok(command(fields, operation, data_blocks))
}

/// SYNCHRONIZE CACHE: of all blocks, whichever it names. With IMMED, too, the status comes at the end.
pub(super) fn synchronize_cache(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    check_range(fields, view)?;
    Ok(Command::Flush)
}

/// WRITE SAME. Without blocks it is refused: WSNZ is one.
pub(super) fn write_same(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    let unmaps = fields.flags & flags::UNMAP != 0;
    if unmaps && view.unmap_blocks_max == 0 {
        return Err(Sense::invalid_bit_in_cdb(1, 3));
    }
    check_access(view)?;
    check_range(fields, view)?;
    if fields.length == 0 {
        return Err(Sense::invalid_field_in_cdb(fields.length_at));
    }
    check_length(fields, view.write_same_blocks_max)?;
    let same = WriteSame::new(view.least_durability);
    let same = if unmaps { same.unmapping() } else { same };
    let has_data = fields.flags & flags::NDOB == 0;
    Ok(command(fields, Operation::Stepped(Stepped::WriteSame(same)), has_data.into()))
}

/// COMPARE AND WRITE. The number of blocks has one byte, the last of the length of others.
pub(super) fn compare_and_write(fields: &Fields, view: &UnitView) -> Result<Command, Sense> {
    let fields = Fields { length_at: 13, ..*fields };
    check_access(view)?;
    check_range(&fields, view)?;
    check_length(&fields, view.compare_and_write_blocks_max.into())?;
    let operation = Operation::CompareAndWrite(durability(&fields, view));
    Ok(command(&fields, operation, fields.length.saturating_mul(2)))
}

fn durability(fields: &Fields, view: &UnitView) -> Durability {
    if fields.flags & flags::FUA == 0 { view.least_durability } else { Durability::Media }
}

/// The command, with so many blocks of data. Without blocks there is nothing to do.
fn command(fields: &Fields, operation: Operation, data_blocks: u32) -> Command {
    match fields.length {
        0 => Command::Nothing,
        blocks => Command::Blocks(BlockCommand { operation, lba: fields.lba, blocks, data_blocks }),
    }
}
