//! The reservations of one volume, shared by all that serve it.

use crate::action::{Action, Refused};
use crate::change::{Change, Waker};
use crate::report::Report;
use crate::rights::RightsWord;
use crate::table::Table;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Persistent reservations of a volume, with the nexuses and the sites that they bind.
#[derive(Default)]
pub struct Reservations {
    table: Mutex<Table>,
}

impl Reservations {
    /// Registrants and reservation at this moment.
    #[must_use]
    pub fn report(&self) -> Report {
        self.table().report()
    }

    /// Rights of all who cannot register: front ends without reservations of their own.
    #[must_use]
    pub fn strangers(&self) -> Arc<RightsWord> {
        self.table().strangers().clone()
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a command of a nexus. The change is on its way to the cores when this returns.
    pub(crate) fn begin(&self, nexus: u64, action: Action, waker: Waker) -> Result<Change, Refused> {
        let (change, receipt) = Change::begin(waker);
        self.table().apply(nexus, action, &receipt)?;
        Ok(change)
    }
}

impl fmt::Debug for Reservations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservations").field("report", &self.report()).finish_non_exhaustive()
    }
}
