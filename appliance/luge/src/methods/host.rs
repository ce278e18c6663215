//! The parts of the process that methods work with.

use crate::config::Config;
use crate::control::Control;
use crate::log::Log;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts of the process that methods work with.
pub struct Host {
    /// The control thread, which owns all objects.
    pub control: Arc<Control>,
    /// The log.
    pub log: Arc<Log>,
    /// The configuration to load at the start.
    pub config: Config,
    /// Held while the configuration is loaded.
    pub loading: Mutex<()>,
}

impl Host {
    /// Locks out other starts.
    pub fn starting(&self) -> MutexGuard<'_, ()> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
