//! Memory that is announced and not there, on several disks: as much as the server takes, up to all addresses
//! that an IOMMU with 39 bits has, but for less than any honest front end needs.

use super::front_end::{FrontEnd, cut_off};
use super::memory::Memory;
use super::ring::Ring;
use super::target::{Activity, Neighbour, Target};
use crate::error::TestError;
use std::path::Path;

const DISKS: u32 = 11;

/// Sizes of the memory files in MiB: 1 MiB less than 508 GiB.
const SIZES_MIB: [u64; DISKS as usize] = [507 << 10, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Huge memory files without pages.
pub(super) struct Sparse;

impl Neighbour for Sparse {
    fn name(&self) -> String {
        "508 GiB of sparse memory".to_owned()
    }

    fn disks(&self) -> u32 {
        DISKS
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let sizes = target.disks.iter().zip(SIZES_MIB);
        let (front_ends, refusals): (Vec<_>, Vec<_>) =
            sizes.map(|(disk, mib)| announce(disk, mib)).partition(Result::is_ok);
        let front_ends: Vec<FrontEnd> = front_ends.into_iter().flatten().collect();
        match refusals.into_iter().find_map(Result::err) {
            Some(refusal) if front_ends.is_empty() => Err(refusal),
            _ => Ok(Box::new(Announced(front_ends))),
        }
    }
}

/// Front end with that much memory, of which it has a ring only.
fn announce(disk: &Path, mib: u64) -> Result<FrontEnd, TestError> {
    let front_end = FrontEnd::connect(disk, Memory::new(mib << 20)?)?;
    front_end.start(0, &Ring { size: 256, at: 4096 })?;
    Ok(front_end)
}

/// Front ends that do nothing but stay.
struct Announced(Vec<FrontEnd>);

impl Activity for Announced {
    fn act(&mut self) -> Result<(), TestError> {
        // All are looked at in about a tenth of a second.
        let closed = self.0.iter().any(|front_end| front_end.is_closed_within(10));
        if closed { Err(cut_off()) } else { Ok(()) }
    }
}
