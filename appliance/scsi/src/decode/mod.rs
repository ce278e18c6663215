//! From the bytes of a CDB to a command.

mod blocks;
mod checks;
mod transfer;
mod unmap;

pub use transfer::{Transfer, transfer};
pub use unmap::{UNMAP_LIST_BYTES_MAX, UnmapRanges};

use crate::bytes::u8_at;
use crate::catalog::{self, Kind};
use crate::cdb::Fields;
use crate::command::Command;
use crate::sense::Sense;
use crate::view::UnitView;
use luge_spec::scsi::start_stop_unit;

/// Reads the CDB of a command for a logical unit. Bytes behind those that its operation code asks for are not looked
/// at. Of a command of the device server, only the bits are checked that must be zero.
///
/// # Errors
/// The sense data with which the command is to be refused (CHECK CONDITION).
pub fn decode(cdb: &[u8], view: &UnitView) -> Result<Command, Sense> {
    let entry = catalog::find(cdb, view)?;
    let fields = Fields::read(cdb).ok_or(Sense::invalid_opcode())?;
    match entry.kind {
        Kind::Read => blocks::read(&fields, view),
        Kind::Write => blocks::write(&fields, view),
        Kind::WriteAndVerify => blocks::write_and_verify(&fields, view),
        Kind::Verify => blocks::verify(&fields, view),
        Kind::SynchronizeCache => blocks::synchronize_cache(&fields, view),
        Kind::WriteSame => blocks::write_same(&fields, view),
        Kind::CompareAndWrite => blocks::compare_and_write(&fields, view),
        Kind::Unmap => unmap::unmap(&fields, view),
        Kind::StartStop => Ok(start_stop(cdb)),
        Kind::DeviceServer => Ok(Command::Relayed),
    }
}

/// START STOP UNIT: a stop is a flush, too, unless it says NO_FLUSH. SBC-4, clause 5.31.
fn start_stop(cdb: &[u8]) -> Command {
    let keeps_cache = u8_at(cdb, 4) & (start_stop_unit::START | start_stop_unit::NO_FLUSH) != 0;
    if keeps_cache { Command::Relayed } else { Command::Stop }
}
