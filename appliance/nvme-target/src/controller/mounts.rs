//! Volumes of a controller's namespaces on the cores that serve its queues.

use crate::ids::NamespaceId;
use crate::namespaces::{Namespace, Namespaces};
use crate::session::QueueSession;
use crate::subsystem::ServedNamespace;
use luge_block::{CoreId, Lba};
use luge_core::{AttachError, Attachment, CoreHandle, Fence, SessionId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Volumes of a controller's namespaces on the cores that serve its queues.
#[derive(Default)]
pub(super) struct Mounts(BTreeMap<NamespaceId, BTreeMap<CoreId, Attachment>>);

impl Mounts {
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
        let on_cores = self.0.entry(served.id).or_default();
        let namespace = |attachment: &Attachment| Namespace {
            volume: attachment.volume(),
            stats: attachment.stats().clone(),
            geometry: served.geometry(),
            refusal: served.refusal(),
        };
        if let Some(attachment) = on_cores.get(&core.id()) {
            return Ok(namespace(attachment));
        }
        let attachment = core.attach(&served.volume)?;
        let mounted = namespace(&attachment);
        on_cores.insert(core.id(), attachment);
        Ok(mounted)
    }

    /// Takes a namespace that no session's table has any more off all cores, on a thread of its own: commands may be in
    /// flight.
    pub(super) fn retire(&mut self, served: Arc<ServedNamespace>, sessions: Vec<SessionPlace>) {
        let Some(on_cores) = self.0.remove(&served.id) else { return };
        let attachments: Vec<Attachment> = on_cores.into_values().collect();
        if attachments.is_empty() {
            return;
        }
        let retirement = move || {
            drain(&attachments);
            while !attachments.iter().all(|attachment| is_left(attachment, &sessions)) {
                drain(&attachments);
            }
            // Requests that the last commands have made.
            drain(&attachments);
            drop(attachments);
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

/// Waits until nothing is in flight on a volume.
fn drain(attachments: &[Attachment]) {
    // All of the volume. A fence is not possible where there are many already, which end soon.
    while Fence::raise(attachments, Lba(0)..Lba(u64::MAX)).map(drop).is_err() {
        std::thread::yield_now();
    }
}
