//! Honest tenants at full load: reads of 512 bytes, as many as their rings hold, each tenant with a disk and
//! memory of its own.
//!
//! Their rings hold work for longer than a time slice of the scheduler: where the neighbours share the victim's CPU, they
//! are busy also while the victim has it. Devices that end requests within a turn see each of them once at a time.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::request::{Kind, Requests};
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;
use std::path::Path;
use std::time::Duration;

/// Requests that are offered less than a ring holds: available indices are rounded down.
const MARGIN: u16 = 256;

/// Rings of one tenant.
#[derive(Clone, Copy)]
struct Load {
    rings: u16,
    size: u16,
    /// Number of different requests in each ring.
    requests: u16,
    /// Pause between two looks at the rings of all tenants: a small part of the time for which their requests last.
    pause: Duration,
}

/// A tenant that is alone: as many requests as a server takes of one, which keep a core busy for some milliseconds.
const ALONE: Load = Load { rings: 8, size: 32768, requests: 1024, pause: Duration::from_millis(1) };

/// Member of a crowd of a hundred tenants, who keep a core busy for twenty milliseconds together.
const ONE_OF_MANY: Load = Load { rings: 1, size: 8192, requests: 256, pause: Duration::from_millis(4) };

/// Some honest tenants.
pub(super) struct Honest {
    pub(super) tenants: u32,
}

impl Neighbour for Honest {
    fn name(&self) -> String {
        match self.tenants {
            1 => "an honest tenant".to_owned(),
            count => format!("{count} honest tenants"),
        }
    }

    fn disks(&self) -> u32 {
        self.tenants
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let load = if self.tenants == 1 { ALONE } else { ONE_OF_MANY };
        let tenants = target.disks.iter().map(|disk| Tenant::connect(disk, load, target.sectors));
        Ok(Box::new(Tenants { tenants: tenants.collect::<Result<_, _>>()?, pause: load.pause }))
    }
}

/// One tenant.
struct Tenant {
    front_end: FrontEnd,
    rings: Vec<Ring>,
}

impl Tenant {
    fn connect(disk: &Path, load: Load, sectors: u64) -> Result<Self, TestError> {
        let requests = Requests { kind: Kind::Read, count: load.requests, bytes: 512, sectors };
        let rings = Ring::row(load.rings, load.size, 4096);
        let end = rings.last().map_or(0, Ring::end);
        let memory = Memory::new(end + requests.memory_bytes())?;
        rings.iter().try_for_each(|ring| requests.prepare(&memory, ring, end))?;
        let front_end = FrontEnd::connect(disk, memory)?;
        rings.iter().zip(0..).try_for_each(|(ring, index)| front_end.start(index, ring))?;
        Ok(Self { front_end, rings })
    }

    /// Fills the rings.
    fn offer(&self) -> Result<(), TestError> {
        let Self { front_end, rings } = self;
        rings.iter().try_for_each(|ring| ring.offer(&front_end.memory, ring.size - MARGIN))?;
        front_end.kick();
        front_end.check()
    }
}

struct Tenants {
    tenants: Vec<Tenant>,
    pause: Duration,
}

impl Activity for Tenants {
    fn act(&mut self) -> Result<(), TestError> {
        self.tenants.iter().try_for_each(Tenant::offer)?;
        std::thread::sleep(self.pause);
        Ok(())
    }
}
