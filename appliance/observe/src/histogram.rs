//! Latencies of one operation of one volume, as `luge_get_latency` tells them.

use crate::answer;
use serde_json::Value;

/// Operation of a volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Unmap, also called discard.
    Unmap,
    /// Flush.
    Flush,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Unmap, Self::Flush];

    /// Name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Unmap => "unmap",
            Self::Flush => "flush",
        }
    }
}

/// Bucket of a histogram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Upper bound of the latencies, in nanoseconds.
    pub upper_ns: u64,
    /// Number of requests in this bucket alone.
    pub count: u64,
}

/// Latencies of the requests of one operation and size class, since the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    /// Operation.
    pub operation: Operation,
    /// Size class of the requests, such as `4KiB`.
    pub size_class: String,
    /// Sum of the latencies in nanoseconds.
    pub sum_ns: u64,
    /// Shortest latency in nanoseconds.
    pub min_ns: Option<u64>,
    /// Longest latency in nanoseconds.
    pub max_ns: Option<u64>,
    /// Buckets that are not empty, by rising bounds.
    pub buckets: Vec<Bucket>,
}

impl Histogram {
    /// Number of requests in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        total(&self.buckets)
    }

    /// Histogram in an answer; `None` for an unknown operation.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let name = answer::text(value, "operation")?;
        let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name)?;
        // Bounds that differ by less than a nanosecond are one.
        let buckets = merged([answer::list(value, "buckets").filter_map(bucket).collect()]);
        Some(Self {
            operation,
            size_class: answer::text(value, "size_class").unwrap_or_default(),
            sum_ns: answer::number(value, "sum_ns").unwrap_or(0),
            min_ns: answer::number(value, "min_ns"),
            max_ns: answer::number(value, "max_ns"),
            buckets,
        })
    }
}

fn bucket(value: &Value) -> Option<Bucket> {
    match value.as_array()?.as_slice() {
        [upper, count] => Some(Bucket { upper_ns: upper.as_u64()?, count: count.as_u64()? }),
        _ => None,
    }
}

fn total(buckets: &[Bucket]) -> u64 {
    buckets.iter().fold(0, |sum, bucket| sum.saturating_add(bucket.count))
}

/// Buckets of `now` without the requests that `before` had; all of `now` if a count went back, as after a
/// restart.
pub(crate) fn since(before: &[Bucket], now: &[Bucket]) -> Vec<Bucket> {
    let earlier = |bound: u64| {
        let found = before.binary_search_by_key(&bound, |bucket| bucket.upper_ns);
        found.ok().and_then(|at| before.get(at)).map_or(0, |bucket| bucket.count)
    };
    let newer = |bucket: &Bucket| {
        Some(Bucket { count: bucket.count.checked_sub(earlier(bucket.upper_ns))?, ..*bucket })
    };
    now.iter().map(newer).collect::<Option<Vec<_>>>().unwrap_or_else(|| now.to_vec())
}

/// Adds the buckets of several histograms.
pub(crate) fn merged(all: impl IntoIterator<Item = Vec<Bucket>>) -> Vec<Bucket> {
    let mut sum = std::collections::BTreeMap::<u64, u64>::new();
    for bucket in all.into_iter().flatten() {
        let count = sum.entry(bucket.upper_ns).or_default();
        *count = count.saturating_add(bucket.count);
    }
    sum.into_iter().map(|(upper_ns, count)| Bucket { upper_ns, count }).collect()
}

/// Upper bound of the bucket that holds a quantile, given in thousandths; `None` without requests.
pub(crate) fn quantile_ns(buckets: &[Bucket], thousandths: u64) -> Option<u64> {
    let wanted = u128::from(total(buckets)) * u128::from(thousandths);
    let mut seen = 0_u128;
    let reaches = |bucket: &&Bucket| {
        seen = seen.saturating_add(u128::from(bucket.count) * 1000);
        bucket.count > 0 && seen >= wanted
    };
    buckets.iter().find(reaches).map(|bucket| bucket.upper_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn buckets(list: &[(u64, u64)]) -> Vec<Bucket> {
        list.iter().map(|&(upper_ns, count)| Bucket { upper_ns, count }).collect()
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let latencies = buckets(&[(10, 50), (20, 49), (1000, 1)]);
        assert_eq!(quantile_ns(&latencies, 500), Some(10));
        assert_eq!(quantile_ns(&latencies, 990), Some(20));
        assert_eq!(quantile_ns(&latencies, 999), Some(1000));
        assert_eq!(quantile_ns(&[], 500), None);
        assert_eq!(quantile_ns(&buckets(&[(10, 0)]), 500), None);
        assert_eq!(quantile_ns(&buckets(&[(10, u64::MAX), (20, u64::MAX)]), 999), Some(10));
    }

    #[test]
    fn requests_since_a_look_are_those_of_each_bucket() {
        let before = buckets(&[(10, 5), (30, 1)]);
        let now = buckets(&[(10, 7), (20, 1), (30, 1)]);
        assert_eq!(since(&before, &now), buckets(&[(10, 2), (20, 1), (30, 0)]));
    }

    #[test]
    fn counts_that_went_back_are_those_of_a_new_start() {
        let now = buckets(&[(10, 2)]);
        assert_eq!(since(&buckets(&[(10, 5)]), &now), now);
    }

    #[test]
    fn buckets_of_an_answer_are_sorted_and_merged_and_odd_ones_are_left_out() {
        let answer = json!({ "operation": "read", "size_class": "4KiB", "sum_ns": 9,
            "buckets": [[20, 1], [10, 1], [10, 1], [1], "x", [5, -1]] });
        let histogram = Histogram::read(&answer).unwrap();
        assert_eq!(histogram.buckets, buckets(&[(10, 2), (20, 1)]));
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.min_ns, None);
        assert_eq!(Histogram::read(&json!({ "operation": "fold" })), None);
    }
}
