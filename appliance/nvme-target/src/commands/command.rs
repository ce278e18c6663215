//! The step from a submission entry to a command.

use super::status::CommandStatus;
use luge_block::{Durability, Lba, Operation};
use luge_spec::nvme::{Fuse, IoOpcode, StatusCode, SubmissionEntry, io_flags};

/// An operation on blocks that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockCommand {
    pub(crate) operation: Operation,
    pub(crate) lba: Lba,
    pub(crate) blocks: u32,
}

/// Command of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Read, Write, Compare, Write Zeroes, Verify or Write Uncorrectable.
    Blocks(BlockCommand),
    /// Write Zeroes that are to be on the media at the end (FUA).
    DurableZeroes(BlockCommand),
    /// Dataset Management: so many ranges are to be deallocated.
    Deallocate { ranges: u32 },
    /// Dataset Management that only says how ranges will be used.
    Hint,
    /// Flush.
    Flush,
    /// Copy of so many ranges to blocks from `lba`.
    Copy { lba: Lba, ranges: u32, durability: Durability },
    /// A command that the controller's thread serves.
    Relayed,
}

impl Command {
    /// Reads a command of the NVM command set. Its namespace, and whether that has the operation, is not looked at.
    ///
    /// # Errors
    /// The status with which the command is to be refused.
    pub(crate) fn parse(entry: &SubmissionEntry) -> Result<Self, CommandStatus> {
        let [_, _, flags, ..] = entry.cdw10;
        let durability = durability(flags);
        let blocks = |operation| Self::Blocks(block_command(entry, operation));
        let command = match IoOpcode(entry.opcode) {
            IoOpcode::READ => blocks(Operation::Read),
            IoOpcode::WRITE => blocks(Operation::Write(durability)),
            IoOpcode::COMPARE => blocks(Operation::Compare),
            IoOpcode::VERIFY => blocks(Operation::Verify),
            IoOpcode::WRITE_UNCORRECTABLE => blocks(Operation::WriteUncorrectable),
            IoOpcode::WRITE_ZEROES => write_zeroes(entry, flags),
            IoOpcode::DATASET_MANAGEMENT => dataset_management(entry),
            IoOpcode::FLUSH => Self::Flush,
            IoOpcode::COPY => copy(entry)?,
            IoOpcode::RESERVATION_REGISTER
            | IoOpcode::RESERVATION_REPORT
            | IoOpcode::RESERVATION_ACQUIRE
            | IoOpcode::RESERVATION_RELEASE => Self::Relayed,
            _ => return Err(CommandStatus::refused(StatusCode::INVALID_OPCODE)),
        };
        check_fields(&command, flags)?;
        Ok(command)
    }

    /// Reads the two commands of a fused pair, Compare and Write of the same blocks, as one.
    ///
    /// # Errors
    /// The status with which both commands are to be refused.
    pub(crate) fn parse_pair(
        first: &SubmissionEntry,
        second: &SubmissionEntry,
    ) -> Result<BlockCommand, CommandStatus> {
        let invalid = CommandStatus::refused(StatusCode::INVALID_FIELD);
        let (Self::Blocks(compare), Self::Blocks(write)) = (Self::parse(first)?, Self::parse(second)?) else {
            return Err(invalid);
        };
        let Operation::Write(durability) = write.operation else { return Err(invalid) };
        let same =
            (compare.lba, compare.blocks, first.namespace) == (write.lba, write.blocks, second.namespace);
        if compare.operation != Operation::Compare || !same {
            return Err(invalid);
        }
        Ok(BlockCommand { operation: Operation::CompareAndWrite(durability), ..write })
    }
}

/// Whether an entry is the first of a pair, and the next one the second.
pub(crate) fn are_a_pair(first: &SubmissionEntry, second: &SubmissionEntry) -> bool {
    first.fuse() == Fuse::FIRST && second.fuse() == Fuse::SECOND
}

fn durability(flags: u32) -> Durability {
    if flags & io_flags::FORCE_UNIT_ACCESS == 0 { Durability::Cache } else { Durability::Media }
}

fn block_command(entry: &SubmissionEntry, operation: Operation) -> BlockCommand {
    let [_, _, flags, ..] = entry.cdw10;
    BlockCommand { operation, lba: Lba(entry.lba()), blocks: (flags & 0xffff).wrapping_add(1) }
}

fn write_zeroes(entry: &SubmissionEntry, flags: u32) -> Command {
    let unmaps = flags & io_flags::DEALLOCATE != 0;
    let operation = if unmaps { Operation::WriteZeroesUnmap } else { Operation::WriteZeroes };
    let command = block_command(entry, operation);
    match durability(flags) {
        Durability::Cache => Command::Blocks(command),
        Durability::Media => Command::DurableZeroes(command),
    }
}

fn dataset_management(entry: &SubmissionEntry) -> Command {
    let [ranges_z, attributes, ..] = entry.cdw10;
    match attributes & io_flags::ATTRIBUTE_DEALLOCATE {
        0 => Command::Hint,
        _ => Command::Deallocate { ranges: (ranges_z & 0xff).wrapping_add(1) },
    }
}

fn copy(entry: &SubmissionEntry) -> Result<Command, CommandStatus> {
    let [_, _, flags, ..] = entry.cdw10;
    // Bits 8 to 11: format of the ranges, of which there is one without protection information.
    if flags >> 8 & 0xf != 0 {
        return Err(CommandStatus::refused(StatusCode::INVALID_FIELD));
    }
    let ranges = (flags & 0xff).wrapping_add(1);
    Ok(Command::Copy { lba: Lba(entry.lba()), ranges, durability: durability(flags) })
}

/// Refuses what namespaces without protection information and controllers without directives do not have.
fn check_fields(command: &Command, flags: u32) -> Result<(), CommandStatus> {
    let refused = match command {
        Command::Blocks(BlockCommand { operation: Operation::WriteUncorrectable, .. }) => 0,
        Command::Blocks(BlockCommand { operation: Operation::Write(_), .. }) => {
            io_flags::PROTECTION | io_flags::DIRECTIVE
        }
        Command::Blocks(_) | Command::DurableZeroes(_) => io_flags::PROTECTION,
        Command::Copy { .. } => io_flags::PROTECTION | io_flags::DIRECTIVE | io_flags::READ_PROTECTION,
        Command::Deallocate { .. } | Command::Hint | Command::Flush | Command::Relayed => 0,
    };
    if flags & refused == 0 { Ok(()) } else { Err(CommandStatus::refused(StatusCode::INVALID_FIELD)) }
}
