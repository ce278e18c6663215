//! Instructions per translation of a guest address, by number of memory regions.
//!
//! `cargo bench -p luge-memory --bench instructions` (`-- --keep` keeps the counts in `instructions.txt`).

mod guest;

use guest::{ADDRESSES, CASES, Guest};
use luge_measure::{Trace, counted};
use std::path::Path;

/// A trace of one case.
const fn trace<const CASE: usize>() -> Trace {
    Trace { name: CASES[CASE].0, run: run::<CASE> }
}

fn run<const CASE: usize>() -> u32 {
    let (_, regions, order) = CASES[CASE];
    let guest = Guest::new(regions, order);
    assert_eq!(counted(|| guest.translate()), ADDRESSES);
    ADDRESSES
}

fn main() -> std::io::Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let traces = [trace::<0>(), trace::<1>(), trace::<2>(), trace::<3>(), trace::<4>()];
    luge_measure::instructions("instructions per translation", &kept, &traces)
}
