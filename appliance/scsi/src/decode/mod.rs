//! From the bytes of a CDB to a command.

mod transfer;

pub use transfer::{Transfer, transfer};

use crate::command::Command;
use crate::sense::Sense;
use crate::view::UnitView;

/// Reads the CDB of a command for a logical unit. Bytes behind those that its operation code asks for are not looked
/// at.
///
/// # Errors
/// The sense data with which the command is to be refused (CHECK CONDITION).
pub fn decode(_cdb: &[u8], _view: &UnitView) -> Result<Command, Sense> {
    Err(Sense::invalid_opcode())
}
