//! The last byte of a chain that the device may write, for chains at fault.
//!
//! A driver of virtio-blk looks for the status of its request there (virtio 1.3, clause 5.2.6),
//! whatever it thinks of the number and order of the other buffers. A byte that was left as it was
//! could be taken for success.
//!
//! Invariants
//! - A search ends: after as many descriptors of the ring as it has, and after [`ENTRIES_MAX`] entries of
//!   indirect tables.
//! - Each descriptor is loaded once here. It was loaded before, by the walk that found the fault;
//!   nothing but the byte's address is taken from the second load, and that is checked.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::QueueSize;
use crate::descriptor::{RawDescriptor, Table};
use crate::indirect::Indirect;
use luge_memory::{GuestAddress, Lookup, Span};
use luge_spec::virtio::split::DescriptorFlags;

/// Entries of indirect tables that a search goes through: the longest queue that there can be, which
/// no chain may exceed (clause 2.7.5.3.1).
const ENTRIES_MAX: u16 = 1 << 15;

/// A search for the last writable byte of a chain.
pub(crate) struct Search<'a, 'memory> {
    lookup: &'a mut Lookup<'memory>,
    ring: &'a Table,
    /// Descriptors of the ring that may still be looked at.
    direct: u16,
    /// The same of entries of indirect tables.
    indirect: u16,
    /// The last byte of the last writable buffer so far; none where its address is past the end of all
    /// addresses.
    last: Option<GuestAddress>,
}

/// The result of a search.
pub(crate) struct Ending {
    /// The byte, if it is in the guest's memory.
    pub(crate) byte: Option<Span>,
    /// Number of descriptors that were looked at.
    pub(crate) steps: usize,
}

impl<'a, 'memory> Search<'a, 'memory> {
    pub(crate) fn new(lookup: &'a mut Lookup<'memory>, ring: &'a Table, size: QueueSize) -> Self {
        Self { lookup, ring, direct: size.get(), indirect: ENTRIES_MAX, last: None }
    }

    /// Goes along the chain that begins with `descriptor`, as far as it can be followed.
    pub(crate) fn run(mut self, mut descriptor: RawDescriptor) -> Ending {
        let size = self.direct;
        while let Some(left) = self.direct.checked_sub(1) {
            self.direct = left;
            if descriptor.is(DescriptorFlags::INDIRECT) {
                self.run_table(&descriptor);
            } else {
                self.see(&descriptor);
            }
            let next = descriptor.is(DescriptorFlags::NEXT).then(|| descriptor.next());
            let Some(next) = next.and_then(|next| RawDescriptor::load(self.ring, next)) else { break };
            descriptor = next;
        }
        let steps = size.wrapping_sub(self.direct).into();
        let entries = usize::from(ENTRIES_MAX.wrapping_sub(self.indirect));
        Ending { byte: self.last_byte(), steps: entries.wrapping_add(steps) }
    }

    /// Goes along an indirect table. A table inside of it is passed over.
    fn run_table(&mut self, reference: &RawDescriptor) {
        let table = Indirect::find(self.lookup, reference);
        let mut index = 0;
        while let Some(left) = self.indirect.checked_sub(1) {
            self.indirect = left;
            let Ok(descriptor) = table.load(self.lookup, index) else { return };
            if !descriptor.is(DescriptorFlags::INDIRECT) {
                self.see(&descriptor);
            }
            if !descriptor.is(DescriptorFlags::NEXT) {
                return;
            }
            index = descriptor.next();
        }
    }

    /// Takes note of a buffer.
    fn see(&mut self, descriptor: &RawDescriptor) {
        if descriptor.is(DescriptorFlags::WRITE)
            && let Some(last) = descriptor.len().checked_sub(1)
        {
            self.last = GuestAddress(descriptor.address).checked_add(last.into());
        }
    }

    fn last_byte(&mut self) -> Option<Span> {
        // SAFETY: whoever made the queue keeps its memory while spans are in use.
        unsafe { self.lookup.span(self.last?, 1) }
    }
}
