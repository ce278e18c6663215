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
    /// Number of blocks. Zero is for the volume to refuse.
    pub blocks: u32,
}

/// Bit that tells writes from reads in their operation codes.
const WRITES: u8 = 0x02;

const _: () = assert!(Opcode::READ_10.0 | WRITES == Opcode::WRITE_10.0);
const _: () = assert!(Opcode::READ_16.0 | WRITES == Opcode::WRITE_16.0);

/// Bits of the second byte that do not matter, or that a transfer may have.
const FLAGS: u8 = flags::DPO | flags::FUA | flags::FUA_NV | flags::RELADR;

/// Place of a byte of a CDB in its first or second word of eight bytes, as a shift.
const fn byte(place: u32) -> u32 {
    56_u32.wrapping_sub((place % 8).wrapping_mul(8))
}

/// Bits of the first word that tell a transfer of either direction: operation code, and flags that it may not have.
const CODE: u64 = ((!WRITES as u64) << byte(0)) | ((!FLAGS as u64) << byte(1));

/// Bits of [`CODE`] of a CDB of 10 bytes, and the group number, which must be zero.
const CODE_10: u64 = CODE | 0xff << byte(6);

/// Values of those bits.
const READ_10: u64 = (Opcode::READ_10.0 as u64) << byte(0);
const READ_16: u64 = (Opcode::READ_16.0 as u64) << byte(0);

/// The read or write of a CDB, padded with zeroes; none if it is another command, or is not in order, or is to be looked at more closely.
/// Whether its blocks are on the unit, and whether that is read-only, is for the volume to check.
#[inline(always)]
#[must_use]
pub fn transfer(cdb: &[u8; 16], view: &UnitView) -> Option<Transfer> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *cdb;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let second = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
    let (lba, blocks) = if first & CODE_10 == READ_10 { short(first, second) } else { long(first, second) }?;
    // Initiators mix reads and writes: a branch here would be mispredicted.
    let durable = first & u64::from(flags::FUA) << byte(1) != 0;
    let durability = select_unpredictable(durable, Durability::Media, view.least_durability);
    let reads = first & u64::from(WRITES) << byte(0) == 0;
    let operation = select_unpredictable(reads, Operation::Read, Operation::Write(durability));
    Some(Transfer { operation, lba: Lba(lba), blocks })
}

/// First block and number of blocks of a CDB of 10 bytes, whose control byte is zero.
#[inline(always)]
fn short(first: u64, second: u64) -> Option<(u64, u32)> {
    let blocks = (first & 0xff) << 8 | second >> byte(0);
    let control = second >> byte(1) & 0xff;
    (control == 0).then_some((first >> byte(5) & 0xffff_ffff, low(blocks)))
}

/// First block and number of blocks of a CDB of 16 bytes, whose group number and control byte are zero.
#[inline(always)]
fn long(first: u64, second: u64) -> Option<(u64, u32)> {
    let is_transfer = first & CODE == READ_16 && second & 0xffff == 0;
    is_transfer.then_some((first << 16 | second >> byte(1), low(second >> byte(5))))
}

/// The lower half of a word.
#[inline(always)]
fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).unwrap_or(0)
}
