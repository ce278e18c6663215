//! Rings that are stopped and started, and memory that is shared anew, without a pause: each is a message to
//! the core.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;

const RINGS: u16 = 64;

/// Rings that restart.
pub(super) struct Restarts;

impl Neighbour for Restarts {
    fn name(&self) -> String {
        format!("{RINGS} rings that restart")
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let rings = Ring::row(RINGS, 256, 4096);
        let memory = Memory::new(rings.last().map_or(0, Ring::end))?;
        let front_end = FrontEnd::connect(&target.disks[0], memory)?;
        rings.iter().zip(0..).try_for_each(|(ring, index)| front_end.start(index, ring))?;
        Ok(Box::new(Restarting(front_end)))
    }
}

struct Restarting(FrontEnd);

impl Activity for Restarting {
    fn act(&mut self) -> Result<(), TestError> {
        for index in 0..RINGS {
            self.0.enable(index, 0)?;
            self.0.enable(index, 1)?;
        }
        self.0.share()
    }
}
