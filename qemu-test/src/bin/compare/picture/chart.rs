//! Content of a picture.

use crate::stats::Spread;

/// A chart: groups of bars, one bar of a group for each series.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Meaning of the numbers.
    pub(super) unit: &'static str,
    pub(super) series: Vec<&'static str>,
    pub(super) groups: Vec<Group>,
}

/// Bars that are compared with each other.
pub(super) struct Group {
    pub(super) label: String,
    /// A bar for each series; none where nothing was measured.
    pub(super) bars: Vec<Option<Spread>>,
}
