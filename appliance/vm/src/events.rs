//! Who wants to know when a VM's state changes.

use crate::VmStatus;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Changes that wait for a listener; one that does not listen misses the later ones.
const PENDING_MAX: usize = 256;

/// The listeners. Clones have the same ones.
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

    pub(crate) fn tell(&self, status: &VmStatus) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            !matches!(listener.try_send(status.clone()), Err(TrySendError::Disconnected(_)))
        });
    }
}
