//! Large reads of a memory device, many at a time: work that is long for each request.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::request::{Kind, Requests};
use super::ring::Ring;
use super::target::{Activity, DiskKind, Neighbour, Target};
use crate::error::TestError;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(1);

/// Reads of 1 MiB.
pub(super) struct Copies;

impl Neighbour for Copies {
    fn name(&self) -> String {
        "reads of 1 MiB, 256 at a time".to_owned()
    }

    fn disk_kind(&self, _victim: DiskKind) -> DiskKind {
        DiskKind::Memory
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let requests = Requests { kind: Kind::Read, count: 256, bytes: 1 << 20, sectors: target.sectors };
        let ring = Ring { size: 1024, at: 4096 };
        let memory = Memory::new(ring.end() + requests.memory_bytes())?;
        requests.prepare(&memory, &ring, ring.end())?;
        settled(target, memory, ring, requests.count)
    }
}

/// Connects a front end with one ring whose requests are made again and again.
pub(super) fn settled(
    target: &Target,
    memory: Memory,
    ring: Ring,
    count: u16,
) -> Result<Box<dyn Activity>, TestError> {
    let front_end = FrontEnd::connect(&target.disks[0], memory)?;
    front_end.start(0, &ring)?;
    Ok(Box::new(Offering { front_end, ring, count }))
}

/// A front end that keeps its ring full.
struct Offering {
    front_end: FrontEnd,
    ring: Ring,
    /// Number of requests at a time.
    count: u16,
}

impl Activity for Offering {
    fn act(&mut self) -> Result<(), TestError> {
        self.ring.offer(&self.front_end.memory, self.count)?;
        self.front_end.kick();
        self.front_end.check()?;
        std::thread::sleep(PAUSE);
        Ok(())
    }
}
