//! Parts of a descriptor chain, and faults that it may have.

use crate::chain_layout::ChainLayout;
use luge_memory::Span;

/// The index of a chain's first descriptor: its name while it is in the device's hands.
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
    /// Extent in a list that has so many spans more in front.
    pub(crate) fn after(self, spans: usize) -> Self {
        let [first, writable, end] = [self.first, self.writable, self.end].map(|at| at.saturating_add(spans));
        Self { first, writable, end }
    }
}

/// A descriptor chain: guest memory to read from, and guest memory to write to. The spans
/// are the caller's to cut; none is empty.
#[derive(Debug)]
pub struct Chain<'a> {
    /// Name of the chain.
    pub head: Head,
    /// The fault of a chain that is not as it must be. There is nothing to read then, and one byte to
    /// write: the last one of the chain's last writable buffer, as far as the chain can be followed.
    /// Nothing to write is left where it has no such buffer, or that byte is not in the guest's memory.
    pub fault: Option<Fault>,
    /// Index of its first span in the batch: spans to read come before those to write.
    pub first: usize,
    /// Memory that the device reads.
    pub readable: &'a mut [Span],
    /// Memory that the device writes.
    pub writable: &'a mut [Span],
}

/// A chain as nearly all requests are: a header, data and a response in the device's layout, where header
/// and response are in one piece each. Nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'a, L: ChainLayout> {
    /// Name of the chain.
    pub head: Head,
    /// Header, which the device reads.
    pub header: L::Header,
    /// The data. No piece is empty.
    pub data: &'a [Span],
    /// Length of the data in bytes.
    pub bytes: u32,
    /// Whether the device reads or writes the data.
    pub direction: Direction,
    /// Response, which the device writes.
    pub response: L::Response,
}

/// Direction of the data of a [`Framed`] chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device reads it.
    Read,
    /// The device writes it.
    Written,
}
