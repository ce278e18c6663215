//! Functions that this process is about to open, by IOMMU group.
//!
//! A function is claimed from its binding until it was opened or bound to its previous driver; an open
//! file shows later that it is used. A list is locked while a driver of its group changes, so that only
//! one thread at a time changes the drivers of a group.

use crate::PciAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Claimed functions of one IOMMU group.
#[derive(Debug, Default)]
pub struct GroupClaims(Mutex<Vec<PciAddress>>);

impl GroupClaims {
    /// Locks the list.
    pub fn lock(&self) -> MutexGuard<'_, Vec<PciAddress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Claims of all groups.
#[derive(Debug, Default)]
pub struct Claims(Mutex<BTreeMap<Option<u32>, Arc<GroupClaims>>>);

impl Claims {
    /// Claims of a group; functions without a group count as one group.
    pub fn of(&self, group: Option<u32>) -> Arc<GroupClaims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(group).or_default().clone()
    }
}
