//! Volumes of a controller's namespaces on the cores that serve its queues.

use crate::ids::NamespaceId;
use crate::namespaces::{Namespace, Namespaces};
use crate::subsystem::ServedNamespace;
use luge_block::{CoreId, Lba};
use luge_core::{AttachError, Attachment, CoreHandle, Fence};
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
        let geometry = served.geometry();
        let namespace = |attachment: &Attachment| Namespace {
            volume: attachment.volume(),
            stats: attachment.stats().clone(),
            geometry,
        };
        if let Some(attachment) = on_cores.get(&core.id()) {
            return Ok(namespace(attachment));
        }
        let attachment = core.attach(&served.volume)?;
        let mounted = namespace(&attachment);
        on_cores.insert(core.id(), attachment);
        Ok(mounted)
    }

    /// Takes a namespace off all cores, on a thread of its own: commands may be in flight that no session will add to.
    pub(super) fn retire(&mut self, served: Arc<ServedNamespace>) {
        let Some(on_cores) = self.0.remove(&served.id) else { return };
        let attachments: Vec<Attachment> = on_cores.into_values().collect();
        if attachments.is_empty() {
            return;
        }
        let retirement = move || {
            drain(&attachments);
            drop(attachments);
            drop(served);
        };
        let spawned = std::thread::Builder::new().name("retire".into()).spawn(retirement);
        // Without a thread it was dropped, and with it the attachments.
        drop(spawned.inspect_err(|error| tracing::warn!("cannot start a thread: {error}")));
    }
}

/// Waits until nothing is in flight on a volume.
fn drain(attachments: &[Attachment]) {
    // All of the volume. A fence is not possible where there are many already, which end soon.
    while Fence::raise(attachments, Lba(0)..Lba(u64::MAX)).map(drop).is_err() {
        std::thread::yield_now();
    }
}
