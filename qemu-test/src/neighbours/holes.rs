//! Holes punched into the memory of a ring that is polled: a core that touches a page of a hole sleeps in
//! the kernel until the hole is complete.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;

/// Size of the memory: the larger it is, the longer a hole takes.
const MEMORY_BYTES: u64 = 256 << 20;

/// Memory that is punched and filled in turns.
pub(super) struct Holes;

impl Neighbour for Holes {
    fn name(&self) -> String {
        "holes in its memory".to_owned()
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        // An empty ring: all its words are zero, also after they were in a hole.
        let ring = Ring { size: 256, at: 4096 };
        let front_end = FrontEnd::connect(&target.disks[0], Memory::new(MEMORY_BYTES)?)?;
        front_end.start(0, &ring)?;
        Ok(Box::new(Punching(front_end)))
    }
}

struct Punching(FrontEnd);

impl Activity for Punching {
    fn act(&mut self) -> Result<(), TestError> {
        self.0.memory.fill()?;
        self.0.kick();
        self.0.memory.punch()?;
        self.0.check()
    }
}
