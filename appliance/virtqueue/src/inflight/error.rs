//! Errors of regions.

use thiserror::Error;

/// Reason why chains in flight cannot be resumed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InflightError {
    /// The part of a queue is not inside the region, or not aligned.
    #[error("the in-flight region is too short, or not aligned to 8 bytes")]
    Shape,
    /// The layout is unknown.
    #[error(
        "the in-flight region has version {version} and features {features:#x}, of which nothing is known"
    )]
    Layout {
        /// Version in the region.
        version: u16,
        /// Features in the region.
        features: u64,
    },
    /// The region is for queues of another size.
    #[error("the in-flight region is for {region} descriptors a queue, the ring has {ring}")]
    Size {
        /// Descriptors in the region.
        region: u16,
        /// Descriptors of the ring.
        ring: u16,
    },
    /// A link of the last batch, or a chain in flight, is past the end.
    #[error("the in-flight region names chain {0}, which the ring does not have")]
    Head(u16),
    /// More chains are in flight than the driver waits for.
    #[error("the in-flight region has {inflight} chains in flight, the driver waits for {outstanding} only")]
    TooMany {
        /// Chains in flight.
        inflight: usize,
        /// Chains that were made available and not used.
        outstanding: u16,
    },
}
