//! The layout of a device's requests: where header and response stand in a chain.
//!
//! ```text
//!  ResponseLast  (virtio-blk):   header, data to read or to write, response
//!  ResponseFirst (virtio-scsi):  header, data to read, response
//!                                header, response, data to write
//! ```
//!
//! The layout is a type, so that the fast walk is compiled for each device.

use luge_memory::{FixedSpan, Span};
use std::fmt::Debug;

/// Layout of a device's requests, as drivers make nearly all of them.
pub trait ChainLayout: Copy + Debug + Send + Sync + 'static {
    /// Header, which the device reads first.
    type Header: FixedPiece;
    /// Response, which the device writes.
    type Response: FixedPiece;
    /// Place of the response in a chain.
    const RESPONSE: ResponsePlace;
}

/// Place of the response in a chain. It comes after all data that the device reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponsePlace {
    /// After the data that the device writes.
    Last,
    /// Before the data that the device writes.
    First,
}

/// Layout of requests that end with the response: virtio-blk's.
#[derive(Clone, Copy, Debug)]
pub struct ResponseLast<const HEADER: usize, const RESPONSE: usize>;

/// Layout of requests whose response is before the data that the device writes: virtio-scsi's.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFirst<const HEADER: usize, const RESPONSE: usize>;

impl<const HEADER: usize, const RESPONSE: usize> ChainLayout for ResponseLast<HEADER, RESPONSE> {
    type Header = FixedSpan<HEADER>;
    type Response = FixedSpan<RESPONSE>;
    const RESPONSE: ResponsePlace = ResponsePlace::Last;
}

impl<const HEADER: usize, const RESPONSE: usize> ChainLayout for ResponseFirst<HEADER, RESPONSE> {
    type Header = FixedSpan<HEADER>;
    type Response = FixedSpan<RESPONSE>;
    const RESPONSE: ResponsePlace = ResponsePlace::First;
}

/// A span of fixed length.
pub trait FixedPiece: Copy + Debug + Into<Span> + Send + Sync {
    /// Length in bytes.
    const LEN: u32;

    /// A span as one of fixed length; none if it is longer or shorter.
    fn of(span: &Span) -> Option<Self>;
}

impl<const N: usize> FixedPiece for FixedSpan<N> {
    const LEN: u32 = FixedSpan::<N>::LEN;

    #[inline]
    fn of(span: &Span) -> Option<Self> {
        span.fixed()
    }
}
