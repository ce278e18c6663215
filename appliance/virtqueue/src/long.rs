//! Chains of more descriptors than one take walks: each is walked in several steps, into a list of the
//! session's own.
//!
//! Path: guest ring -> **here** -> session.
//!
//! ```text
//!  (1) idle     --a take meets such a chain, the last of its batch-->   (2)
//!  (2) walking  --enough for a step-->                                  (2)
//!  (2) walking  --end of the chain-->                                   (1), the chain
//!  (2) walking  --a fault, or the session refuses it-->                 (3)
//!  (3) searching for the response (`ending.rs`) --found-->              (1), its place
//! ```
//!
//! The take that met the chain has walked its beginning; that result is discarded. Here every descriptor
//! is loaded once, into a [`RawDescriptor`].

use crate::chain::{ChainBytes, Extent, Fault, Head};
use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use crate::ending::{ChainStart, Search};
use crate::general_walk::{GeneralWalk, Stop};
use crate::indirect::Indirect;
use luge_memory::{Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// Descriptors of the longest chain: those of the longest ring, and of an indirect table as long.
pub const CHAIN_MAX: u16 = 1 << 15;

/// A long chain, walked.
#[derive(Clone, Copy, Debug)]
pub struct LongChain {
    /// Index of the chain's first descriptor.
    pub head: Head,
    /// Fault of the chain: the list then has the place of its response, as of [`crate::Chain`].
    pub fault: Option<Fault>,
    /// Number of spans to read, from the start of the list.
    pub readable: usize,
    /// Number of all spans; those to write are behind those to read.
    pub end: usize,
    /// Length of both in bytes, counted by the walk: the list is too long to be read at once.
    pub bytes: ChainBytes,
}

/// The walk of a long chain. Made once per queue.
pub(crate) struct LongWalk {
    head: Head,
    first: RawDescriptor,
    /// The descriptor to look at next.
    descriptor: RawDescriptor,
    /// The table that it is from; none for the ring's.
    table: Option<Indirect>,
    fault: Option<Fault>,
    extent: Extent,
    writable: Option<usize>,
    /// Descriptors that the chain may still have.
    steps: u16,
    /// Descriptors of one step.
    pub(crate) allowed: usize,
    /// Pieces that buffers may still have beyond one for each descriptor.
    extra: usize,
    /// Bytes of all buffers so far, and of those to read.
    bytes: u64,
    readable_bytes: u64,
}

impl LongWalk {
    /// (1) to (2): a walk from `first`, the descriptor at `head`, of a chain that has at most `longest`
    /// descriptors.
    pub(crate) fn new(head: Head, first: RawDescriptor, longest: u32) -> Self {
        let steps = u16::try_from(longest).unwrap_or(CHAIN_MAX).min(CHAIN_MAX);
        let extent = Extent { first: 0, writable: 0, end: 0 };
        Self {
            head,
            first,
            descriptor: first,
            table: None,
            fault: None,
            extent,
            writable: None,
            steps,
            allowed: 1,
            extra: usize::MAX,
            bytes: 0,
            readable_bytes: 0,
        }
    }

    /// (2) to (3): leaves the chain unwalked. In (3), does nothing.
    pub(crate) fn refuse(&mut self, search: &mut Search) {
        if self.fault.is_none() {
            self.fail(Fault::Steps, search);
        }
    }

    /// (2) to (3): notes a fault.
    fn fail(&mut self, fault: Fault, search: &mut Search) -> Fault {
        let start = ChainStart { index: self.head.0, head: self.head, descriptor: self.first };
        search.start(fault, start);
        *self.fault.insert(fault)
    }

    /// Makes a step of (2) or (3), always with the same `list`; returns the chain after the last step.
    pub(crate) fn step(
        &mut self,
        lookup: &mut Lookup<'_>,
        ring: &Table,
        list: &mut [Span],
        search: &mut Search,
    ) -> Option<LongChain> {
        let fault = match self.fault {
            Some(fault) => fault,
            None => match self.advance(lookup, ring, list) {
                Ok(false) => return None,
                Ok(true) => return Some(self.chain()),
                Err(fault) => self.fail(fault, search),
            },
        };
        let mut left = self.allowed;
        let end = search.run(lookup, ring, &mut left, list).ok()?;
        let found = Span::total(list.get(..end).unwrap_or_default());
        let bytes = ChainBytes { readable: 0, writable: u32::try_from(found).unwrap_or(0) };
        Some(LongChain { head: self.head, fault: Some(fault), readable: 0, end, bytes })
    }

    /// The chain, walked to its end without a fault.
    fn chain(&self) -> LongChain {
        let Extent { writable: readable, end, .. } = self.extent;
        let bytes = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        let writable = self.bytes.saturating_sub(self.readable_bytes);
        let bytes = ChainBytes { readable: bytes(self.readable_bytes), writable: bytes(writable) };
        LongChain { head: self.head, fault: None, readable, end, bytes }
    }

    /// Walks on for one step; returns whether that was the end of the chain.
    fn advance(&mut self, lookup: &mut Lookup<'_>, ring: &Table, list: &mut [Span]) -> Result<bool, Fault> {
        let mut walk = GeneralWalk {
            lookup,
            first: 0,
            end: self.extent.end,
            writable: self.writable,
            steps: self.steps,
            extra: self.extra.min(list.len()),
            spans: list,
            bytes: self.bytes,
            longest: 0,
        };
        for _ in 0..self.allowed {
            if self.descriptor.is(DescriptorFlags::INDIRECT) {
                self.descriptor = Self::enter(&mut self.table, &self.descriptor, walk.lookup)?;
            }
            walk.piece(&self.descriptor).map_err(Stop::into_fault)?;
            if walk.writable.is_none() {
                self.readable_bytes = walk.bytes;
            }
            if !self.descriptor.is(DescriptorFlags::NEXT) {
                walk.check_length().map_err(Stop::into_fault)?;
                (self.extent, self.bytes) = (walk.extent(), walk.bytes);
                return Ok(true);
            }
            let next = self.descriptor.next();
            self.descriptor = match &self.table {
                Some(table) => table.load(walk.lookup, next)?,
                None => RawDescriptor::load(ring, next).ok_or(Fault::Index)?,
            };
        }
        (self.writable, self.steps, self.extra) = (walk.writable, walk.steps, walk.extra);
        (self.bytes, self.extent.end) = (walk.bytes, walk.end);
        Ok(false)
    }

    /// Enters the table that a descriptor refers to, which is the chain's last part; returns its first entry.
    fn enter(
        table: &mut Option<Indirect>,
        reference: &RawDescriptor,
        lookup: &mut Lookup<'_>,
    ) -> Result<RawDescriptor, Fault> {
        let cut = reference.len() == 0 || !reference.len().is_multiple_of(ENTRY_BYTES);
        if table.is_some() || reference.is(DescriptorFlags::NEXT) || cut {
            return Err(Fault::Table);
        }
        let entered = table.insert(Indirect::find(lookup, reference));
        let first = entered.load(lookup, 0)?;
        if first.is(DescriptorFlags::INDIRECT) { Err(Fault::Table) } else { Ok(first) }
    }
}
