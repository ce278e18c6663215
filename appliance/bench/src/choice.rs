//! Where requests go, and whether they write.

use crate::options::{Direction, Options};
use luge_seeded::Random;

/// Chooses units: a request's worth of blocks each.
pub(crate) struct Choice {
    direction: Direction,
    pub(crate) unit_sectors: u64,
    /// Units of the disk.
    pub(crate) units: u64,
    next: u64,
    random: Random,
}

impl Choice {
    pub(crate) fn new(options: &Options, sectors: u64) -> Self {
        let unit_sectors = u64::from(options.bs / 512);
        let random = Random::new(options.seed);
        Self { direction: options.rw, unit_sectors, units: sectors / unit_sectors, next: 0, random }
    }

    pub(crate) const fn is_random(&self) -> bool {
        self.direction.is_random()
    }

    /// The unit of the next request: the following one, or any.
    #[inline]
    pub(crate) fn unit(&mut self) -> u64 {
        if self.is_random() {
            return self.any(self.units);
        }
        let at = self.next;
        self.next = if at + 1 < self.units { at + 1 } else { 0 };
        at
    }

    /// A random number below `count`.
    #[inline]
    pub(crate) fn any(&mut self, count: u64) -> u64 {
        self.random.below(count)
    }

    /// Whether the next request writes.
    #[inline]
    pub(crate) fn writes(&mut self) -> bool {
        match self.direction {
            Direction::Read | Direction::RandRead => false,
            Direction::Write | Direction::RandWrite => true,
            Direction::RandRw => self.random.once_in(2),
        }
    }
}
