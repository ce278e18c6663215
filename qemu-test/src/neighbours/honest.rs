//! Honest tenants at full load: reads of 512 bytes, as many as a ring holds, each tenant with a disk and
//! memory of its own.

use super::front_end::FrontEnd;
use super::memory::Memory;
use super::request::{Kind, Requests};
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;
use std::path::Path;
use std::time::Duration;

/// Time in which a server does not end all requests of a tenant that is alone, or of all if they are many.
const PAUSE: Duration = Duration::from_micros(200);

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
        // One tenant alone needs more requests in its ring to be busy during a pause.
        let size = if self.tenants == 1 { 32768 } else { 1024 };
        let tenants = target.disks.iter().map(|disk| Tenant::connect(disk, size, target.sectors));
        Ok(Box::new(Tenants(tenants.collect::<Result<_, _>>()?)))
    }
}

/// One tenant.
struct Tenant {
    front_end: FrontEnd,
    ring: Ring,
    requests: Requests,
}

impl Tenant {
    fn connect(disk: &Path, size: u16, sectors: u64) -> Result<Self, TestError> {
        let requests = Requests { kind: Kind::Read, count: size / 4, bytes: 512, sectors };
        let ring = Ring { size, at: 4096 };
        let memory = Memory::new(ring.end() + requests.memory_bytes())?;
        requests.prepare(&memory, &ring, ring.end())?;
        let front_end = FrontEnd::connect(disk, memory)?;
        front_end.start(0, &ring)?;
        Ok(Self { front_end, ring, requests })
    }
}

struct Tenants(Vec<Tenant>);

impl Activity for Tenants {
    fn act(&mut self) -> Result<(), TestError> {
        for Tenant { front_end, ring, requests } in &self.0 {
            ring.offer(&front_end.memory, requests.count)?;
            front_end.kick();
            front_end.check()?;
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }
}
