//! Time per translation of a guest address, by number of memory regions.
//!
//! `cargo bench -p luge-memory --bench translation`.

mod guest;

use criterion::Throughput;
use guest::{ADDRESSES, CASES, Guest};

fn main() {
    luge_measure::time(|criterion| {
        let mut group = criterion.benchmark_group(format!("{ADDRESSES} translations"));
        group.throughput(Throughput::Elements(ADDRESSES.into()));
        for (name, regions, order) in CASES {
            let guest = Guest::new(regions, order);
            assert_eq!(guest.translate(), ADDRESSES);
            group.bench_function(name, |bencher| bencher.iter(|| guest.translate()));
        }
        group.finish();
    });
}
