//! Time by criterion: short measurements without plots.

use criterion::Criterion;
use std::time::Duration;

/// Runs a benchmark of time; the body of its `main`.
pub fn time(measure: impl FnOnce(&mut Criterion)) {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    measure(&mut criterion);
    criterion.final_summary();
}
