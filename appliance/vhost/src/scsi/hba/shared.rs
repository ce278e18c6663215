//! Parts of an adapter that its operator, its connection and its thread share.

use super::life::Luns;
use super::notices::Notices;
use super::sessions::Sessions;
use crate::scsi::relay::Relay;
use luge_core::CoreHandle;
use luge_scsi::{Initiator, InitiatorConfig, PortGroup};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Parts of an adapter that its operator, its connection and its thread share.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    /// Never locked while somebody waits for a core, an SSD or a guest.
    luns: Mutex<Luns>,
    /// Condition that tables have changed, or a LUN is unused or gone.
    pub(super) changed: Condvar,
    /// Locked by the thread while it waits for turns of cores.
    sessions: Mutex<Sessions>,
    /// Cores on which the volumes of all LUNs are open. Locked while volumes are opened and closed there.
    cores: RwLock<Vec<CoreHandle>>,
    pub(super) relay: Arc<Relay>,
    pub(super) initiator: Initiator,
    pub(super) notices: Arc<Notices>,
    /// Whether the thread is to end.
    pub(super) quit: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        name: String,
        cores: Vec<CoreHandle>,
        group: Arc<PortGroup>,
        relay: Arc<Relay>,
    ) -> Self {
        let notices = Arc::new(Notices::new(&relay));
        let initiator = InitiatorConfig { name: name.clone(), group, listener: notices.clone() };
        Self {
            name: name.into(),
            luns: Mutex::default(),
            changed: Condvar::new(),
            sessions: Mutex::default(),
            cores: RwLock::new(cores),
            relay,
            initiator: Initiator::new(initiator),
            notices,
            quit: AtomicBool::new(false),
        }
    }

    pub(super) fn luns(&self) -> MutexGuard<'_, Luns> {
        self.luns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cores, none of which leaves while the guard is there.
    pub(super) fn cores(&self) -> RwLockReadGuard<'_, Vec<CoreHandle>> {
        self.cores.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cores, when nobody opens or closes a volume.
    pub(super) fn cores_mut(&self) -> RwLockWriteGuard<'_, Vec<CoreHandle>> {
        self.cores.write().unwrap_or_else(PoisonError::into_inner)
    }
}
