//! Fused compare and write of a namespace's first block. NVM Express Base 2.0, clause 3.4.2.

use super::queue::QueuePair;
use crate::queue::{Done, Queue};
use crate::swap::Swap;
use luge_memory::Span;
use luge_spec::nvme::{IoOpcode, StatusCode};

/// Slots of the two commands of a compare-and-write.
const fn slots(swap: u16) -> [u16; 2] {
    [2 * swap, 2 * swap + 1]
}

/// First and second command of a fused operation, in the first word of a command.
const FIRST: u64 = 1 << 8;
const SECOND: u64 = 2 << 8;

impl Swap for QueuePair {
    const BLOCKS: u32 = 1;
    const SLOTS_EACH: u16 = 2;

    fn operands(&self, swap: u16) -> [Span; 2] {
        slots(swap).map(|slot| self.data(slot))
    }

    fn submit_swap(&mut self, swap: u16) {
        let [compare, write] = slots(swap);
        self.submit_as(compare, u64::from(IoOpcode::COMPARE.0) | FIRST);
        self.submit_as(write, u64::from(IoOpcode::WRITE.0) | SECOND);
    }

    fn was_swapped(&self, swap: u16, done: &[Done]) -> Result<bool, String> {
        let [compare, write] = slots(swap);
        let status = |slot| done.iter().find(|one| one.slot == slot).map_or(0, |one| one.status & 0x7ff);
        match (status(compare), status(write)) {
            (0, 0) => Ok(true),
            (compare, _) if StatusCode(compare) == StatusCode::COMPARE_FAILURE => Ok(false),
            (0, status) | (status, _) => {
                Err(format!("a compare-and-write has failed with status {}", Self::status(status)))
            }
        }
    }
}
