//! Reads and writes by CDBs of 10 and 16 bytes, as nearly all commands are.
//!
//! Any other command, right or wrong, is left to [`super::decode`], which starts over.

use crate::view::UnitView;
use luge_block::{Durability, Lba, Operation};
use luge_spec::scsi::{Opcode, flags};
use std::hint::select_unpredictable;

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

/// Bit that tells writes from reads in their operation codes.
const WRITES: u8 = 0x02;

const _: () = assert!(Opcode::READ_10.0 | WRITES == Opcode::WRITE_10.0);
const _: () = assert!(Opcode::READ_16.0 | WRITES == Opcode::WRITE_16.0);

/// Bits of the second byte that do not matter, or that a transfer may have.
const FLAGS: u8 = flags::DPO | flags::FUA | flags::FUA_NV | flags::RELADR;

/// The read or write of a CDB; none if it is another command, or is not in order, or is to be looked at more closely.
/// Whether its blocks are on the unit, and whether that is read-only, is for the volume to check.
#[inline(always)]
#[must_use]
pub fn transfer(cdb: &[u8; 32], view: &UnitView) -> Option<Transfer> {
    let [opcode, flags, ..] = *cdb;
    let (lba, blocks, group, control) = match Opcode(opcode & !WRITES) {
        Opcode::READ_10 => short(cdb),
        Opcode::READ_16 => long(cdb),
        _ => return None,
    };
    if flags & !FLAGS != 0 || group | control != 0 || blocks == 0 {
        return None;
    }
    // Initiators mix reads and writes: a branch here would be mispredicted.
    let durable = flags & flags::FUA != 0;
    let durability = select_unpredictable(durable, Durability::Media, view.least_durability);
    let reads = opcode & WRITES == 0;
    let operation = select_unpredictable(reads, Operation::Read, Operation::Write(durability));
    Some(Transfer { operation, lba: Lba(lba), blocks })
}

/// First block, number of blocks, group number and control byte of a CDB of 10 bytes.
#[inline(always)]
fn short(cdb: &[u8; 32]) -> (u64, u32, u8, u8) {
    let [_, _, a, b, c, d, group, e, f, control, ..] = *cdb;
    (u32::from_be_bytes([a, b, c, d]).into(), u16::from_be_bytes([e, f]).into(), group, control)
}

/// First block, number of blocks, group number and control byte of a CDB of 16 bytes.
#[inline(always)]
fn long(cdb: &[u8; 32]) -> (u64, u32, u8, u8) {
    let [_, _, a, b, c, d, e, f, g, h, i, j, k, l, group, control, ..] = *cdb;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]), group, control)
}
