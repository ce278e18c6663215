//! Memory that is truncated beneath tables of descriptors, which are then read page by page, from the last
//! one to the first: each costs a signal. A front end that is cut off for it comes back at once.

use super::front_end::{FrontEnd, cut_off};
use super::memory::Memory;
use super::ring::{Descriptor, INDIRECT, Ring};
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;

/// Number of tables, and of requests.
const TABLES: u16 = 4096;
const PAGE_BYTES: u64 = 4096;

/// Time for which the server may take no offence, in milliseconds.
const PATIENT_MS: i64 = 1000;

/// A ring that stays, with tables that are gone.
pub(super) struct Truncation;

impl Neighbour for Truncation {
    fn name(&self) -> String {
        "truncated memory".to_owned()
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let ring = Ring { size: TABLES, at: PAGE_BYTES };
        let memory = Memory::new(ring.end() + u64::from(TABLES) * PAGE_BYTES)?;
        let of_table = |n: u16| Descriptor {
            address: ring.end() + u64::from(TABLES - 1 - n) * PAGE_BYTES,
            len: 64,
            flags: INDIRECT,
            next: 0,
        };
        ring.describe(&memory, (0..TABLES).map(of_table))?;
        ring.queue(&memory, |n| n)?;
        let front_end = FrontEnd::connect(&target.disks[0], memory)?;
        front_end.start(0, &ring)?;
        Ok(Box::new(Truncating { front_end, ring }))
    }
}

struct Truncating {
    front_end: FrontEnd,
    ring: Ring,
}

impl Activity for Truncating {
    fn act(&mut self) -> Result<(), TestError> {
        let Self { front_end, ring } = self;
        front_end.memory.truncate(ring.end())?;
        ring.offer(&front_end.memory, TABLES)?;
        front_end.kick();
        if front_end.is_closed_within(PATIENT_MS) { Err(cut_off()) } else { Ok(()) }
    }
}
