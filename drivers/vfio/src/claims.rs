//! Functions that this process is about to open, by IOMMU group.
//!
//! Path: none. A function is claimed from its binding until it was opened or given back; from then
//! on, its open file shows that it is used. Binding a function and giving one back lock the
//! list of its group meanwhile, so the drivers of a group change for one purpose at a time.

use crate::PciAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Functions claimed in one IOMMU group.
#[derive(Debug, Default)]
pub struct GroupClaims(Mutex<Vec<PciAddress>>);

impl GroupClaims {
    /// Locks the list for this caller alone.
    pub fn lock(&self) -> MutexGuard<'_, Vec<PciAddress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Claims of all groups.
#[derive(Debug, Default)]
pub struct Claims(Mutex<BTreeMap<Option<u32>, Arc<GroupClaims>>>);

impl Claims {
    /// Claims in a group; functions without a group count as one group.
    pub fn of(&self, group: Option<u32>) -> Arc<GroupClaims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(group).or_default().clone()
    }
}
