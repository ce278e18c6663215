//! Chains without an end: the last descriptor of each names the first one again.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::ring::{Descriptor, NEXT, Ring};
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(1);

/// Rings full of chains that loop through all descriptors.
pub(super) struct Loops {
    pub(super) rings: u16,
    pub(super) size: u16,
}

impl Neighbour for Loops {
    fn name(&self) -> String {
        format!("{} rings of {} looping chains", self.rings, self.size)
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let rings = Ring::row(self.rings, self.size, 4096);
        let end = rings.last().map_or(0, Ring::end);
        let memory = Memory::new(end + 4096)?;
        for ring in &rings {
            let chain = (0..self.size).map(|n| Descriptor {
                address: end,
                len: 16,
                flags: NEXT,
                next: (n + 1) % self.size,
            });
            ring.describe(&memory, chain)?;
            ring.queue(&memory, |n| n)?;
        }
        let front_end = FrontEnd::connect(&target.disks[0], memory)?;
        rings.iter().zip(0..).try_for_each(|(ring, index)| front_end.start(index, ring))?;
        Ok(Box::new(Looping { front_end, rings }))
    }
}

struct Looping {
    front_end: FrontEnd,
    rings: Vec<Ring>,
}

impl Activity for Looping {
    fn act(&mut self) -> Result<(), TestError> {
        for ring in &self.rings {
            ring.offer(&self.front_end.memory, ring.size / 4 * 3)?;
        }
        self.front_end.kick();
        self.front_end.check()?;
        std::thread::sleep(PAUSE);
        Ok(())
    }
}
