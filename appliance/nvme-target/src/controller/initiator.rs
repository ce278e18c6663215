//! The host of a controller, as reservations know it.

use crate::ids::NamespaceId;
use crate::relay::Relay;
use luge_reservations::{
    Action, Claim, Identity, Listener, Nexus, NexusConfig, Notice, Port, Reservations, Scope,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most notices that wait for the controller's thread.
const NOTICES_MAX: usize = 1024;

/// Number of the controller that was made last.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Notices of all namespaces, on their way to the controller's thread.
pub(super) struct Inbox {
    notices: Mutex<VecDeque<(NamespaceId, Notice)>>,
    relay: Arc<Relay>,
}

impl Inbox {
    fn notices(&self) -> MutexGuard<'_, VecDeque<(NamespaceId, Notice)>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Way of the notices of one namespace to the inbox.
struct Slit {
    namespace: NamespaceId,
    inbox: Arc<Inbox>,
}

impl Listener for Slit {
    fn notify(&self, notice: Notice) {
        let mut notices = self.inbox.notices();
        if notices.len() < NOTICES_MAX {
            notices.push_back((self.namespace, notice));
        }
        drop(notices);
        self.inbox.relay.ring();
    }
}

/// The host of a controller, as reservations know it.
#[derive(Clone)]
pub(super) struct Initiator {
    identity: Identity,
    port: Port,
    inbox: Arc<Inbox>,
    /// Number of the controller in this process.
    number: u64,
}

impl Initiator {
    /// A host that has not said who it is. Base 2.0, clause 5.27.1.25: no other controller has the same host.
    pub(super) fn new(port: Port, relay: Arc<Relay>) -> Self {
        let inbox = Arc::new(Inbox { notices: Mutex::default(), relay });
        let number = LAST.fetch_add(1, Relaxed);
        Self { identity: nameless(number), port, inbox, number }
    }

    /// The host says who it is; a host identifier of zero is none.
    pub(super) fn identify(&mut self, host: u128) {
        self.identity = if host == 0 { nameless(self.number) } else { Identity::nvme(host) };
    }

    /// Name of the host.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Way of the host to a namespace.
    pub(super) fn nexus(&self, namespace: NamespaceId, reservations: &Arc<Reservations>) -> Nexus {
        let listener = Arc::new(Slit { namespace, inbox: self.inbox.clone() });
        Nexus::new(reservations, NexusConfig { identity: Some(self.identity), port: self.port, listener })
    }

    /// Takes the notices that have come since the last call.
    pub(super) fn take_notices(&self) -> VecDeque<(NamespaceId, Notice)> {
        std::mem::take(&mut *self.inbox.notices())
    }

    /// Removes the registration of a host without a name, which nobody can use again. Waits for nothing.
    pub(super) fn leave(&self, nexus: &Nexus) {
        if self.identity == nameless(self.number) && nexus.is_registered() {
            let unregister = Action::Register { claim: Claim::Unchecked, key: None };
            // It is not refused.
            drop(nexus.begin(unregister, Arc::new(|| {})));
        }
    }
}

/// Identity of the host of a controller, which is that of no other one.
const fn nameless(number: u64) -> Identity {
    Identity { host: 0, scope: Scope::Nexus(number) }
}
