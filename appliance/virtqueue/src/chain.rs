//! Parts of a descriptor chain, and faults that it may have.

use crate::chain_layout::ChainLayout;
use luge_memory::Span;

/// Index of a chain's first descriptor, by which the chain is named while the device has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Head(pub u16);

/// Fault of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A buffer, or a part of one, is not in the guest's memory.
    Address,
    /// The device is to read a buffer that comes after one it is to write.
    Order,
    /// An index is past the end of its table.
    Index,
    /// There are more descriptors than a chain may have: a loop, most likely.
    Steps,
    /// An indirect table is empty, cut, not in the guest's memory, inside another one, or
    /// followed by more descriptors.
    Table,
    /// The buffers are longer than 4 GiB together.
    Length,
    /// The buffers lie across too many regions.
    Spans,
}

/// A chain's spans in the list: `first..writable` and `writable..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: usize,
    pub(crate) writable: usize,
    pub(crate) end: usize,
}

impl Extent {
    /// The extent in a list with `spans` more spans in front.
    pub(crate) fn after(self, spans: usize) -> Self {
        let [first, writable, end] = [self.first, self.writable, self.end].map(|at| at.saturating_add(spans));
        Self { first, writable, end }
    }
}

/// A descriptor chain: spans of guest memory to read and to write. The caller may cut them; none is empty.
#[derive(Debug)]
pub struct Chain<'a> {
    /// Name of the chain.
    pub head: Head,
    /// Fault of the chain, if it has one. There is nothing to read then, and only the place of the response to
    /// write, as far as the chain can be followed and is in the guest's memory. In a layout that has the response last,
    /// that is the last byte of the last writable buffer; where it is first, the first bytes of the writable ones.
    pub fault: Option<Fault>,
    /// Index of the chain's first span in the batch: spans to read come before those to write.
    pub first: usize,
    /// Memory that the device reads.
    pub readable: &'a mut [Span],
    /// Memory that the device writes.
    pub writable: &'a mut [Span],
    /// Length of both in bytes.
    pub bytes: ChainBytes,
}

/// Lengths of a chain's buffers in bytes, which are 4 GiB together at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainBytes {
    /// Bytes that the device reads.
    pub readable: u32,
    /// Bytes that the device writes.
    pub writable: u32,
}

impl ChainBytes {
    /// Counts the bytes of spans, as few as a batch has.
    pub(crate) fn of(readable: &[Span], writable: &[Span]) -> Self {
        let bytes = |spans| u32::try_from(Span::total(spans)).unwrap_or(u32::MAX);
        Self { readable: bytes(readable), writable: bytes(writable) }
    }
}

/// A chain without fault in the device's layout: a header, data and a response, where header and response
/// are in one span each. Nearly all requests are.
#[derive(Clone, Copy, Debug)]
pub struct RequestChain<'a, L: ChainLayout> {
    /// Name of the chain.
    pub head: Head,
    /// Header, which the device reads.
    pub header: L::Header,
    /// Segments of the data: one of a single-segment request, more of a scattered one. None is empty.
    pub data: &'a [Span],
    /// Length of the data in bytes.
    pub bytes: u32,
    /// Whether the device reads or writes the data.
    pub direction: Direction,
    /// Response, which the device writes.
    pub response: L::Response,
}

/// Direction of the data of a [`RequestChain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device reads the data.
    Read,
    /// The device writes the data.
    Written,
}
