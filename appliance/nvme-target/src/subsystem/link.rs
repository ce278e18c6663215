//! The link between a subsystem and one of its controllers, which has a thread of its own.

use super::status::ControllerStatus;
use crate::ids::NamespaceId;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Link between a subsystem and one of its controllers.
pub(crate) struct ControllerLink {
    id: u16,
    /// Namespaces that have changed for the controller, and that it has not looked at.
    changed: Mutex<BTreeSet<NamespaceId>>,
    status: Mutex<ControllerStatus>,
    /// Eventfd by which the controller's thread is woken.
    bell: OwnedFd,
}

impl ControllerLink {
    pub(crate) fn new(status: ControllerStatus, bell: OwnedFd) -> Self {
        Self { id: status.id, changed: Mutex::default(), status: Mutex::new(status), bell }
    }

    /// CNTLID.
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Tells the controller that a namespace has changed.
    pub(crate) fn tell(&self, id: NamespaceId) {
        lock(&self.changed).insert(id);
        // It fails only if the counter is full, and then the bell has rung.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Takes the namespaces that have changed since the last call. They count as unseen until the controller reports.
    pub(crate) fn take_changed(&self) -> BTreeSet<NamespaceId> {
        let mut changed = lock(&self.changed);
        lock(&self.status).unseen.extend(changed.iter());
        std::mem::take(&mut *changed)
    }

    /// Present status of the controller.
    pub(crate) fn status(&self) -> ControllerStatus {
        // Those that the controller takes meanwhile are in both.
        let changed = lock(&self.changed).clone();
        let mut status = lock(&self.status).clone();
        status.unseen.extend(changed);
        status
    }

    /// Changes the status that the operator sees.
    pub(crate) fn update(&self, change: impl FnOnce(&mut ControllerStatus)) {
        change(&mut lock(&self.status));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
