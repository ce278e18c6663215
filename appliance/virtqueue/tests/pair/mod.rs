//! A driver and a queue that share a ring.

#![expect(unsafe_code, reason = "a queue is kept while its spans are in use")]
#![allow(dead_code, reason = "each test uses a part of it")]

use luge_memory::{GuestAddress, Span};
use luge_spec::virtio::split::{Descriptor, DescriptorFlags};
use luge_virtqueue::rig::{Driver, RigMemory};
use luge_virtqueue::{Batch, Fault, Notifications, ResponseLast, RingLayout, SplitQueue};

pub const DATA: u64 = RigMemory::DATA.0;
/// The first address after both neighbouring data regions.
pub const HOLE: u64 = RigMemory::MORE_DATA.0 + RigMemory::MORE_DATA.1;
pub const TABLE: GuestAddress = GuestAddress(RigMemory::FAR_DATA.0);

pub struct Pair {
    pub memory: RigMemory,
    pub driver: Driver,
    pub layout: RingLayout,
    pub queue: SplitQueue,
    pub batch: Batch<ResponseLast<16, 1>>,
}

impl Pair {
    pub fn new(size: u16, notifications: Notifications, base: u16) -> Self {
        Self::with(RigMemory::standard(), size, notifications, base)
    }

    pub fn with(memory: RigMemory, size: u16, notifications: Notifications, base: u16) -> Self {
        let layout = RigMemory::ring(RigMemory::RINGS.0, size);
        let driver = Driver::new(layout, notifications, base, &memory.table);
        // SAFETY: the queue lives as long as the batch.
        let queue = unsafe { SplitQueue::new(&layout, notifications, base, memory.table.clone()) }.unwrap();
        Self { memory, driver, layout, queue, batch: Batch::new(&layout) }
    }

    /// Replaces the queue by that of a process that comes after.
    pub fn restarted(self) -> Self {
        let memory = self.memory.table.clone();
        // SAFETY: as in `with`.
        let queue = unsafe { SplitQueue::new(&self.layout, Notifications::Flags, 0, memory) }.unwrap();
        Self { queue, ..self }
    }

    pub fn small() -> Self {
        Self::new(8, Notifications::Flags, 0)
    }

    pub fn take(&mut self) -> usize {
        self.queue.take(&mut self.batch, usize::MAX).unwrap();
        self.batch.len()
    }

    /// Takes the one chain there is.
    pub fn take_one(&mut self) -> Taken {
        assert_eq!(self.take(), 1);
        let chain = self.batch.chain(0).unwrap();
        let lengths = |spans: &[Span]| spans.iter().map(Span::len).collect::<Vec<_>>();
        taken(chain.fault, &lengths(chain.readable), &lengths(chain.writable))
    }

    /// Fault of a chain of one hand-made descriptor table.
    pub fn fault_of(table: &[Descriptor]) -> Option<Fault> {
        Self::fault_in(RigMemory::standard(), table)
    }

    /// The fault of such a chain in some memory.
    pub fn fault_in(memory: RigMemory, table: &[Descriptor]) -> Option<Fault> {
        let size = u16::try_from(table.len().next_power_of_two().max(8)).unwrap();
        let mut pair = Self::with(memory, size, Notifications::Flags, 0);
        table.iter().zip(0..).for_each(|(wire, index)| pair.driver.write_descriptor(index, *wire));
        pair.driver.push_head(0);
        let Taken { fault, readable, writable } = pair.take_one();
        assert!(fault.is_none() || readable.is_empty() && writable.iter().sum::<u32>() <= 1);
        fault
    }
}

/// A chain that was taken: its fault, and the lengths of its spans.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    pub fault: Option<Fault>,
    pub readable: Vec<u32>,
    pub writable: Vec<u32>,
}

pub fn taken(fault: Option<Fault>, readable: &[u32], writable: &[u32]) -> Taken {
    Taken { fault, readable: readable.to_vec(), writable: writable.to_vec() }
}

pub fn raw(address: u64, len: u32, flags: u16, next: u16) -> Descriptor {
    let flags = DescriptorFlags(flags.into());
    Descriptor { address: address.into(), len: len.into(), flags, next: next.into() }
}

pub const NEXT: u16 = DescriptorFlags::NEXT;
pub const WRITE: u16 = DescriptorFlags::WRITE;
pub const INDIRECT: u16 = DescriptorFlags::INDIRECT;
