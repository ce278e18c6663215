//! The step from a submission entry to a command.

use super::status::CommandStatus;
use luge_block::{Durability, Lba, Operation};
use luge_spec::nvme::{IoOpcode, StatusCode, SubmissionEntry, io_flags};

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
    /// Writes are at least as durable as `least` says.
    ///
    /// # Errors
    /// The status with which the command is to be refused.
    pub(crate) fn parse(entry: &SubmissionEntry, least: Durability) -> Result<Self, CommandStatus> {
        let [_, _, flags, ..] = entry.cdw10;
        let durability = if least == Durability::Media { least } else { durability(flags) };
        let blocks = |operation| Self::Blocks(block_command(entry, operation));
        let command = match IoOpcode(entry.opcode) {
            IoOpcode::READ => blocks(Operation::Read),
            IoOpcode::WRITE => blocks(Operation::Write(durability)),
            IoOpcode::COMPARE => blocks(Operation::Compare),
            IoOpcode::VERIFY => blocks(Operation::Verify),
            IoOpcode::WRITE_UNCORRECTABLE => blocks(Operation::WriteUncorrectable),
            IoOpcode::WRITE_ZEROES => write_zeroes(entry, durability),
            IoOpcode::DATASET_MANAGEMENT => dataset_management(entry),
            IoOpcode::FLUSH => Self::Flush,
            IoOpcode::COPY => copy(entry, durability)?,
            IoOpcode::RESERVATION_REGISTER
            | IoOpcode::RESERVATION_REPORT
            | IoOpcode::RESERVATION_ACQUIRE
            | IoOpcode::RESERVATION_RELEASE => Self::Relayed,
            _ => return Err(CommandStatus::refused(StatusCode::INVALID_OPCODE)),
        };
        check_fields(&command, flags)?;
        Ok(command)
    }

    /// The two commands of a fused pair as one; none if they are not a Compare and a Write of the same blocks.
    pub(crate) fn fuse(first: Self, second: Self) -> Option<BlockCommand> {
        let (Self::Blocks(compare), Self::Blocks(write)) = (first, second) else { return None };
        let Operation::Write(durability) = write.operation else { return None };
        let same = compare.lba == write.lba && compare.blocks == write.blocks;
        let fits = same && compare.operation == Operation::Compare;
        fits.then_some(BlockCommand { operation: Operation::CompareAndWrite(durability), ..write })
    }
}

fn durability(flags: u32) -> Durability {
    if flags & io_flags::FORCE_UNIT_ACCESS == 0 { Durability::Cache } else { Durability::Media }
}

fn block_command(entry: &SubmissionEntry, operation: Operation) -> BlockCommand {
    let [_, _, flags, ..] = entry.cdw10;
    BlockCommand { operation, lba: Lba(entry.lba()), blocks: (flags & 0xffff).wrapping_add(1) }
}

fn write_zeroes(entry: &SubmissionEntry, durability: Durability) -> Command {
    let [_, _, flags, ..] = entry.cdw10;
    let unmaps = flags & io_flags::DEALLOCATE != 0;
    let operation = if unmaps { Operation::WriteZeroesUnmap } else { Operation::WriteZeroes };
    let command = block_command(entry, operation);
    match durability {
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

fn copy(entry: &SubmissionEntry, durability: Durability) -> Result<Command, CommandStatus> {
    let [_, _, flags, ..] = entry.cdw10;
    // Bits 8 to 11: format of the ranges, of which there is one without protection information.
    if flags >> 8 & 0xf != 0 {
        return Err(CommandStatus::refused(StatusCode::INVALID_FIELD));
    }
    let ranges = (flags & 0xff).wrapping_add(1);
    Ok(Command::Copy { lba: Lba(entry.lba()), ranges, durability })
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
