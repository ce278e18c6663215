//! Discards with as many ranges as a request may have, each as long as the disk.

use super::copies::settled;
use super::memory::Memory;
use super::request::{Kind, Requests};
use super::ring::Ring;
use super::target::{Activity, DiskKind, Neighbour, Target};
use crate::error::TestError;

const RANGES: u32 = 256;
const RANGE_BYTES: u32 = 16;

/// Long lists of ranges.
pub(super) struct Discards;

impl Neighbour for Discards {
    fn name(&self) -> String {
        format!("discards of {RANGES} ranges")
    }

    fn disk_kind(&self, _victim: DiskKind) -> DiskKind {
        DiskKind::Memory
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let bytes = RANGES * RANGE_BYTES;
        let requests = Requests { kind: Kind::Discard, count: 256, bytes, sectors: target.sectors };
        let ring = Ring { size: 1024, at: 4096 };
        let memory = Memory::new(ring.end() + requests.memory_bytes())?;
        let sectors = u32::try_from(target.sectors).unwrap_or(u32::MAX);
        let range = [0_u64.to_le_bytes(), u64::from(sectors).to_le_bytes()].concat();
        memory.write(ring.end(), &range.repeat(RANGES as usize))?;
        requests.prepare(&memory, &ring, ring.end())?;
        settled(target, memory, ring, requests.count)
    }
}
