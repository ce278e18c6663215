//! As many rings as a disk may have, in which there is never a request.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;

const RINGS: u16 = 256;

/// Rings that stay empty.
pub(super) struct Idle;

impl Neighbour for Idle {
    fn name(&self) -> String {
        format!("{RINGS} idle rings")
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let rings = Ring::row(RINGS, 256, 4096);
        let memory = Memory::new(rings.last().map_or(0, Ring::end))?;
        let front_end = FrontEnd::connect(&target.disks[0], memory)?;
        rings.iter().zip(0..).try_for_each(|(ring, index)| front_end.start(index, ring))?;
        Ok(Box::new(Waiting(front_end)))
    }
}

/// A front end that does nothing but stay.
struct Waiting(FrontEnd);

impl Activity for Waiting {
    fn act(&mut self) -> Result<(), TestError> {
        if self.0.is_closed_within(10) { self.0.check() } else { Ok(()) }
    }
}
