//! Histograms of the sled, with the fixed bounds that Prometheus needs.

use super::text::Cumulative;
use luge_observe::{Bucket, Histogram};

/// Bounds, as powers of two of nanoseconds: 1.024 us to 17.2 s.
///
/// The sled's buckets are an eighth of that wide or less, and have other bounds. A bucket counts at the first bound that
/// is not below its own.
const POWERS: std::ops::RangeInclusive<u32> = 10..=34;

/// Nanoseconds of a second.
const NS: f64 = 1e9;

/// Latencies of all sizes of one operation.
pub fn cumulative(latencies: &[&Histogram]) -> Vec<Cumulative> {
    let buckets = || latencies.iter().flat_map(|latency| &latency.buckets);
    let up_to = |bound: u64| sum(buckets().filter(|bucket| bucket.upper_ns <= bound));
    let bounded = POWERS.map(|power| 1_u64 << power);
    let bounded = bounded.map(|bound| Cumulative { bound: Some(seconds(bound)), count: up_to(bound) });
    bounded.chain([Cumulative { bound: None, count: sum(buckets()) }]).collect()
}

fn sum<'a>(buckets: impl Iterator<Item = &'a Bucket>) -> u64 {
    buckets.fold(0, |sum, bucket| sum.saturating_add(bucket.count))
}

#[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_observe::Operation;

    fn latency(buckets: &[[u64; 2]]) -> Histogram {
        let bucket = |&[upper_ns, count]: &[u64; 2]| Bucket { upper_ns, count };
        Histogram {
            operation: Operation::Read,
            size_class: "4KiB".into(),
            sum_ns: 0,
            min_ns: None,
            max_ns: None,
            buckets: buckets.iter().map(bucket).collect(),
        }
    }

    fn count_at(buckets: &[Cumulative], bound: Option<f64>) -> u64 {
        buckets.iter().find(|bucket| bucket.bound == bound).unwrap().count
    }

    #[test]
    fn requests_of_all_sizes_are_counted_up_to_each_bound() {
        let (small, large) =
            (latency(&[[900, 1], [1024, 2], [1025, 4]]), latency(&[[2048, 8], [u64::MAX, 16]]));
        let buckets = cumulative(&[&small, &large]);
        assert_eq!(count_at(&buckets, Some(1.024e-6)), 3);
        assert_eq!(count_at(&buckets, Some(2.048e-6)), 15);
        assert_eq!(count_at(&buckets, None), 31);
    }

    #[test]
    fn bounds_are_the_same_whatever_was_counted() {
        let bounds = |buckets: Vec<Cumulative>| buckets.iter().map(|bucket| bucket.bound).collect::<Vec<_>>();
        assert_eq!(bounds(cumulative(&[])), bounds(cumulative(&[&latency(&[[7, 1]])])));
    }
}
