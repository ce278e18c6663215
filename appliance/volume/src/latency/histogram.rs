//! A reading of the latencies of one class, or of several together.

use super::bucket;

/// Latencies of requests, in ticks of the time stamp counter. Readings of cores and classes add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Number of requests of each bucket; none at all in an empty reading.
    pub(super) buckets: Vec<u64>,
    pub(super) sum: u64,
    /// Shortest and longest latency; none where there was no request since they were last forgotten.
    pub(super) extremes: Option<(u64, u64)>,
}

impl Histogram {
    /// Bits of a time within its doubling: buckets are 2^-`BITS` of it wide.
    pub const BITS: u32 = bucket::BITS;

    /// Number of requests.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all latencies.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Shortest latency; zero without requests.
    #[must_use]
    pub fn shortest(&self) -> u64 {
        self.extremes.map_or(0, |(shortest, _)| shortest)
    }

    /// Longest latency; zero without requests.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.extremes.map_or(0, |(_, longest)| longest)
    }

    /// Latency that `per_mille` of a thousand requests do not exceed: the end of its bucket, within the shortest and
    /// the longest latency. Zero without requests.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = u128::from(self.count()) * u128::from(per_mille);
        let mut seen = 0_u128;
        let reached = self.used().find(|&(_, count)| {
            seen += u128::from(count) * 1000;
            seen >= rank
        });
        let end = reached.map_or(0, |(end, _)| end);
        self.extremes.map_or(end, |(shortest, longest)| end.clamp(shortest, longest))
    }

    /// The buckets that have requests: the ticks at which each ends, and its number of requests. Ends ascend.
    pub fn used(&self) -> impl Iterator<Item = (u64, u64)> {
        let all = self.buckets.iter().enumerate().filter(|&(_, &count)| count > 0);
        all.map(|(index, &count)| (bucket::end(index), count))
    }

    /// Adds another reading.
    pub fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(one, other)| *one = one.wrapping_add(*other));
        self.sum = self.sum.wrapping_add(other.sum);
        self.extremes = match (self.extremes, other.extremes) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }

    /// Requests since an earlier reading. The shortest and longest latencies remain those of all.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let earlier_of = |index| earlier.buckets.get(index).copied().unwrap_or(0);
        let left = |(index, count): (usize, &u64)| count.wrapping_sub(earlier_of(index));
        Self {
            buckets: self.buckets.iter().enumerate().map(left).collect(),
            sum: self.sum.wrapping_sub(earlier.sum),
            extremes: self.extremes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::{Latencies, LatencyClass};
    use luge_block::{Kind, SizeClass, Tag};

    /// Histogram of reads that took so many ticks.
    fn of(latencies: &[u64]) -> Histogram {
        let counts = Latencies::new(512);
        let tag = Tag::new(1, 2).through(Tag::of_volume(3), Kind::Read).sized(SizeClass::of(1));
        latencies.iter().for_each(|&ticks| counts.add(tag, ticks, 1));
        counts.read(LatencyClass::all().next().unwrap())
    }

    #[test]
    fn extremes_and_sum_are_exact() {
        let histogram = of(&[1001, 70_007, 33]);
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.sum(), 71_041);
        assert_eq!(histogram.shortest(), 33);
        assert_eq!(histogram.longest(), 70_007);
    }

    #[test]
    fn quantiles_are_right_to_an_eighth_and_never_beyond_the_longest() {
        let histogram = of(&(1..=1000).map(|n| n * 1000).collect::<Vec<_>>());
        for (per_mille, exact) in [(500, 500_000), (990, 990_000), (999, 999_000)] {
            let found = histogram.quantile(per_mille);
            assert!((exact..=exact + exact / 8).contains(&found), "{per_mille}: {found}");
        }
        assert_eq!(histogram.quantile(1000), 1_000_000);
    }

    #[test]
    fn without_requests_all_is_zero() {
        for histogram in [Histogram::default(), of(&[])] {
            assert_eq!(histogram.count(), 0);
            assert_eq!(histogram.quantile(500), 0);
            assert_eq!(histogram.shortest(), 0);
            assert_eq!(histogram.used().count(), 0);
        }
    }

    #[test]
    fn readings_add_up_and_what_was_before_is_taken_off() {
        let (early, late) = (of(&[100, 200]), of(&[300, 90_000]));
        let mut both = early.clone();
        both.add(&late);
        assert_eq!(both.count(), 4);
        assert_eq!(both.longest(), 90_000);
        let since = both.since(&early);
        assert_eq!(since.used().collect::<Vec<_>>(), late.used().collect::<Vec<_>>());
        assert_eq!(since.sum(), late.sum());
        let mut none = Histogram::default();
        none.add(&late);
        assert_eq!(none, late);
    }
}
