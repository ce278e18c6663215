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

/// Bits of a CDB's first word that tell transfers from other commands: operation code, and flags that must be zero.
const TELLING: u64 = in_word(!WRITES, 0) | in_word(!FLAGS, 1);

/// Group number of a CDB of 10 bytes in the first word, and control byte in the second.
const SHORT_ZERO: [u64; 2] = [in_word(0xff, 6), in_word(0xff, 1)];

/// Group number and control byte of a CDB of 16 bytes, in the second word.
const LONG_ZERO: u64 = in_word(0xff, 6) | in_word(0xff, 7);

/// A byte in its place in a word of eight bytes.
const fn in_word(byte: u8, place: u32) -> u64 {
    (byte as u64) << (56 - 8 * place)
}

/// The read or write of a CDB; none if it is another command, or is not in order, or is to be looked at more closely.
/// Whether its blocks are on the unit, and whether that is read-only, is for the volume to check.
#[inline(always)]
#[must_use]
pub fn transfer(cdb: &[u8; 32], view: &UnitView) -> Option<Transfer> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *cdb;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let second = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
    let (lba, blocks) = if first & (TELLING | SHORT_ZERO[0]) == in_word(Opcode::READ_10.0, 0) {
        if second & SHORT_ZERO[1] != 0 {
            return None;
        }
        (first >> 16 & 0xffff_ffff, (first << 8 | second >> 56) & 0xffff)
    } else {
        if first & TELLING != in_word(Opcode::READ_16.0, 0) || second & LONG_ZERO != 0 {
            return None;
        }
        (first << 16 | second >> 48, second >> 16 & 0xffff_ffff)
    };
    // Initiators mix reads and writes: a branch here would be mispredicted.
    let durable = first & in_word(flags::FUA, 1) != 0;
    let durability = select_unpredictable(durable, Durability::Media, view.least_durability);
    let reads = first & in_word(WRITES, 0) == 0;
    let operation = select_unpredictable(reads, Operation::Read, Operation::Write(durability));
    // No more than 32 bits.
    Some(Transfer { operation, lba: Lba(lba), blocks: u32::try_from(blocks).unwrap_or(0) })
}
