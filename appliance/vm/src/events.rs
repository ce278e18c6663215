//! Notification of listeners about changes of a VM's state.

use crate::status::VmStatus;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of changes that wait for a listener. Further changes are dropped.
const PENDING_MAX: usize = 256;

/// Listeners to changes of state. All clones share them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Events {
    listeners: Arc<Mutex<Vec<SyncSender<VmStatus>>>>,
}

impl Events {
    pub(crate) fn listen(&self) -> Receiver<VmStatus> {
        let (sender, receiver) = sync_channel(PENDING_MAX);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Sends a status to all listeners; removes those that are closed.
    pub(crate) fn send(&self, status: &VmStatus) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            !matches!(listener.try_send(status.clone()), Err(TrySendError::Disconnected(_)))
        });
    }
}
