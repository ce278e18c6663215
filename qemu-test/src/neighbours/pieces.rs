//! Reads in thousands of pieces of one sector each: tables as long as virtio allows.

use super::copies::settled;
use super::memory::Memory;
use super::ring::{Descriptor, INDIRECT, NEXT, Ring, WRITE, table};
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;

/// Descriptors of a request: header, pieces and status.
const DESCRIPTORS: u16 = 32767;
const REQUESTS: u16 = 256;

/// Reads scattered over as many pieces as possible.
pub(super) struct Pieces;

impl Neighbour for Pieces {
    fn name(&self) -> String {
        format!("reads in {} pieces", DESCRIPTORS - 2)
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let ring = Ring { size: REQUESTS * 2, at: 4096 };
        let (tables, data) = (ring.end(), ring.end() + (1 << 20));
        let memory = Memory::new(data + 8192)?;
        let pieces = (1..DESCRIPTORS - 1).map(|n| Descriptor {
            address: data,
            len: 512,
            flags: NEXT | WRITE,
            next: n + 1,
        });
        // A header of zeroes is a read of the disk's first sectors.
        let header = Descriptor { address: data + 4096, len: 16, flags: NEXT, next: 1 };
        let status = Descriptor { address: data + 4096 + 16, len: 1, flags: WRITE, next: 0 };
        memory.write(tables, &table([header].into_iter().chain(pieces).chain([status])))?;
        let len = u32::from(DESCRIPTORS) * 16;
        let chain = Descriptor { address: tables, len, flags: INDIRECT, next: 0 };
        ring.describe(&memory, (0..REQUESTS).map(|_| chain))?;
        ring.queue(&memory, |n| n % REQUESTS)?;
        settled(target, memory, ring, REQUESTS)
    }
}
