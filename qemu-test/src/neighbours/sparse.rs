//! Memory that is announced and not there: nearly all addresses that an IOMMU with 39 bits has.

use super::front_end::FrontEnd;
use super::idle::Waiting;
use super::memory::Memory;
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;

const MEMORY_GIB: u64 = 507;

/// A huge memory file without pages.
pub(super) struct Sparse;

impl Neighbour for Sparse {
    fn name(&self) -> String {
        format!("{MEMORY_GIB} GiB of sparse memory")
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let front_end = FrontEnd::connect(&target.disks[0], Memory::new(MEMORY_GIB << 30)?)?;
        front_end.start(0, &Ring { size: 256, at: 4096 })?;
        Ok(Box::new(Waiting(front_end)))
    }
}
