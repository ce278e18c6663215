//! The parts of the process that methods work with.

use crate::config::Config;
use crate::control::Control;
use crate::log::Log;
use luge_rpc::RpcError;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

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
    /// Locks out other starts and loads.
    ///
    /// # Errors
    /// -16 while a configuration is loaded, which takes as long as the slowest SSD.
    pub fn lock_loading(&self) -> Result<MutexGuard<'_, ()>, RpcError> {
        match self.loading.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(guard)) => Ok(guard.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(RpcError::busy("another configuration is being loaded: try again when it is"))
            }
        }
    }
}
