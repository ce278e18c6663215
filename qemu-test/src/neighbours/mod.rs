//! Neighbours: tenants that share a core of `luge serve` with a victim, honest ones and hostile ones.
//!
//! ```text
//!  House: `luge serve` with a disk of the victim's and disks for the neighbour, all on one core
//!    |-- the victim: `luge bench` on its disk
//!    `-- Resident: a thread that settles the neighbour and lets it act until it is dropped
//!          `-- Neighbour -> Activity: one file for each
//! ```
//!
//! A neighbour that is cut off settles again at once.
//!
//! Not here: measuring (`cargo compare --neighbours`).

mod copies;
mod discards;
mod front_end;
mod holes;
mod honest;
mod house;
mod idle;
mod loops;
mod memory;
mod nonsense;
mod pieces;
mod request;
mod resident;
mod restarts;
mod ring;
mod silence;
mod sparse;
mod target;
mod truncation;

pub use house::{Evenness, House, Requests};
pub use resident::Resident;
pub use target::{Activity, DiskKind, Neighbour, Target};

use copies::Copies;
use discards::Discards;
use holes::Holes;
use honest::Honest;
use idle::Idle;
use loops::Loops;
use nonsense::Nonsense;
use pieces::Pieces;
use restarts::Restarts;
use silence::Silence;
use sparse::Sparse;
use truncation::Truncation;

/// Honest tenants at full load. All neighbours are compared with the first one.
pub const HONEST: [&dyn Neighbour; 2] = [&Honest { tenants: 1 }, &Honest { tenants: 100 }];

/// A few neighbours, for a quick look.
pub const QUICK: [&dyn Neighbour; 3] = [HONEST[0], HONEST[1], &Idle];

/// Attacks.
pub const ATTACKS: [&dyn Neighbour; 12] = [
    &Holes,
    &Loops { rings: 256, size: 1024 },
    &Loops { rings: 8, size: 32768 },
    &Idle,
    &Truncation,
    &Sparse,
    &Copies,
    &Discards,
    &Pieces,
    &Restarts,
    &Nonsense,
    &Silence,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_neighbour_has_a_name_of_its_own() {
        let all: Vec<&dyn Neighbour> = HONEST.into_iter().chain(ATTACKS).collect();
        let names: BTreeSet<String> = all.iter().map(|neighbour| neighbour.name()).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
    }
}
