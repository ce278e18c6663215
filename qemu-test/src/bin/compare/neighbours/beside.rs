//! Measurements of a victim.

use crate::measure::Sample;
use luge_qemu_test::neighbours::{DiskKind, Evenness, HONEST};

/// One measurement of the victim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sample: Sample,
    /// Share of the core's requests that were the victim's; none if the daemon did not say.
    pub(crate) share: Option<f64>,
    /// Parts that the disks of its neighbour had; none for fewer than two, or if the daemon did not say.
    pub(crate) evenness: Option<Evenness>,
}

/// Measurements of a victim beside one neighbour.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    pub(crate) kind: DiskKind,
    pub(crate) depth: u16,
    /// Name of the neighbour; none for nobody.
    pub(crate) neighbour: Option<String>,
    pub(crate) seen: Vec<Seen>,
    /// Refusal of the neighbour by the daemon.
    pub(crate) refusal: Option<String>,
    /// Failure of the victim or of the daemon.
    pub(crate) failure: Option<String>,
}

impl Beside {
    /// Whether the others are compared with this one.
    pub(crate) fn is_reference(&self) -> bool {
        self.neighbour.as_ref() == Some(&HONEST[0].name())
    }

    /// Smallest and largest part of a disk of the neighbour's in any round.
    pub(crate) fn evenness(&self) -> Option<Evenness> {
        let rounds = self.seen.iter().filter_map(|seen| seen.evenness);
        rounds.reduce(|one, other| Evenness {
            least: one.least.min(other.least),
            most: one.most.max(other.most),
        })
    }
}
