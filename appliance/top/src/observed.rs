//! Knowledge of a Luge: the last looks.

use crate::looker::Look;
use luge_observe::{Rates, Snapshot};

/// Knowledge of a Luge.
#[derive(Default)]
pub(crate) struct Observed {
    /// Last snapshot, which stays when Luge is away.
    pub(crate) now: Option<Snapshot>,
    /// Change between the last two snapshots.
    pub(crate) rates: Option<Rates>,
    /// Reason why the last look failed.
    pub(crate) failure: Option<String>,
}

impl Observed {
    /// Adds a look.
    pub(crate) fn add(&mut self, look: Look) {
        match look {
            Ok(now) => {
                self.rates = self.now.as_ref().and_then(|before| Rates::between(before, &now));
                self.failure = None;
                self.now = Some(now);
            }
            Err(error) => {
                self.rates = None;
                self.failure = Some(error.to_string());
            }
        }
    }
}
