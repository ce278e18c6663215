//! Generator of numbers: the SplitMix64 sequence of a seed.

/// Added to the state for each number: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Generator of the numbers that belong to a seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Generator for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next number, any of 64 bits.
    #[inline]
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let once = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        twice ^ (twice >> 31)
    }

    /// Returns a number below `end`; zero if `end` is zero.
    #[inline]
    pub fn below<N: Unsigned>(&mut self, end: N) -> N {
        // The high half of the product is a fraction of `end`, and needs no division.
        let product = u128::from(self.number()) * u128::from(end.widened());
        N::narrowed(u64::try_from(product >> 64).unwrap_or(0))
    }

    /// Returns a number from `first` to `last`, both included; `first` if `last` is below it.
    pub fn between<N: Unsigned>(&mut self, first: N, last: N) -> N {
        let steps = last.widened().saturating_sub(first.widened());
        let step = if steps == u64::MAX { self.number() } else { self.below(steps + 1) };
        N::narrowed(first.widened() + step)
    }

    /// Whether an event happens that happens once in `times`.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Returns one of `items`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Shuffles a list.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }

    /// Returns `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

/// Unsigned integer of at most 64 bits.
pub trait Unsigned: Copy {
    /// Converts to 64 bits.
    fn widened(self) -> u64;

    /// Converts from a number that fits.
    ///
    /// # Panics
    /// If it does not fit.
    fn narrowed(number: u64) -> Self;
}

macro_rules! unsigned {
    ($($integer:ty),*) => {$(
        impl Unsigned for $integer {
            #[inline]
            fn widened(self) -> u64 {
                self as u64
            }

            #[inline]
            fn narrowed(number: u64) -> Self {
                Self::try_from(number).expect("a number within the bounds that the caller gave")
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, usize);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn equal_seeds_give_equal_numbers() {
        assert_eq!(Random::new(1).bytes(100), Random::new(1).bytes(100));
    }

    #[test]
    fn different_seeds_give_different_numbers() {
        assert_ne!(Random::new(1).bytes(100), Random::new(2).bytes(100));
    }

    #[test]
    fn the_sequence_is_that_of_the_published_algorithm() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_below_an_end_are_all_those_below_it() {
        let mut random = Random::new(1);
        let seen: BTreeSet<u8> = (0..1000).map(|_| random.below(4)).collect();
        assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn numbers_between_two_are_these_and_all_within() {
        let mut random = Random::new(1);
        let seen: BTreeSet<u32> = (0..1000).map(|_| random.between(3, 6)).collect();
        assert_eq!(seen, BTreeSet::from([3, 4, 5, 6]));
    }

    #[test]
    fn bounds_that_leave_no_choice_are_answered() {
        let mut random = Random::new(1);
        assert_eq!(random.below(0_u64), 0);
        assert_eq!(random.between(7_u16, 7), 7);
        assert_eq!(random.between(7_u16, 6), 7);
    }

    #[test]
    fn every_order_of_a_list_can_come_out() {
        let mut random = Random::new(1);
        let shuffled = |random: &mut Random| {
            let mut list = [1, 2, 3];
            random.shuffle(&mut list);
            list
        };
        let seen: BTreeSet<[u8; 3]> = (0..1000).map(|_| shuffled(&mut random)).collect();
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn every_byte_is_filled_whatever_the_length() {
        for len in 0..20 {
            let mut together = vec![0; len];
            (0..20).for_each(|seed| {
                let bytes = Random::new(seed).bytes(len);
                together.iter_mut().zip(bytes).for_each(|(all, byte)| *all |= byte);
            });
            assert!(together.iter().all(|&byte| byte != 0), "{len} bytes");
        }
    }
}
