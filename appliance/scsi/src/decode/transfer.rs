//! Reads and writes by CDBs of 10 and 16 bytes, as nearly all commands are.
//!
//! Any other command, right or wrong, is left to [`super::decode`], which starts over.

use crate::view::UnitView;
use luge_block::{Lba, Operation};

/// A read or write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Operation of the request.
    pub operation: Operation,
    /// First block.
    pub lba: Lba,
    /// Number of blocks, at least one.
    pub blocks: u32,
}

/// The read or write of a CDB; none if it is another command, or is not in order, or is to be looked at more closely.
/// Whether its blocks are on the unit, and whether that is read-only, is for the volume to check.
#[inline(always)]
#[must_use]
pub fn transfer(_cdb: &[u8; 32], _view: &UnitView) -> Option<Transfer> {
    None
}
