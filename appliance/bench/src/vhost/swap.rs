//! COMPARE AND WRITE of a LUN's first block. SBC-4, clause 5.3.

use super::ring::Ring;
use super::scsi::{Scsi, sense_key, write_cdb};
use crate::queue::{Done, Queue};
use crate::swap::{BLOCK_BYTES, Swap};
use luge_memory::Span;
use luge_spec::scsi::Opcode;

/// Sense key MISCOMPARE.
const MISCOMPARE: u8 = 0xe;

impl Swap for Ring<Scsi> {
    const BLOCKS: u32 = 2;
    const SLOTS_EACH: u16 = 1;

    fn operands(&self, swap: u16) -> [Span; 2] {
        self.data(swap).split_at(BLOCK_BYTES).into()
    }

    fn submit_swap(&mut self, swap: u16) {
        let mut cdb = [0; 32];
        cdb[0] = Opcode::COMPARE_AND_WRITE.0;
        cdb[13] = 1;
        self.turn(swap, true);
        write_cdb(self.lines(swap), &cdb);
        self.submit_prepared(swap, 0);
    }

    fn was_swapped(&self, swap: u16, done: &[Done]) -> Result<bool, String> {
        match done.iter().find(|one| one.slot == swap).map_or(0, |one| one.status) {
            0 => Ok(true),
            _ if sense_key(self.lines(swap)) == Some(MISCOMPARE) => Ok(false),
            status => Err(format!("COMPARE AND WRITE has failed with status {}", Self::status(status))),
        }
    }
}
