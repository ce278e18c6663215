//! Guest memory that its front end takes away.
//!
//! A front end may shorten the file that its guest's memory is (`ftruncate`, or a hole in
//! hugepages that are used up). An access to those pages then raises SIGBUS, which would end
//! this process and every other guest's disks. So the first SIGBUS in a watched range puts zeroes of
//! our own in place of all of it, shuts the connections down that are tied to it, and the thread goes on.
//! Only that guest loses data.
//!
//! Invariants
//! - A range is watched before its first byte is touched, and until after the last.
//! - A range is lost as a whole, so that it costs one signal, whatever the order in which its pages are touched.
//! - The cost of a loss does not grow with the memory that is still there: its pages are moved aside,
//!   a page table at a time, and given back when the watch is dropped.
//!
//! Not here: system calls that touch such memory; they fail with EFAULT.

mod handler;
mod ranges;
mod spare;
mod ties;

use crate::Mapping;
use ranges::Range;
use rustix::net::{Shutdown, shutdown};
use spare::Spare;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use ties::TieSlot;

/// The watched range that has an address.
pub(crate) fn find_range(address: usize) -> Option<&'static Range> {
    ranges::find(address).map(|(_, range)| range)
}

/// Watch over a mapping, until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    index: u32,
    // Given back after the range is free, when no handler uses it.
    _spare: Spare,
}

impl Watch {
    /// Watches a mapping; none if too many are watched, or there are no addresses left.
    pub fn new(memory: &Mapping) -> Option<Self> {
        handler::install();
        let spare = Spare::reserve(memory)?;
        let index = ranges::take(memory, spare.first())?;
        Some(Self { index, _spare: spare })
    }

    fn range(&self) -> Option<&'static Range> {
        ranges::range(self.index)
    }

    /// Number of accesses that found memory missing.
    pub fn faults(&self) -> u64 {
        self.range().map_or(0, Range::faults)
    }

    /// Number of waits of cores for the memory.
    pub fn stalls(&self) -> u64 {
        self.range().map_or(0, Range::stalls)
    }

    /// The longest wait of a core for the memory.
    pub fn longest_stall(&self) -> Duration {
        self.range().map_or(Duration::ZERO, Range::longest_stall)
    }

    /// Ties a connection to the memory: it is shut down, in both directions, as soon as memory is
    /// missing, or at once if some is missing already. None if there are too many ties.
    pub fn tie(&self, connection: &Arc<UnixStream>) -> Option<Tie> {
        let slot = TieSlot::take(self.index, connection)?;
        // A handler either sees the tie, or has counted its fault before this.
        if self.faults() > 0 {
            // It fails only if the other side has gone already.
            let _ = shutdown(&**connection, Shutdown::Both);
        }
        Some(Tie { _slot: slot, _connection: connection.clone() })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.range().into_iter().for_each(Range::free);
    }
}

/// Tie of a connection to a watched mapping, until dropped. Must be dropped before the watch.
#[derive(Debug)]
pub(crate) struct Tie {
    // Dropped before the connection, which a handler may be shutting down.
    _slot: TieSlot,
    _connection: Arc<UnixStream>,
}
