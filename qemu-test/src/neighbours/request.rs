//! Requests of virtio-blk that stand ready in a ring and are made again and again.

use super::memory::Memory;
use super::ring::{Descriptor, NEXT, Ring, WRITE};
use crate::error::TestError;

/// Bytes of a header.
const HEADER_BYTES: u32 = 16;

/// Kind of a request, by virtio's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read = 0,
    Discard = 11,
}

/// Requests that differ in their place on the disk only, and share their data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    pub(crate) kind: Kind,
    /// Number of requests: a power of two, with three descriptors each.
    pub(crate) count: u16,
    /// Bytes of their data.
    pub(crate) bytes: u32,
    /// Sectors of the disk.
    pub(crate) sectors: u64,
}

impl Requests {
    /// Memory of headers, data and statuses.
    pub(crate) fn memory_bytes(&self) -> u64 {
        u64::from(self.bytes).next_multiple_of(4096) + u64::from(self.count) * u64::from(HEADER_BYTES + 1)
    }

    /// Puts the requests into `ring`. Their data begins at `at`, statuses and headers follow.
    pub(crate) fn prepare(&self, memory: &Memory, ring: &Ring, at: u64) -> Result<(), TestError> {
        let headers = at + u64::from(self.bytes).next_multiple_of(4096);
        let statuses = headers + u64::from(self.count) * u64::from(HEADER_BYTES);
        let all: Vec<u8> = (0..self.count).flat_map(|n| self.header(n)).collect();
        memory.write(headers, &all)?;
        let chains = (0..self.count).flat_map(|n| {
            let direction = if self.kind == Kind::Read { WRITE } else { 0 };
            let header = headers + u64::from(n) * u64::from(HEADER_BYTES);
            let status = statuses + u64::from(n);
            [
                Descriptor { address: header, len: HEADER_BYTES, flags: NEXT, next: n * 3 + 1 },
                Descriptor { address: at, len: self.bytes, flags: NEXT | direction, next: n * 3 + 2 },
                Descriptor { address: status, len: 1, flags: WRITE, next: 0 },
            ]
        });
        ring.describe(memory, chains)?;
        ring.queue(memory, |n| n % self.count * 3)
    }

    /// Header of request `n`: places are spread over the disk.
    fn header(&self, n: u16) -> [u8; HEADER_BYTES as usize] {
        let room = self.sectors.saturating_sub(u64::from(self.bytes / 512)).max(1);
        let sector = if self.kind == Kind::Read { u64::from(n) * 0x9e37_79b1 % room } else { 0 };
        let mut header = [0; HEADER_BYTES as usize];
        header[..4].copy_from_slice(&(self.kind as u32).to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        header
    }
}
