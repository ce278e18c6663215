//! How long a guest's address takes to become a span, by how many regions its memory has.
//!
//! `cargo bench -p luge-memory --bench translation`.

mod guest;

use criterion::{Criterion, Throughput};
use guest::{ADDRESSES, CASES, Guest};
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    let mut group = criterion.benchmark_group(format!("{ADDRESSES} translations"));
    group.throughput(Throughput::Elements(ADDRESSES.into()));
    for (name, regions, order) in CASES {
        let guest = Guest::new(regions, order);
        assert_eq!(guest.translate(), ADDRESSES);
        group.bench_function(name, |bencher| bencher.iter(|| guest.translate()));
    }
    group.finish();
    criterion.final_summary();
}
