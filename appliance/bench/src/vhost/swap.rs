//! COMPARE AND WRITE of a LUN's first block. SBC-4, clause 5.3.

use super::ring::Ring;
use super::scsi::{Scsi, sense_key, write_cdb};
use crate::queue::{Done, Queue};
use crate::swap::{BLOCK_BYTES, Swap};
use luge_memory::Span;
use luge_spec::scsi::Opcode;

/// Slot of the compare-and-write.
const SWAPPER: u16 = 0;
/// Sense key MISCOMPARE.
const MISCOMPARE: u8 = 0xe;

impl Swap for Ring<Scsi> {
    const BLOCKS: u32 = 2;
    const SLOTS: u16 = 2;
    const READER: u16 = 1;

    fn operands(&self) -> [Span; 2] {
        self.data(SWAPPER).split_at(BLOCK_BYTES).into()
    }

    fn submit_swap(&mut self) {
        let mut cdb = [0; 32];
        cdb[0] = Opcode::COMPARE_AND_WRITE.0;
        cdb[13] = 1;
        self.turn(SWAPPER, true);
        write_cdb(self.lines(SWAPPER), &cdb);
        self.submit_prepared(SWAPPER, 0);
        self.publish();
    }

    fn was_swapped(&self, done: &[Done]) -> Result<bool, String> {
        match done[0].status {
            0 => Ok(true),
            _ if sense_key(self.lines(SWAPPER)) == Some(MISCOMPARE) => Ok(false),
            status => Err(format!("COMPARE AND WRITE has failed with status {}", Self::status(status))),
        }
    }
}
