//! Buckets of a latency histogram: log-linear, eight for each doubling, in units of 64 ticks.
//!
//! ```text
//!   index  0 .. 7     8 .. 15     16 .. 23      24 .. 31   ...
//!   ticks  0 .. 511   512 .. 1023 1024 .. 2047  2048 ..    ...   2^37
//!   width  64         64          128           256        ...
//! ```
//!
//! So a bucket is at most an eighth wider than its lower end, from 512 ticks on. The last one has all that is longer.

/// Bits of a time within its doubling.
pub(crate) const BITS: u32 = 3;

/// Bits of a unit in ticks: 64 ticks are about 25 ns.
const UNIT: u32 = 6;

/// Number of buckets: up to 2^37 ticks, about 50 seconds.
pub(crate) const COUNT: usize = 232;

/// Bucket of a time.
#[inline]
pub(crate) const fn of(ticks: u64) -> usize {
    let units = ticks >> UNIT;
    let doubling = (units | 1 << BITS).ilog2() - BITS;
    let index = ((doubling as usize) << BITS) + (units >> doubling) as usize;
    if index < COUNT { index } else { COUNT - 1 }
}

/// Ticks at which a bucket ends, itself not in it.
pub(crate) const fn end(index: usize) -> u64 {
    let per_doubling = 1_usize << BITS;
    if index < per_doubling {
        return (index as u64 + 1) << UNIT;
    }
    let doubling = index / per_doubling - 1;
    ((index % per_doubling + per_doubling) as u64 + 1) << doubling << UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks at which a bucket begins.
    fn start(index: usize) -> u64 {
        index.checked_sub(1).map_or(0, end)
    }

    #[test]
    fn each_time_is_in_the_bucket_between_whose_ends_it_is() {
        let around = (0..37).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, (1 << bit) + (1 << bit) / 3]);
        for ticks in (0..5000).chain(around) {
            let index = of(ticks);
            assert!(start(index) <= ticks, "{ticks} ticks are in bucket {index}");
            assert!(ticks < end(index), "{ticks} ticks are in bucket {index}");
        }
    }

    #[test]
    fn buckets_follow_each_other_and_are_an_eighth_wide_at_most() {
        assert_eq!(end(COUNT - 1), 1 << 37);
        for index in 8..COUNT {
            let width = end(index) - start(index);
            assert!(width * 8 <= start(index), "bucket {index}");
            assert_eq!(of(end(index - 1)), index);
        }
    }

    #[test]
    fn what_takes_longer_than_all_buckets_is_in_the_last() {
        assert_eq!(of(1 << 37), COUNT - 1);
        assert_eq!(of(u64::MAX), COUNT - 1);
    }
}
