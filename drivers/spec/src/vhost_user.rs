//! The in-flight region of vhost-user (specification, section "Inflight I/O tracking"), for split rings.
//!
//! ```text
//! region of a queue    features u64, version u16, desc_num u16, last_batch_head u16, used_idx u16,
//!                      then a descriptor state for each descriptor, then zeroes up to the alignment
//! descriptor state     inflight u8, padding u8 * 5, next u16, counter u64
//! ```

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The only version there is. Zero in a region that no back-end has used.
pub const INFLIGHT_VERSION: u16 = 1;

/// Alignment of the regions of queues, in bytes. The specification does not name it; all back-ends use this one.
pub const INFLIGHT_ALIGN: u64 = 64;

/// Start of a queue's region.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InflightHeader {
    /// Features of the region. None is defined.
    pub features: U64,
    /// [`INFLIGHT_VERSION`].
    pub version: U16,
    /// Number of descriptor states.
    pub desc_num: U16,
    /// Head of the chain that was completed last.
    pub last_batch_head: U16,
    /// Index of the used ring after the last batch whose chains are marked as not in flight.
    pub used_idx: U16,
}

const _: () = assert!(size_of::<InflightHeader>() == 16);

/// State of the chain that begins at one descriptor.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DescriptorState {
    /// 1 while the back-end has the chain, else 0.
    pub inflight: u8,
    /// Zeroes.
    pub padding: [u8; 5],
    /// Head of the chain that was completed before this one.
    pub next: U16,
    /// Place of the chain in the order in which chains were taken.
    pub counter: U64,
}

const _: () = assert!(size_of::<DescriptorState>() == 16);

/// Bytes of a queue's region.
#[must_use]
pub const fn inflight_bytes(desc_num: u16) -> u64 {
    (16 + desc_num as u64 * 16).next_multiple_of(INFLIGHT_ALIGN)
}
