//! Relative target port identifiers.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers of the ports that there are.
#[derive(Debug, Default)]
pub(super) struct PortNumbers(Mutex<BTreeSet<u16>>);

impl PortNumbers {
    /// Takes the first free number. Zero, which says nothing about a port, where all are taken.
    pub(super) fn take(&self) -> u16 {
        let mut taken = self.taken();
        let free = (1..=u16::MAX).zip(taken.iter().chain([&0])).find(|(free, taken)| free != *taken);
        let Some((number, _)) = free else { return 0 };
        taken.insert(number);
        number
    }

    /// Gives a number back.
    pub(super) fn free(&self, number: u16) {
        self.taken().remove(&number);
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
