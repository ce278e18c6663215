//! Where requests go, and whether they write.

use crate::options::{Direction, Options};

/// Chooses units: a request's worth of blocks each.
pub(crate) struct Choice {
    direction: Direction,
    pub(crate) unit_sectors: u64,
    /// Units of the disk.
    pub(crate) units: u64,
    next: u64,
    random: u64,
}

impl Choice {
    pub(crate) fn new(options: &Options, sectors: u64) -> Self {
        let unit_sectors = u64::from(options.bs / 512);
        let random = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
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
        let (draw, count) = (u128::from(self.draw()), u128::from(count));
        u64::try_from((draw * count) >> 64).unwrap_or(0)
    }

    /// Whether the next request writes.
    #[inline]
    pub(crate) fn writes(&mut self) -> bool {
        match self.direction {
            Direction::Read | Direction::RandRead => false,
            Direction::Write | Direction::RandWrite => true,
            Direction::RandRw => self.draw() & 1 == 1,
        }
    }

    /// A number that looks random (xorshift64*).
    fn draw(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
