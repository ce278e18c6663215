//! Rig of the file device: a channel, and memory for its requests.

#![expect(unsafe_code, reason = "spans of this desk's own memory")]

use luge_block::{Channel, Completions, CoreId, Device, Lba, Operation, Request, Status, Tag};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Channel and memory for its requests.
pub struct Desk {
    // Dropped before the memory.
    pub channel: Box<dyn Channel>,
    pub memory: DmaMemory,
}

impl Desk {
    pub fn new(device: &dyn Device) -> Self {
        let memory = DmaMemory::allocate(&DmaSpace::new(), 1 << 20, PageSize::Base, None).unwrap();
        Self { channel: device.open(CoreId(0)).unwrap(), memory }
    }

    pub fn span(&self, offset: u64, len: u32) -> Span {
        // SAFETY: the channel, which uses it, goes before the memory.
        unsafe { self.memory.span(offset, len) }.unwrap()
    }

    pub fn submit(&mut self, slot: u16, operation: Operation, blocks: Range<u64>, data: &[Span]) {
        let (lba, blocks) = (Lba(blocks.start), u32::try_from(blocks.end - blocks.start).unwrap());
        let request = Request { tag: Tag::new(0, slot), operation, lba, blocks, data };
        assert_eq!(self.channel.submit(&request), Ok(()));
    }

    /// Runs one request to its end; returns its status.
    pub fn run(&mut self, operation: Operation, blocks: Range<u64>, data: &[Span]) -> Status {
        self.submit(0, operation, blocks, data);
        self.channel.commit();
        let (mut done, deadline) = (Completions::default(), Instant::now() + Duration::from_secs(20));
        while done.as_slice().is_empty() {
            assert!(Instant::now() < deadline, "{operation:?} does not end");
            self.channel.poll(&mut done);
        }
        done.as_slice()[0].status()
    }
}

/// Content of a span.
pub fn read(span: Span) -> Vec<u8> {
    let mut bytes = vec![0; span.len() as usize];
    span.read(&mut bytes);
    bytes
}
