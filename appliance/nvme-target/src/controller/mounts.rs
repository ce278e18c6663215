//! Volumes of a controller's namespaces on the cores that serve its queues, and their reservations.

use super::initiator::Initiator;
use super::limits::ControllerConfig;
use crate::ids::NamespaceId;
use crate::namespaces::{Namespace, Namespaces};
use crate::relay::Relay;
use crate::session::QueueSession;
use crate::subsystem::ServedNamespace;
use luge_block::CoreId;
use luge_core::{AttachError, Attachment, BackgroundCore, CoreHandle, SessionId, drain};
use luge_reservations::{Nexus, Notice, Port};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Volumes of a controller's namespaces on the cores that serve its queues.
pub(super) struct Mounts {
    mounts: BTreeMap<NamespaceId, Mount>,
    initiator: Initiator,
    config: ControllerConfig,
    /// Core without a CPU on which volumes are. It stops when they have left it.
    background: Option<Arc<BackgroundCore>>,
}

/// A volume on cores.
struct Mount {
    on_cores: BTreeMap<CoreId, Attachment>,
    /// Way of the host to the volume. It is there as long as requests may be in flight, which obey it.
    nexus: Nexus,
}

impl Mounts {
    /// No volumes, of a controller with that port.
    pub(super) fn new(port: Port, config: ControllerConfig, relay: Arc<Relay>) -> Self {
        Self { mounts: BTreeMap::new(), initiator: Initiator::new(port, relay), config, background: None }
    }

    /// Takes all mounts out.
    pub(super) fn take(&mut self) -> Self {
        Self {
            mounts: std::mem::take(&mut self.mounts),
            initiator: self.initiator.clone(),
            config: self.config,
            background: self.background.clone(),
        }
    }

    /// Keeps a core running for the volumes that are to be mounted there.
    pub(super) fn keep(&mut self, core: Arc<BackgroundCore>) {
        self.background = Some(core);
    }

    /// The core without a CPU on which volumes are, if there is one.
    pub(super) fn background(&self) -> Option<Arc<BackgroundCore>> {
        self.background.clone()
    }

    /// The host says who it is: zero for nobody. What it has registered as nobody goes.
    pub(super) fn identify(&mut self, host: u128) {
        self.leave();
        self.initiator.identify(host);
        let identity = self.initiator.identity();
        self.mounts.values().for_each(|mount| mount.nexus.identify(Some(identity)));
    }

    /// Removes registrations that nobody can use again.
    pub(super) fn leave(&self) {
        self.mounts.values().for_each(|mount| self.initiator.leave(&mount.nexus));
    }

    /// Way of the host to a namespace that has been mounted on some core.
    pub(super) fn nexus(&self, id: NamespaceId) -> Option<&Nexus> {
        self.mounts.get(&id).map(|mount| &mount.nexus)
    }

    /// Takes the notices to the host that have come since the last call.
    pub(super) fn take_notices(&self) -> VecDeque<(NamespaceId, Notice)> {
        self.initiator.take_notices()
    }

    /// The namespaces, as sessions of a core see them. A namespace that the core cannot serve is inactive there, which
    /// is logged; the subsystem has seen to it that there is none.
    pub(super) fn table(
        &mut self,
        core: &CoreHandle,
        namespaces: &BTreeMap<NamespaceId, Arc<ServedNamespace>>,
        ids_max: u32,
    ) -> Arc<Namespaces> {
        let of_id = |id: u32| {
            let served = namespaces.get(&NamespaceId(id))?;
            let attachment = self.mount(core, served);
            attachment.inspect_err(|error| tracing::warn!("namespace {id}: {error}")).ok()
        };
        Arc::new(Namespaces::new((1..=ids_max).map(of_id).collect::<Vec<_>>()))
    }

    /// A namespace on a core, where its volume is mounted at its first use. The subsystem keeps the device open there,
    /// so that this waits for nothing but a turn of the core.
    fn mount(&mut self, core: &CoreHandle, served: &ServedNamespace) -> Result<Namespace, AttachError> {
        let Self { mounts, initiator, config, .. } = self;
        let Mount { on_cores, nexus } = mounts.entry(served.id).or_insert_with(|| Mount {
            on_cores: BTreeMap::new(),
            nexus: initiator.nexus(served.id, served.volume.reservations()),
        });
        let namespace = |attachment: &Attachment| Namespace {
            volume: attachment.volume(),
            stats: attachment.stats().clone(),
            geometry: config.offered(served.geometry()),
            refusal: served.refusal(),
        };
        if let Some(attachment) = on_cores.get(&core.id()) {
            return Ok(namespace(attachment));
        }
        let attachment = core.attach_as(&served.volume, nexus)?;
        let mounted = namespace(&attachment);
        on_cores.insert(core.id(), attachment);
        Ok(mounted)
    }

    /// Takes a namespace that no session's table has any more off all cores, on a thread of its own: commands may be in
    /// flight.
    pub(super) fn retire(&mut self, served: Arc<ServedNamespace>, sessions: Vec<SessionPlace>) {
        let Some(Mount { on_cores, nexus }) = self.mounts.remove(&served.id) else { return };
        let (initiator, background) = (self.initiator.clone(), self.background.clone());
        let attachments: Vec<Attachment> = on_cores.into_values().collect();
        let retirement = move || {
            drain(&attachments);
            while !attachments.iter().all(|attachment| is_left(attachment, &sessions)) {
                drain(&attachments);
            }
            // Requests that the last commands have made.
            drain(&attachments);
            drop(attachments);
            drop(background);
            initiator.leave(&nexus);
            drop(nexus);
            drop(served);
        };
        let spawned = std::thread::Builder::new().name("retire".into()).spawn(retirement);
        // Without a thread it was dropped, and with it the attachments.
        drop(spawned.inspect_err(|error| tracing::warn!("cannot start a thread: {error}")));
    }
}

/// Place of a session that may still use a volume.
#[derive(Clone)]
pub(super) struct SessionPlace {
    pub(super) core: CoreHandle,
    pub(super) session: SessionId,
}

/// Whether no session will use a volume again on its core.
fn is_left(attachment: &Attachment, sessions: &[SessionPlace]) -> bool {
    let (volume, core) = (attachment.volume(), attachment.core().id());
    sessions.iter().filter(|place| place.core.id() == core).all(|SessionPlace { core, session }| {
        let session = *session;
        let left = core.call(move |core| {
            core.session_as::<QueueSession>(session).map(|session| session.leave_volume(volume))
        });
        left.unwrap_or(true)
    })
}
